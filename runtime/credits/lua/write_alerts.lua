-- The alerts of a script, written into the bucket's stream: runtime/alerts reads it.

-- Where nobody takes them away, a bucket keeps about so many, the latest.
local MOST_ALERTS = 10000

local function more_of(alert)
  if alert.lag then return { 'lag_entries', int(alert.lag) } end
  if not alert.cap then return {} end
  return { 'cap', alert.cap, 'limit_mc', int(alert.limit), 'charged_mc', int(alert.charged),
    'resets_ms', int(alert.resets) }
end

-- A stream that holds the largest id there is takes no other; the caller is told all the same.
local function write_alerts()
  for _, alert in ipairs(S.alerts) do
    redis.pcall('XADD', K.alerts, 'MAXLEN', '~', MOST_ALERTS, '*', 'account', ACCOUNT_ID,
      'mark', alert.name, 'threshold_mc', int(alert.threshold), 'left_mc', int(alert.left),
      'at_ms', int(S.now), unpack(more_of(alert)))
  end
end
