-- trim: lets go what is older than it may be kept.
-- KEYS: stream
-- ARGV: ms that its entries are kept, most entries ('' for any number)
-- answer: {'1' if there is more to let go, when the oldest that is left is to go (0: none is left)}

local function run()
  local stream, keep_ms, most = KEYS[1], tonumber(ARGV[1]), ARGV[2]
  fetch('XLEN', stream)
  local now = server_ms()
  local more = let_go(stream, keep_ms, now)
  if most ~= '' then redis.call('XTRIM', stream, 'MAXLEN', '~', most) end
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local at = oldest and tonumber(string.match(oldest[1], '^%d+'))
  return { more and 1 or 0, at and int(at + keep_ms) or '0' }
end
