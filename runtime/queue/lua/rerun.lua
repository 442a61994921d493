-- rerun: puts missed requests back into their campaign's queue, each once.
-- KEYS: campaign, queue, missed, queues
-- ARGV: campaign id; then for each request: its missed entry, its body under a new id ('' for the same
--       one), the id that it had first ('' where it has none), how often it was put back under another
-- answer: {'put_back', number} | {'stopped'} | {'unknown'}

local function run()
  local campaign, queue, missed, queues = unpack(KEYS)
  local id = ARGV[1]
  local state = campaign_of(campaign)
  if not state then return { 'unknown' } end
  if state == 'stopped' then return { 'stopped' } end
  local put_back, sums = {}, {}
  for i = 2, #ARGV, 4 do
    local entry = fetch('XRANGE', missed, ARGV[i], ARGV[i])[1]
    local fields = entry and fields_of(entry)
    if fields and fields.b then
      if ARGV[i + 1] ~= '' then fields.b = ARGV[i + 1] end
      if ARGV[i + 2] ~= '' then fields.o, fields.n = ARGV[i + 2], ARGV[i + 3] end
      put_back[#put_back + 1] = { ARGV[i], fields }
      add_up(sums, 'rerun', 1)
      add_up(sums, 'action:' .. (fields.a or ''), 1)
      add_up(sums, 'missed:' .. (fields.g or ''), -1)
    end
  end
  check_counters(campaign, names_of(sums))
  fetch('XLEN', queue)
  local turn = last_turn(queues) + 1
  for _, one in ipairs(put_back) do
    redis.call('XADD', queue, '*', unpack(copied(one[2], {})))
  end
  for _, one in ipairs(put_back) do redis.call('XDEL', missed, one[1]) end
  count(campaign, sums)
  if #put_back > 0 and state == 'running' then redis.call('ZADD', queues, 'NX', int(turn), id) end
  return { 'put_back', #put_back }
end
