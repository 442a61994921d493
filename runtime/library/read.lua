-- KEYS: marker of the bucket, pointer. ARGV: the most bytes of the pointer.
-- Answers whether the marker is there, and the pointer: '' where there is none, '!' where it can't
-- be one.
local is_marked = redis.call('EXISTS', KEYS[1])
local kind = redis.call('TYPE', KEYS[2])['ok']
if kind == 'none' then
  return {is_marked, ''}
end
if kind ~= 'string' or redis.call('STRLEN', KEYS[2]) > tonumber(ARGV[1]) then
  return {is_marked, '!'}
end
return {is_marked, redis.call('GET', KEYS[2])}
