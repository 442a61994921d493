-- change: pauses, resumes or stops a campaign.
-- KEYS: campaign, queue, queues
-- ARGV: campaign id, running, paused or stopped
-- answer: {'changed', the state before} | {'unknown'}

local function run()
  local campaign, queue, queues = unpack(KEYS)
  local id, wanted = unpack(ARGV)
  local state = campaign_of(campaign)
  if not state then return { 'unknown' } end
  local waiting = fetch('XLEN', queue)
  local turn = last_turn(queues) + 1

  begin_writing(queues)
  redis.call('HSET', campaign, 'state', wanted)
  -- One that was stopped stays until what waits was moved to the missed ones.
  if wanted == 'paused' then
    redis.call('ZREM', queues, id)
  elseif waiting > 0 then
    redis.call('ZADD', queues, 'NX', int(turn), id)
  end
  return { 'changed', state }
end
