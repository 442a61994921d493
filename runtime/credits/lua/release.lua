-- release: gives all of a reservation back, because there is no answer to charge for.
-- args: execution, exposure_mc, reason, store ('1' makes it the outcome; a cancelled attempt leaves
--       none), outcome bytes
-- answer: {'released', available} | {'nothing', available} where this attempt had nothing to
--         release | what executions.lua answers

local function entry_of_release(execution, args)
  return { kind = 'released', execution_key = execution.key, dimensions = execution.dimensions,
    exposure = tonumber(args[1]), reason = args[2], flags = '' }
end

local function give_back(execution, record, entry)
  entry.postings, entry.reserved_at = {}, record.reserved_at
  end_slices(execution.key, record.slices, 0, S.now, entry.postings)
  count_out(record.note, record.amount, 0)
end

local function journal_release(entry, booked)
  if entry.exposure > 0 then entry.flags = add_flag(entry.flags, 'exposure') end
  correct_exposure(entry, booked)
  journal(entry)
end

local function store_release(execution, record, reason, bytes)
  save_reservation(execution.key, false)
  save_outcome(execution.outcome_key, { state = 'released', attempt = execution.attempt,
    fingerprint = execution.fingerprint, charged = 0, overage = 0, reason = reason, found = '',
    exposed = expired_with_exposure(record, execution.attempt),
    bytes = values_to_keep(execution, record and record.reserved_at or 0, bytes) })
end

-- Nothing is kept as the outcome: what the call may have cost is booked once.
local function leave_open(execution, record, exposed, note)
  if exposed > 0 then
    keep_exposed(execution, record, exposed, note)
  elseif record then
    strike_off(execution, record)
  end
end

-- Nothing is left to give back, but what the call may have cost is known now.
local function end_expired(execution, record, entry, booked, note)
  local exposed = entry.exposure
  if exposed == booked then return end
  expose(entry, booked)
  leave_open(execution, record, exposed, note)
end

AGAIN.release = function()
  return { 'released', S.account.available }
end

LOST.release = function(execution, outcome, args)
  expose_loser(execution, outcome, entry_of_release(execution, args))
end

V.release = function(execution, record, args)
  local entry, store, bytes = entry_of_release(execution, args), args[3] == '1', args[4]
  local late, booked, note = expired_attempt(execution, record)
  local exposed, runs = entry.exposure, is_open(record) and record.attempt == execution.attempt
  if not runs and (is_open(record) or not store) then
    end_expired(execution, record, entry, booked, note)
    return { 'nothing', S.account.available }
  end
  if runs then
    give_back(execution, record, entry)
  else
    entry.flags = late and 'late' or 'orphan'
  end
  journal_release(entry, booked)
  if store then
    store_release(execution, record, entry.reason, bytes)
  else
    leave_open(execution, record, exposed, record.note)
  end
  return { 'released', S.account.available }
end
