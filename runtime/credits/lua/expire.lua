-- expire: what time has ended, in the order in which it ended it. Runs at the head of every
-- script, so that no promise about expiry needs a sweeper.
-- args: none    answer: {'swept', 1 if more are due than one script ends, else 0}

local SWEEP_AT_MOST = 100
local SWEEP_BEFORE_REFUSING = 1000

local function expire_reservation(key, record)
  local postings = {}
  end_slices(key, record.slices, 0, record.deadline, postings)
  journal({ kind = 'expired', effective_at = record.deadline, execution_key = key,
    postings = postings, reserved_at = record.reserved_at, slices = record.slices,
    dimensions = record.dimensions })
  save_reservation(key, { state = 'x', attempt = record.attempt, amount = record.amount,
    reserved_at = record.reserved_at, deadline = record.deadline, slices = {},
    fingerprint = record.fingerprint, dimensions = record.dimensions, past = record.past })
end

-- An expired record stays until its settlement could no longer arrive, so that a late
-- settlement is told from an orphan.
local function horizon_of(record)
  return record.reserved_at + OUTCOME_TTL_MS
end

local function sweep(at_most)
  local keys = fetch('ZRANGEBYSCORE', K.due, '-inf', int(S.now), 'LIMIT', 0, at_most)
  load_reservations(keys)
  for _, key in ipairs(keys) do
    local record = S.open[key]
    if S.dirty_open[key] or S.damaged[key] then
      -- ended by an earlier pass, or left for its own caller to hear of
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
  return #keys == at_most
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
  return { 'swept', S.more_due and 1 or 0 }
end
