-- sent: notes how sending a batch of results ended.
-- KEYS: sending (claim.lua)
-- ARGV: token, id of the batch, '' if it is done with, else ms until it is sent again
-- answer: {1 if it was this sender's, else 0}

local function run()
  local sending = KEYS[1]
  local token, batch, after_ms = unpack(ARGV)
  local found = fetch('HMGET', sending, 'token', 'batch_to', 'tries')
  if found[1] ~= token or found[2] ~= batch then return { 0 } end
  local tries = whole(found[3], sending .. ' tries')
  if after_ms == '' then
    redis.call('HDEL', sending, 'batch_to', 'tries', 'next_ms', 'token')
    redis.call('HSET', sending, 'sent_to', batch)
  else
    local next_ms = server_ms() + tonumber(after_ms)
    redis.call('HSET', sending, 'tries', int(tries + 1), 'next_ms', int(next_ms), 'token', '')
  end
  return { 1 }
end
