-- The writes of a rebuild (rebuild.lua) beside those of write.lua, which run before them. What could
-- fail was checked before.

local function write_rebuilt()
  local rebuilt = S.rebuilt
  local keys = rebuilt.cleared
  if keys then
    redis.call('UNLINK', unpack(keys))
    redis.call('HSET', K.account, 'rebuilding', rebuilt.token)
  end
  for _, part in ipairs(rebuilt.parts) do
    local key, field, text = unpack(part)
    redis.call('HSET', key, field, text)
  end
  for _, outcome in ipairs(rebuilt.outcomes) do
    local key, text, gone_at = unpack(outcome)
    redis.call('SET', key, text, 'PXAT', gone_at)
  end
  if rebuilt.archived then
    redis.call('HSET', K.account, 'archived', int(rebuilt.archived))
    redis.call('HDEL', K.account, 'rebuilding')
  end
end
