-- release: gives all of a reservation back, because there is no answer to charge for.
-- args: execution key, attempt, fingerprint, dimensions, exposure_mc, reason,
--       store ('1' makes it the outcome; a cancelled attempt leaves none), outcome bytes
-- answer: {'released', available} | {'nothing', available} where this attempt had nothing to
--         release | what executions.lua answers

local function after_outcome(outcome_key, outcome, attempt, entry, fingerprint)
  if outcome.attempt == attempt and outcome.state == 'released' then
    return { 'released', S.account.available }
  end
  local answer = existing(outcome, fingerprint)
  if answer[1] == 'existing' and entry.exposure > 0 then
    expose_loser(outcome_key, outcome, attempt, entry)
  end
  return answer
end

V.release = function(args, outcome_key)
  local execution_key, attempt = args[1], args[2]
  local fingerprint, store, bytes = args[3], args[7] == '1', args[8]
  local entry = { kind = 'released', execution_key = execution_key, dimensions = args[4],
    exposure = tonumber(args[5]), reason = args[6], flags = '' }
  local outcome = outcome_of(outcome_key)
  if outcome then return after_outcome(outcome_key, outcome, attempt, entry, fingerprint) end
  local record = reservation_now(execution_key)
  local conflict = record and differs_at(record.fingerprint, fingerprint)
  if conflict then return conflict end

  local late = expired_attempt(record, attempt)
  if is_open(record) and record.attempt == attempt then
    entry.postings, entry.reserved_at = {}, record.reserved_at
    end_slices(execution_key, record.slices, 0, S.now, entry.postings)
    count_out(record.note, record.amount, 0)
  elseif not store or is_open(record) then
    -- Another attempt may still run, or nothing is to be kept.
    if late then
      strike_off(execution_key, record, attempt)
      if entry.exposure > 0 then expose(entry) end
    end
    return { 'nothing', S.account.available }
  else
    entry.flags = late and 'late' or 'orphan'
  end
  if entry.exposure > 0 then entry.flags = add_flag(entry.flags, 'exposure') end
  count('exposure', entry.exposure)
  journal(entry)
  if store then
    save_reservation(execution_key, false)
    save_outcome(outcome_key, { state = 'released', attempt = attempt, fingerprint = fingerprint,
      charged = 0, overage = 0, reason = entry.reason, exposed = '', bytes = bytes })
  else
    strike_off(execution_key, record, attempt)
  end
  return { 'released', S.account.available }
end
