-- stop: nothing is booked on the account from now on, and it can still be read.
-- resume: the account goes on as it is; its new epoch tells every process.
-- args of stop: why; of resume: epoch, actor, reason
-- answers: {'stopped', 1 if new else 0} | {'resumed', sequence} | {'runs'} where it was not stopped

-- No entry says so: it is the journal that is in doubt. What time has ended is not written either.
V.stop = function(args)
  local account = S.account
  if account.stopped then return { 'stopped', 0 } end
  account.stopped, S.stops, S.changed = args[1], true, true
  return { 'stopped', 1 }
end

V.resume = function(args)
  local epoch, actor, reason = unpack(args)
  local account = S.account
  if not account.stopped then return { 'runs' } end
  local before, reference = account.epoch, 'epoch:' .. epoch
  local _, conflict = done_before(reference, 'resumed', {})
  if conflict then return conflict end
  account.stopped, S.resumed = nil, true
  account.epoch, S.dirty_profile = epoch, true
  remember(reference, 'resumed', {}, before)
  journal({ kind = 'repaired', actor = actor, reference = reference,
    detail = 'resumed;' .. before .. ';' .. reason })
  return { 'resumed', account.seq }
end
