-- rebuild_*: make an account's records again after Redis lost them, from figures of its archived
-- journal. First begin, then parts and outcomes in any number of scripts, then finish, in one: until
-- then the account is damaged to all others, and a rebuild that was broken off can begin anew.
-- args of begin: sequence of the archive, token of this rebuild
--      of part: token, 'ref', reference, kind, number of compared values, these, answer
--               | token, 'grant', the values of a grant (GRANT_VALUES)
--               | token, 'dims', number, text
--      of outcome: execution, token, state, charged, overage, reason, when it goes in ms since 1970
--      of finish: rebuild_finish.lua
-- answers: {'begun'} | {'there', sequence, chain} | {'ahead', sequence} | {'part'} | {'outcome', 1 if
--          it was written}

local GRANT_VALUES = { 'number', 'priority', 'expires', 'created', 'amount', 'available', 'charged',
  'expired', 'voided', 'voided_at' }

local function values_from(args, at)
  return function()
    at = at + 1
    return args[at - 1]
  end
end

local function given_grant(next_value)
  local grant = { kind = next_value(), reference = next_value(), reserved = 0 }
  for _, name in ipairs(GRANT_VALUES) do grant[name] = whole(next_value(), name) end
  grant.id = 'g' .. int(grant.number)
  if not balances(grant.amount, grant) then
    stop('DAMAGED', 'grant ' .. grant.id .. ': the parts do not add up to what was granted')
  end
  return grant
end

-- How far what is left of the account had come: nothing that it has in hand may be thrown away.
local function last_written()
  local books = fetch('HGET', K.account, 'books')
  local entry = fetch('XREVRANGE', K.journal, '+', '-', 'COUNT', 1)[1]
  return math.max(tonumber(string.match(books or '', '^1\t(%d+)\t')) or 0,
    entry and tonumber(string.match(entry[1], '^0%-(%d+)$')) or 0)
end

S.rebuilt = { parts = {}, outcomes = {} } -- what write_rebuilt.lua writes

V.rebuild_begin = function(args)
  local archived, token = whole(args[1], 'archived'), args[2]
  local is_sound, found = pcall(load_account)
  if is_sound and found then return { 'there', found.seq, found.chain } end
  if not is_sound and not (type(found) == 'table' and string.find(found.creditgate, '^DAMAGED ')) then
    error(found)
  end
  local last = last_written()
  if last > archived then return { 'ahead', last } end
  local keys = { K.account, K.grants, K.ended, K.open, K.due, K.refs, K.limits, K.dims, K.journal }
  S.rebuilt.cleared, S.rebuilt.token = keys, token
  return { 'begun' }
end

local function check_begun(token)
  if fetch('HGET', K.account, 'rebuilding') ~= token then
    stop('DAMAGED', K.account .. ': another rebuild of it has begun, or it was done')
  end
end

local PART = {}

function PART.ref(next_value)
  local reference, kind, compared = next_value(), next_value(), {}
  for i = 1, tonumber(next_value()) do compared[i] = { '', next_value() } end
  return K.refs, reference, reference_text(kind, compared, next_value())
end

function PART.grant(next_value)
  local grant = given_grant(next_value)
  return K.ended, grant.id, grant_text(grant)
end

function PART.dims(next_value)
  local number = next_value()
  return K.dims, next_value(), number
end

V.rebuild_part = function(args)
  check_begun(args[1])
  S.rebuilt.parts[#S.rebuilt.parts + 1] = { PART[args[2]](values_from(args, 3)) }
  return { 'part' }
end

-- What the values were is not in the journal, nor whose they were.
V.rebuild_outcome = function(args, execution)
  local token, state, charged, overage, reason, gone_at = unpack(args)
  check_begun(token)
  local key = execution.outcome_key
  if outcome_of(key) or tonumber(gone_at) <= S.now then return { 'outcome', 0 } end
  local text = outcome_text({ state = state, attempt = REBUILT, fingerprint = execution.fingerprint,
    charged = whole(charged, 'charged'), overage = whole(overage, 'overage'), reason = reason,
    found = '', exposed = '', bytes = '' })
  S.rebuilt.outcomes[#S.rebuilt.outcomes + 1] = { key, text, gone_at }
  return { 'outcome', 1 }
end
