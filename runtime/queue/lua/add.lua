-- add: puts requests into a campaign's queue, all or none of them.
-- KEYS: campaign, queue, imports (hash: import id -> '<position>\t<content>'), queues (the account's
--       campaigns with work), campaigns (all of the account)
-- ARGV: campaign id, workspace id, import id ('' for none), its content, the position that the caller is
--       at, the position after these, the most that may wait; then for each request: body, person, action
-- answer: {'added', number, position} | {'there', 0, position} where the import is at another position
--       | {'conflict', field, stored value} | {'stopped'} | {'full', waiting} | {'imports'} | {'actions'}

local function run()
  local campaign, queue, imports, queues, campaigns = unpack(KEYS)
  local id, workspace, import, content, at, after, most = unpack(ARGV, 1, 7)
  local MOST_IMPORTS, MOST_ACTIONS = 1000, 100
  local state, stored = campaign_of(campaign)
  if stored and stored ~= workspace then return { 'conflict', 'workspace_id', stored } end
  if state == 'stopped' then return { 'stopped' } end
  if import ~= '' then
    local known = fetch('HGET', imports, import)
    local position, content_known = 0, content
    if known then
      position, content_known = string.match(known, '^(%d+)\t(.*)$')
      if not position then stop('DAMAGED', imports .. ' ' .. import .. ': is no position') end
    elseif fetch('HLEN', imports) >= MOST_IMPORTS then
      return { 'imports' }
    end
    if content_known ~= content then return { 'conflict', 'import', content_known } end
    if position ~= at and tonumber(position) ~= tonumber(at) then return { 'there', 0, position } end
  end
  local number = (#ARGV - 7) / 3
  local waiting = fetch('XLEN', queue)
  if number > 0 and waiting + number > tonumber(most) then return { 'full', int(waiting) } end
  local sums = {}
  if number > 0 then sums.added = number end
  for i = 10, #ARGV, 3 do add_up(sums, 'action:' .. ARGV[i], 1) end
  local actions = {}
  for _, name in ipairs(fetch('HKEYS', campaign)) do
    if string.find(name, '^action:') then actions[name] = 1 end
  end
  for name in pairs(sums) do
    if string.find(name, '^action:') then actions[name] = 1 end
  end
  if #names_of(actions) > MOST_ACTIONS then return { 'actions' } end
  check_counters(campaign, names_of(sums))
  local turn = last_turn(queues) + 1
  fetch('ZCARD', campaigns)

  local now = int(server_ms())
  if number > 0 then
    redis.call('XADD', queue, '*', 'b', ARGV[8], 'p', ARGV[9], 'a', ARGV[10])
    for i = 11, #ARGV, 3 do
      redis.call('XADD', queue, '*', 'b', ARGV[i], 'p', ARGV[i + 1], 'a', ARGV[i + 2])
    end
  end
  if not state then
    redis.call('HSET', campaign, 'state', 'running', 'workspace_id', workspace, 'created_ms', now)
    redis.call('ZADD', campaigns, now, id)
  end
  if import ~= '' then redis.call('HSET', imports, import, after .. '\t' .. content) end
  count(campaign, sums)
  if number > 0 and state ~= 'paused' then redis.call('ZADD', queues, 'NX', int(turn), id) end
  return { 'added', number, after }
end
