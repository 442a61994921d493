-- claim: gives the next results of an account to whoever sends them, one sender at a time.
-- KEYS: results, sending (hash: sent_to, the last result that was sent; batch_to, the last one of those that
--       are sent now; tries, those that failed; next_ms, when the next one may be; token)
-- ARGV: ms that nobody else gets them, most results, bytes, token
-- answer: {} if there is nothing to send now | {tries, id of the batch, {id, {fields}} of each}

local function run()
  local results, sending = KEYS[1], KEYS[2]
  local lease_ms, most, bytes, token = unpack(ARGV)
  most, bytes = tonumber(most), tonumber(bytes)
  local found = fetch('HMGET', sending, 'sent_to', 'batch_to', 'tries', 'next_ms')
  local sent_to, batch_to = found[1], found[2]
  for _, id in ipairs({ sent_to or '0-0', batch_to or '0-0' }) do
    if not string.find(id, '^%d+%-%d+$') then stop('DAMAGED', sending .. ': is no id: ' .. string.sub(id, 1, 40)) end
  end
  local tries, next_ms = whole(found[3], sending .. ' tries'), whole(found[4], sending .. ' next_ms')
  local now = server_ms()
  if now < next_ms then return {} end
  local entries = fetch('XRANGE', results, sent_to and '(' .. sent_to or '-', batch_to or '+', 'COUNT', most)
  if #entries == 0 and batch_to then
    -- All of the batch was forgotten, or let go.
    redis.call('HDEL', sending, 'batch_to', 'tries', 'next_ms')
    redis.call('HSET', sending, 'sent_to', batch_to)
    return { 0, '' }
  end
  if #entries == 0 then return {} end
  local batch, size = {}, 0
  for _, entry in ipairs(entries) do
    if #batch > 0 and not batch_to and size + #(fields_of(entry).j or '') > bytes then break end
    batch[#batch + 1] = entry
    size = size + #(fields_of(entry).j or '')
  end
  batch_to = batch_to or batch[#batch][1]
  redis.call('HSET', sending, 'batch_to', batch_to, 'next_ms', int(now + tonumber(lease_ms)), 'token', token)
  return { tries, batch_to, batch }
end
