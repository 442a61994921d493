-- accept_loss: goes on with an account that lost writes; its new epoch tells every process.
-- repair_clock: sets the clock of an account that ran ahead of the server's back to it.
-- forgotten: records once that values of a person were removed, and of nobody whose.
-- args of accept_loss: epoch, actor, reason; of repair_clock: actor, reason; of forgotten: reference,
--      number of values, actor, reason
-- answers: {'accepted', sequence} | {'in_time'} | {'repaired', by how many ms it was ahead}
--        | {'recorded'}

V.accept_loss = function(args)
  local epoch, actor, reason = unpack(args)
  local account, reference = S.account, 'epoch:' .. epoch
  local _, conflict = done_before(reference, 'loss_accepted', {})
  if conflict then return conflict end
  local before = account.epoch
  account.epoch, S.dirty_profile = epoch, true
  remember(reference, 'loss_accepted', {}, before)
  journal({ kind = 'repaired', actor = actor, reference = reference,
    detail = 'loss;' .. before .. ';' .. reason })
  return { 'accepted', account.seq }
end

V.repair_clock = function(args)
  local actor, reason = unpack(args)
  local was = S.account.last_ms
  if was <= S.now then return { 'in_time' } end
  journal({ kind = 'repaired', actor = actor, detail = 'clock;' .. int(was) .. ';' .. reason })
  return { 'repaired', was - S.now }
end

V.forgotten = function(args)
  local reference, number, actor, reason = unpack(args)
  local done, conflict = done_before(reference, 'forgotten', {})
  if conflict then return conflict end
  if done then return { 'recorded' } end
  remember(reference, 'forgotten', {}, '')
  journal({ kind = 'repaired', actor = actor, reference = reference,
    detail = 'forgotten;' .. number .. ';' .. reason })
  return { 'recorded' }
end
