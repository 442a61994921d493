-- status: reads a campaign's figures at one instant.
-- KEYS: campaign, queue, taken, missed, imports
-- answer: {fields of the campaign, entries of the queue, entries taken, missed entries kept, imports, now (ms)} | {}

local function run()
  local campaign, queue, taken, missed, imports = unpack(KEYS)
  if not campaign_of(campaign) then return {} end
  return { fetch('HGETALL', campaign), fetch('XLEN', queue), fetch('ZCARD', taken), fetch('XLEN', missed),
    fetch('HGETALL', imports), server_ms() }
end
