-- conclude: makes a refusal the outcome, after waiting for credits was of no use.
-- args: execution key, attempt, fingerprint, dimensions, reason, outcome bytes
-- answer: {'concluded'} | what executions.lua answers

V.conclude = function(args, outcome_key)
  local execution_key, attempt = args[1], args[2]
  local fingerprint, dimensions, reason = args[3], args[4], args[5]
  local outcome = outcome_of(outcome_key)
  if outcome then
    if outcome.attempt == attempt and outcome.state == 'refused' then return { 'concluded' } end
    return existing(outcome, fingerprint)
  end
  local record = reservation_now(execution_key)
  local conflict = record and differs_at(record.fingerprint, fingerprint)
  if conflict then return conflict end
  if is_open(record) then return in_progress(record) end
  conclude_refusal(outcome_key, execution_key, attempt, fingerprint, dimensions, reason, args[6])
  return { 'concluded' }
end
