-- release: gives all of a reservation back, because there is no answer to charge for.
-- args: execution key, attempt, fingerprint, dimensions, exposure_mc, reason,
--       store ('1' makes it the outcome; a cancelled attempt leaves none), outcome bytes
-- answer: {'released', available} | {'nothing', available} where this attempt had nothing to
--         release | what executions.lua answers

local function release_after_outcome(execution, outcome, entry)
  if outcome.attempt == execution.attempt and outcome.state == 'released' then
    return { 'released', S.account.available }
  end
  local answer = existing(outcome, execution.fingerprint)
  if answer[1] == 'existing' then expose_loser(execution, outcome, entry) end
  return answer
end

V.release = function(args, execution)
  local attempt, store, bytes = execution.attempt, args[7] == '1', args[8]
  local entry = { kind = 'released', execution_key = execution.key, dimensions = execution.dimensions,
    exposure = tonumber(args[5]), reason = args[6], flags = '' }
  local outcome = outcome_of(execution.outcome_key)
  if outcome then return release_after_outcome(execution, outcome, entry) end
  local record, conflict = record_of(execution)
  if conflict then return conflict end

  local late, booked = expired_attempt(record, attempt)
  if is_open(record) and record.attempt == attempt then
    entry.postings, entry.reserved_at = {}, record.reserved_at
    end_slices(execution.key, record.slices, 0, S.now, entry.postings)
    count_out(record.note, record.amount, 0)
  elseif not store or is_open(record) then
    -- Another attempt may still run, or nothing is to be kept.
    if late then
      strike_off(execution.key, record, attempt)
      if entry.exposure ~= booked then expose(entry, booked) end
    end
    return { 'nothing', S.account.available }
  else
    entry.flags = late and 'late' or 'orphan'
  end
  if entry.exposure > 0 then entry.flags = add_flag(entry.flags, 'exposure') end
  correct_exposure(entry, booked)
  journal(entry)
  if store then
    local exposed = expired_with_exposure(record, attempt)
    save_reservation(execution.key, false)
    save_outcome(execution.outcome_key, { state = 'released', attempt = attempt,
      fingerprint = execution.fingerprint, charged = 0, overage = 0, reason = entry.reason,
      exposed = exposed, bytes = bytes })
  else
    strike_off(execution.key, record, attempt)
  end
  return { 'released', S.account.available }
end
