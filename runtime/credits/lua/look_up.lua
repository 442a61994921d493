-- look_up: tells what is known of an execution id, and writes nothing.
-- args: execution key, attempt, fingerprint, dimensions
-- answer: {'unknown'} where there is neither an outcome nor an open reservation, of whichever
--         attempt | what executions.lua answers

V.look_up = function(_, execution)
  local outcome = outcome_of(execution.outcome_key)
  if outcome then return existing(outcome, execution.fingerprint) end
  local record, conflict = record_of(execution)
  if conflict then return conflict end
  return is_open(record) and in_progress(record) or { 'unknown' }
end
