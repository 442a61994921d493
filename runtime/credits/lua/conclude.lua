-- conclude: makes a refusal the outcome, after waiting for credits was of no use.
-- args: execution key, attempt, fingerprint, dimensions, reason, outcome bytes
-- answer: {'concluded'} | what executions.lua answers

V.conclude = function(args, execution)
  local reason, bytes = args[5], args[6]
  local outcome = outcome_of(execution.outcome_key)
  if outcome then
    if outcome.attempt == execution.attempt and outcome.state == 'refused' then
      return { 'concluded' }
    end
    return existing(outcome, execution.fingerprint)
  end
  local record, conflict = record_of(execution)
  if conflict then return conflict end
  if is_open(record) then return in_progress(record) end
  conclude_refusal(execution, reason, bytes)
  return { 'concluded' }
end
