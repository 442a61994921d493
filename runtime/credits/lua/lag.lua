-- The archive may lag behind: by so many entries at most, where ARGV[6] says a number. Then new
-- reserves are refused, and the archive gets the chance to catch up; endings always go in.

local MAX_LAG = tonumber(ARGV[6])

local function lag() return S.account.seq - S.account.archived end

local function too_far_behind()
  return { 'fault', 'LAG account ' .. ACCOUNT_ID .. ': the archive is ' .. int(lag())
    .. ' entries behind, above archive.max_lag (' .. int(MAX_LAG) .. '). Is creditgate archive running?' }
end

-- Told by the script that crosses half of it, each time that happens. It is no mark of what is left.
local function check_lag()
  if lag() * 2 < MAX_LAG or S.account.lag_before * 2 >= MAX_LAG then return end
  S.alerts[#S.alerts + 1] = { name = 'archive_lag', threshold = 0, left = left(), lag = lag() }
end
