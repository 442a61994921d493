local ok, answer = pcall(run)
if ok then return answer end
if type(answer) == 'table' and answer.creditgate then
  return redis.error_reply('CREDITGATE_' .. answer.creditgate)
end
local fault = type(answer) == 'table' and answer.err or answer
return redis.error_reply('CREDITGATE_FAILED ' .. tostring(fault))
