-- give_back: lets others take entries that were taken and did not end, or keeps them for longer.
-- KEYS: taken, held
-- ARGV: token of the taking, ms until others may take them, '1' if this taking counts, '1' to keep them,
--       reason ('' for none); then the ids
-- answer: {number given back}, without those that others took meanwhile

local function run()
  local taken, held = KEYS[1], KEYS[2]
  local token, after_ms, counts, keeps, reason = unpack(ARGV, 1, 5)
  local given = {}
  for i = 6, #ARGV do
    local times, holder, before = string.match(fetch('HGET', held, ARGV[i]) or '', '^(%d+)\t([^\t]*)\t(.*)$')
    if holder == token and fetch('ZSCORE', taken, ARGV[i]) then
      times = tonumber(times)
      if counts == '0' and times > 0 then times = times - 1 end
      given[#given + 1] = { ARGV[i], times, reason ~= '' and reason or before }
    end
  end
  local due = int(server_ms() + tonumber(after_ms))

  begin_writing(taken)
  for _, one in ipairs(given) do
    redis.call('ZADD', taken, due, one[1])
    if keeps == '0' then redis.call('HSET', held, one[1], one[2] .. '\t\t' .. one[3]) end
  end
  return { #given }
end
