-- Makes a version the current one, unless the pointer changed since it was read.
-- KEYS: pointer, content of the version, content of the version before it (or that of the version).
-- ARGV: the pointer as read.lua answered it, the new pointer, the content, the milliseconds for
-- which the content of the version before is kept.
local kind = redis.call('TYPE', KEYS[1])['ok']
local found = ''
if kind == 'string' then
  found = redis.call('GET', KEYS[1])
end
if ARGV[1] ~= '!' and found ~= ARGV[1] then
  return 0
end
if kind ~= 'none' and kind ~= 'string' then
  redis.call('DEL', KEYS[1])
end
redis.call('SET', KEYS[2], ARGV[3])
if KEYS[3] ~= KEYS[2] then
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
