-- learn: adds counts to a history, halves it when it is full, and returns the result.
-- KEYS: a hash; digits name a bucket of lengths, "n" counts the answers in the sums, other letters
--       are sums or counts. See history.py.
-- ARGV: the most answers in a history; the number below which it is thin; its life in seconds while
--       it is thin, and afterwards; then pairs of a field and the count to add
-- answer: pairs of field and value

local key, most, thin = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

for i = 5, #ARGV, 2 do
  redis.call('HINCRBY', key, ARGV[i], ARGV[i + 1])
end

local held = redis.call('HGETALL', key)
local answers = 0
for i = 1, #held, 2 do
  if string.find(held[i], '^%d') then answers = answers + tonumber(held[i + 1]) end
end

-- Halving keeps the means, and gives new answers more weight than old ones.
if answers > most then
  answers = 0
  for i = 1, #held, 2 do
    local half = math.floor(tonumber(held[i + 1]) / 2)
    held[i + 1] = string.format('%.0f', half)
    if half > 0 then
      redis.call('HSET', key, held[i], held[i + 1])
    else
      redis.call('HDEL', key, held[i])
    end
    if string.find(held[i], '^%d') then answers = answers + half end
  end
end

redis.call('EXPIRE', key, answers < thin and ARGV[3] or ARGV[4])
return held
