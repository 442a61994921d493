-- server_ms() -> whole milliseconds of the Redis server's own clock.
-- Tests put another file in this one's place; nothing else in the scripts reads a clock.
local function server_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
