-- expire: what time has ended, in the order in which it ended it. Runs at the head of every
-- script, so that no promise about expiry needs a sweeper.
-- args: none
-- answer: {'swept', 1 if more are due than one script ends, else 0, a damaged record or ''}

local SWEEP_AT_MOST = 100
local SWEEP_BEFORE_REFUSING = 1000

-- An expired record stays until its settlement could no longer arrive, so that a late
-- settlement is told from an orphan.
local function horizon_of(record)
  return record.reserved_at + OUTCOME_TTL_MS
end

local function expired_record(record, attempt, past, exposed, note)
  return { state = 'x', exposed = exposed, attempt = attempt, amount = record.amount,
    reserved_at = record.reserved_at, deadline = record.deadline, slices = {},
    fingerprint = record.fingerprint, dims = record.dims, note = note, past = past }
end

-- Its process died or was frozen, and its call may have been made: the quote is exposure until a
-- late ending says better.
local function expire_reservation(key, record)
  local postings, exposed = {}, record.amount
  end_slices(key, record.slices, 0, record.deadline, postings)
  count_out(record.note, record.amount, 0)
  count('exposure', exposed)
  journal({ kind = 'expired', effective_at = record.deadline, execution_key = key,
    postings = postings, reserved_at = record.reserved_at, dims = record.dims,
    flags = exposed > 0 and 'exposure' or '', exposure = exposed })
  -- One late visit leaves what many timely ones would: beyond the horizon nothing is kept.
  local kept = horizon_of(record) > S.now
  save_reservation(key, kept
    and expired_record(record, record.attempt, record.past, exposed, record.note) or false)
end

local function expires_before(one, other)
  if one.expires ~= other.expires then return one.expires < other.expires end
  return one.number < other.number
end

local function expire_grants(at)
  local account = S.account
  if account.next_expiry == 0 or account.next_expiry > at then return end
  load_all_grants()
  local over = {}
  for _, id in ipairs(S.order) do
    local grant = S.grants[id]
    if grant.available > 0 and grant.expires > 0 and grant.expires <= at then over[#over + 1] = grant end
  end
  table.sort(over, expires_before)
  for _, grant in ipairs(over) do
    local postings = {}
    move(grant, 'available', 'expired', grant.available, postings)
    journal({ kind = 'grant_expired', effective_at = grant.expires, postings = postings })
  end
  account.next_expiry = next_expiry_after(at)
end

local function sweep(at_most)
  local keys = fetch('ZRANGEBYSCORE', K.due, '-inf', int(S.now), 'LIMIT', 0, at_most)
  load_reservations(keys)
  local met_damage = 0
  for _, key in ipairs(keys) do
    local record = S.open[key]
    if S.damaged[key] then
      met_damage = met_damage + 1
    elseif S.dirty_open[key] then
      -- ended by an earlier pass of this script
    elseif is_open(record) then
      expire_grants(record.deadline)
      expire_reservation(key, record)
    elseif record and horizon_of(record) > S.now then
      save_reservation(key, record)
    else
      save_reservation(key, false)
    end
  end
  expire_grants(S.now)
  S.swept_at_most = at_most
  S.more_due = #keys == at_most and met_damage < at_most
end

-- Credits that are due to come home must not be the reason for a refusal.
local function sweep_before_refusing()
  if S.more_due and S.swept_at_most < SWEEP_BEFORE_REFUSING then sweep(SWEEP_BEFORE_REFUSING) end
end

-- The reservation of this execution as it stands now: one that a bounded sweep has not reached
-- yet expires here.
local function reservation_now(key)
  local record = S.open[key]
  if is_open(record) and record.deadline <= S.now then
    expire_reservation(key, record)
    expire_grants(S.now)
  end
  return S.open[key]
end

V.expire = function()
  S.next_due_wanted = true
  S.changed = true
  local _, damage = next(S.damaged)
  return { 'swept', S.more_due and 1 or 0, damage or '' }
end
