-- References: what changes an account is done once for each, however often it is replayed.
-- A record in K.refs: kind, then what is compared on a repeat, then what was answered.

-- Returns what this reference did, or a conflict, or nothing where it is new. `compared` are
-- pairs of a field and its value. Fewer references than were used means that some were lost:
-- then nobody can tell a replayed payment from a new one.
local function done_before(reference, kind, compared)
  local raw = fetch('HGET', K.refs, reference)
  if not raw then
    if fetch('HLEN', K.refs) ~= S.account.refs_n then
      stop('DAMAGED', K.refs .. ': not the ' .. int(S.account.refs_n) .. ' references that were used')
    end
    return nil
  end
  local where = K.refs .. ' ' .. reference
  local fields = { string.match(fields_of(raw, '^1\t(.*)$', where)[1], '^([^\t]+)' .. string.rep('\t([^\t]*)', #compared) .. '\t([^\t]*)$') }
  local stored = fields[1] or string.match(raw, '^1\t(%a[%w_]*)\t')
  if not stored then stop('DAMAGED', where .. ': not a record of its kind') end
  if stored ~= kind then return nil, { 'conflict', 'kind', stored } end
  if not fields[1] then stop('DAMAGED', where .. ': not a record of its kind') end
  for i, pair in ipairs(compared) do
    if fields[i + 1] ~= pair[2] then return nil, { 'conflict', pair[1], fields[i + 1] } end
  end
  return fields[#compared + 2]
end

local function remember(reference, kind, compared, answer)
  local fields = { RECORD_VERSION, kind }
  for _, pair in ipairs(compared) do fields[#fields + 1] = pair[2] end
  fields[#fields + 1] = answer or ''
  S.refs[reference] = table.concat(fields, '\t')
  S.account.refs_n = S.account.refs_n + 1
  S.changed = true
end
