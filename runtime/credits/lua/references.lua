-- References: what changes an account is done once for each, however often it is replayed.
-- A record in K.refs: kind, then what is compared on a repeat, then what was answered.

-- Returns what this reference did, or a conflict, or nothing where it is new. `compared` are
-- pairs of a field and its value. Fewer references than were used means that some were lost:
-- then nobody can tell a replayed payment from a new one.
local function done_before(reference, kind, compared)
  local raw = fetch('HGET', K.refs, reference)
  if not raw then
    if fetch('HLEN', K.refs) + S.new_refs_n ~= S.account.refs_n then
      stop('DAMAGED', K.refs .. ': not the ' .. int(S.account.refs_n) .. ' references that were used')
    end
    return nil
  end
  local where = K.refs .. ' ' .. reference
  local text = fields_of(raw, '^1\t(.*)$', where)[1]
  local stored = string.match(text, '^([%a_]+)\t')
  if stored and stored ~= kind then return nil, { 'conflict', 'kind', stored } end
  local pattern = '^[%a_]+' .. string.rep('\t([^\t]*)', #compared + 1) .. '$'
  local fields = { string.match(text, pattern) }
  if not fields[1] then stop('DAMAGED', where .. ': is not a record of its kind') end
  for i, pair in ipairs(compared) do
    if fields[i] ~= pair[2] then return nil, { 'conflict', pair[1], fields[i] } end
  end
  return fields[#compared + 1]
end

local function reference_text(kind, compared, answer)
  local fields = { RECORD_VERSION, kind }
  for _, pair in ipairs(compared) do fields[#fields + 1] = pair[2] end
  fields[#fields + 1] = answer or ''
  return table.concat(fields, '\t')
end

local function remember(reference, kind, compared, answer)
  S.refs[reference] = reference_text(kind, compared, answer)
  S.account.refs_n, S.new_refs_n = S.account.refs_n + 1, S.new_refs_n + 1
  S.changed = true
end
