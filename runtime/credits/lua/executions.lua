-- What the ledger knows of an execution id, for the verbs that take one: reserve, settle, release,
-- conclude, look_up. An execution is its key, attempt, fingerprint and dimensions, as main.lua reads
-- them. What is known of the id decides first, and answers
--
-- {'existing', state, charged, overage, reason, bytes} | {'conflict', part of the fingerprint}
-- | {'in_progress', remaining_ms}
--
-- V.verb(execution, record, args): the id has no outcome; its reservation, open or expired, if any.
-- AGAIN.verb(outcome, args): this attempt's same verb made the outcome, and is asked again.
-- LOST.verb(execution, outcome, args): another made it; the call of this attempt was superfluous.

local MAKES = { settle = 'settled', release = 'released', conclude = 'refused' }
local AGAIN, LOST = {}, {}

local FINGERPRINT_PARTS = 5
local PART_LENGTH = 4

-- What is made again from the journal: nobody knows whose attempt it was, nor the person, and that
-- part of its fingerprint is ANY.
local REBUILT, ANY = '*', '****'

-- The dimensions that a repeated id must share, compared part by part.
local function differs_at(stored, given)
  if stored == given then return nil end
  for part = 1, FINGERPRINT_PARTS do
    local from, to = (part - 1) * PART_LENGTH + 1, part * PART_LENGTH
    local one, other = string.sub(stored, from, to), string.sub(given, from, to)
    if one ~= other and one ~= ANY and other ~= ANY then return { 'conflict', part } end
  end
end

local function existing(outcome, fingerprint)
  return differs_at(outcome.fingerprint, fingerprint)
    or { 'existing', outcome.state, outcome.charged, outcome.overage, outcome.reason, outcome.bytes }
end

local function after_outcome(verb, execution, outcome, args)
  if outcome.attempt == execution.attempt and outcome.state == MAKES[verb] then
    return AGAIN[verb](outcome, args)
  end
  local answer = existing(outcome, execution.fingerprint)
  if answer[1] == 'existing' and LOST[verb] and outcome.attempt ~= REBUILT then
    LOST[verb](execution, outcome, args)
  end
  return answer
end

local function decide_execution(verb, execution, args)
  local outcome = outcome_of(execution.outcome_key)
  if outcome then return after_outcome(verb, execution, outcome, args) end
  local record = reservation_now(execution.key)
  return record and differs_at(record.fingerprint, execution.fingerprint)
    or V[verb](execution, record, args)
end

local function in_progress(record)
  return { 'in_progress', record.deadline - S.now }
end

local function add_flag(flags, flag)
  return flags == '' and flag or flags .. ',' .. flag
end

-- Had this attempt a reservation that expired, and is it still to be heard of? Then the exposure
-- that was booked for it, and its note.
local function expired_attempt(execution, record)
  if not record then return false, 0, NOT_NOTED end
  if not is_open(record) and record.attempt == execution.attempt then
    return true, record.exposed, record.note
  end
  return listed(record.past, execution.attempt)
end

-- The list of attempts that expired with exposure, for an outcome that other attempts outlive.
local function expired_with_exposure(record, ended)
  if not record or is_open(record) and record.past == '' then return '' end
  local list, kept = record.past, ''
  if not is_open(record) then list = list_with(list, record.attempt, record.exposed, NOT_NOTED) end
  for attempt, booked in string.gmatch(list, ITEM) do
    if booked ~= '' and attempt ~= ended then
      kept = list_with(kept, attempt, tonumber(booked), NOT_NOTED)
    end
  end
  return kept
end

-- Takes an attempt that has ended off the record, which goes with the last of them. An exposure
-- is booked only where the attempt is still on record, or put on the outcome's: hence once.
local function strike_off(execution, record)
  if record.attempt ~= execution.attempt then
    record.past = list_without(record.past, execution.attempt)
    return save_reservation(execution.key, record)
  end
  local newest = string.match(record.past, '([^,:]+)[^,]*$')
  local _, booked, note = listed(record.past, newest)
  save_reservation(execution.key, newest ~= nil
    and expired_record(record, newest, list_without(record.past, newest), booked, note))
end

-- An attempt that ended without an outcome and whose call may be billed stays on the record with
-- what was booked for it, like one that expired: however often it ends so, it is booked once.
local function keep_exposed(execution, record, exposed, note)
  if not record then
    record = { attempt = execution.attempt, amount = 0, reserved_at = S.now, deadline = S.now,
      fingerprint = execution.fingerprint, dims = dims_of(execution.dimensions), past = '' }
  end
  if record.attempt == execution.attempt then
    record = expired_record(record, record.attempt, record.past, exposed, note)
  else
    local others = list_without(record.past, execution.attempt)
    record.past = list_with(others, execution.attempt, exposed, note)
  end
  save_reservation(execution.key, record)
end

-- What is known now in place of what was booked as the reservation expired: it may be negative.
local function correct_exposure(entry, booked)
  entry.exposure = math.min(MAX_MC, entry.exposure) - booked
  count('exposure', entry.exposure)
end

-- A call that nobody is charged for, although the provider may bill it.
local function expose(entry, booked)
  entry.kind, entry.flags = 'exposure', 'exposure'
  correct_exposure(entry, booked)
  journal(entry)
end

-- Another attempt's outcome made this attempt's call superfluous.
local function expose_loser(execution, outcome, entry)
  local known, booked = listed(outcome.exposed, execution.attempt)
  if known and booked == 0 then return end
  if entry.exposure == 0 and booked == 0 then return end
  local others = list_without(outcome.exposed, execution.attempt)
  outcome.exposed = list_with(others, execution.attempt, 0, NOT_NOTED)
  save_outcome(execution.outcome_key, outcome)
  expose(entry, booked)
end

local function conclude_refusal(execution, record, reason, bytes)
  if is_for_want_of_credits(reason) then load_all_grants() end
  save_outcome(execution.outcome_key, { state = 'refused', attempt = execution.attempt,
    fingerprint = execution.fingerprint, charged = 0, overage = 0, reason = reason, found = '',
    exposed = expired_with_exposure(record), bytes = bytes })
  journal({ kind = 'refused', execution_key = execution.key, dimensions = execution.dimensions,
    reason = reason })
  check_exhausted(reason)
end
