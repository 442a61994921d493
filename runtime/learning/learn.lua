-- learn: adds what was seen to a history, lets old answers fade, and returns what it holds then.
-- KEYS: a hash; digits name a bucket of lengths, "n" counts what is in the sums, other letters are
--       sums or counts. See history.py.
-- ARGV: the most answers it may know, and until how many it counts as thin; its life in seconds
--       while it is thin, and afterwards; then fields and what is added to each, by turns.
-- answer: fields and values by turns

local key, most, thin = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

for i = 5, #ARGV, 2 do
  redis.call('HINCRBY', key, ARGV[i], ARGV[i + 1])
end

local held = redis.call('HGETALL', key)
local answers = 0
for i = 1, #held, 2 do
  if string.find(held[i], '^%d') then answers = answers + tonumber(held[i + 1]) end
end

-- Above the most, everything is halved: means stay, and what is new weighs more than what is old.
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
