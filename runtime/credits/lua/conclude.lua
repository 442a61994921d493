-- conclude: makes a refusal the outcome, after waiting for credits was of no use.
-- args: execution, reason, outcome bytes
-- answer: {'concluded'} | what executions.lua answers

AGAIN.conclude = function()
  return { 'concluded' }
end

V.conclude = function(execution, record, args)
  local reason, bytes = unpack(args)
  if is_open(record) then return in_progress(record) end
  conclude_refusal(execution, record, reason, bytes)
  return { 'concluded' }
end
