-- May this script act on what it finds? Not where acknowledged writes are missing, and not by a clock
-- that may be wrong. Each of these ends the script before its first write.
-- ARGV[8]: the clock of the process that asks, in ms since 1970. It only refuses: nothing is due by it.
-- ARGV[9]: the last epoch, sequence and chain that the process was told of this account, separated by
--          tabs, or '' where it was told of none.

local MOST_APART_MS = 60000

local function seconds(ms) return string.format('%.1f s', ms / 1000) end

local function stop_for_loss(seen, found)
  stop('LOST', 'account ' .. ACCOUNT_ID .. ': sequence ' .. int(seen) .. ' was seen, ' .. found
    .. '. Restore what was lost, or accept the loss: creditgate repair loss --account ' .. ACCOUNT_ID)
end

-- An operator who accepted a loss gave the account a new epoch, and left it among the references.
local function is_accepted(epoch) return fetch('HEXISTS', K.refs, 'epoch:' .. epoch) == 1 end

local function chain_at(seq)
  if seq == S.account.seq then return S.account.chain end
  local id = '0-' .. int(seq)
  local entry = fetch('XRANGE', K.journal, id, id)[1]
  return entry and entry[2][4]
end

-- The archive has another journal of the account. Which is right, an operator decides: until then
-- it can be read, and nothing is booked.
local function check_stopped()
  local why = S.account and S.account.stopped
  if not why or READ_ONLY then return end
  stop('STOPPED', 'account ' .. ACCOUNT_ID .. ' is stopped: ' .. why
    .. '. Put it right: creditgate repair fork --account ' .. ACCOUNT_ID)
end

local function check_memory()
  local epoch, seq, chain = string.match(ARGV[9], '^([^\t]+)\t(%d+)\t(%x*)$')
  if not epoch or S.account and S.account.stopped then return end
  local account, seen = S.account, tonumber(seq)
  if not account then stop_for_loss(seen, 'found is no account: all its entries are lost') end
  if epoch ~= account.epoch then
    if is_accepted(account.epoch) then return end
    stop_for_loss(seen, 'found is another account of this name: all its entries are lost')
  end
  if account.seq < seen then
    stop_for_loss(seen, 'found is ' .. int(account.seq) .. ': ' .. int(seen - account.seq)
      .. (seen - account.seq == 1 and ' entry is lost' or ' entries are lost'))
  end
  local found = chain_at(seen)
  if found and found ~= chain then
    stop_for_loss(seen, 'found is another entry in its place: at least 1 entry is lost')
  end
end

local function memory_text()
  local account = S.account
  return account and table.concat({ account.epoch, int(account.seq), account.chain }, '\t') or ''
end

local function check_clock(time)
  local ahead = time - tonumber(ARGV[8])
  if READ_ONLY or math.abs(ahead) <= MOST_APART_MS then return end
  stop('CLOCK', "the server's clock is " .. seconds(math.abs(ahead)) .. ' '
    .. (ahead > 0 and 'ahead of' or 'behind') .. " this process's: above "
    .. seconds(MOST_APART_MS) .. ' nothing is booked')
end

-- The account's clock never goes back, as a failover may make the server's. One that is far ahead
-- was set by a wrong clock: reading goes by the server's then, and nothing is written until
-- an operator has put it right.
local function trusted_now(time, verb)
  local ahead = S.account.last_ms - time
  if ahead <= MOST_APART_MS then return math.max(time, S.account.last_ms) end
  if READ_ONLY or verb == 'repair_clock' then return time end
  -- Not by how much, which changes: it is logged once.
  stop('AHEAD', 'account ' .. ACCOUNT_ID .. ': its clock is at ' .. int(S.account.last_ms)
    .. " ms, ahead of the server's, which was wrong when the account was last written. Put it right: "
    .. 'creditgate repair clock --account ' .. ACCOUNT_ID)
end
