-- learn: adds counts to a history, halves it when it is full, and returns the result.
-- KEYS: a hash; digits name a bucket of lengths, "n" counts the answers in the sums, other letters
--       are sums or counts. See history.py.
-- ARGV: the most answers in a history; the number below which it is thin; its life in seconds while
--       it is thin, and afterwards; then pairs of a field and the count to add
-- answer: {'learned', pairs of field and value} | {'damaged', the field that is not a count, or what
--         else is wrong with the key} | {'too_much', the field that would grow too large}

local MOST_COUNT = 2 ^ 53 - 1
local MOST_FIELDS = 1000
local key, most, thin = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

local function is_count(text)
  return string.find(text, '^%d+$') ~= nil and tonumber(text) <= MOST_COUNT
end

-- Nothing after the first write can fail: Redis does not roll back.
local kind = redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then return { 'damaged', 'type ' .. kind } end
if redis.call('HLEN', key) > MOST_FIELDS then return { 'damaged', 'more than 1000 fields' } end
local held = redis.call('HGETALL', key)
local counts = {}
for i = 1, #held, 2 do
  if not is_count(held[i + 1]) then return { 'damaged', held[i] } end
  counts[held[i]] = tonumber(held[i + 1])
end
for i = 5, #ARGV, 2 do
  local sum = is_count(ARGV[i + 1]) and (counts[ARGV[i]] or 0) + tonumber(ARGV[i + 1])
  if not sum or sum > MOST_COUNT then return { 'too_much', ARGV[i] } end
end

for i = 5, #ARGV, 2 do
  redis.call('HINCRBY', key, ARGV[i], ARGV[i + 1])
end

held = redis.call('HGETALL', key)
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
return { 'learned', held }
