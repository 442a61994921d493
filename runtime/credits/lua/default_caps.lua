-- The caps that each workspace and each campaign begins with: set by the first reservation that would
-- count in them, before it is decided. ARGV[7]: 'm1=5000,t2=900' are a cap of 5,000 mc a month for each
-- workspace, and one of 900 mc in total for each campaign; '' is none.
--
-- A name is given its cap once, under a reference that its cap leaves behind: what an operator changed
-- or removed since stays as it is.

local DEFAULT_CAPS = ARGV[7]
local ACTOR = 'default_caps'
local WORDS = { d = 'day', m = 'month', t = 'total', ['1'] = 'workspace_id', ['2'] = 'campaign_id' }

local function quoted(value)
  return (string.gsub(value, '[^%w_.~-]', function(one)
    return string.format('%%%02X', string.byte(one))
  end))
end

-- Returns whether there is a new cap, so that those that match must be looked for again.
local function begin_default_cap(sort, limit, columns)
  local field, letter, shape = cap_field(sort, columns), string.sub(sort, 1, 1), string.sub(sort, 2)
  if CAPS[field] then return false end
  local value = string.match(field, '\t(.*)$')
  local reference = 'default-cap:' .. redis.sha1hex(shape .. '\t' .. value)
  local name = WORDS[letter] .. ';' .. WORDS[shape] .. '=' .. quoted(value)
  local compared = { { 'cap', name }, { 'limit_mc', int(limit) } }
  local known, conflict = done_before(reference, 'cap', compared)
  if known or conflict then return false end
  CAPS[field] = make_cap(sort, field, limit, 0)
  remember(reference, 'cap', compared)
  journal({ kind = 'cap_set', actor = ACTOR, reference = reference,
    detail = name .. ';' .. int(limit) .. ';0' })
  return true
end

-- The caps that count these dimensions, with those that begin now.
local function caps_with_defaults(dimensions, caps)
  if DEFAULT_CAPS == '' then return caps end
  local columns, is_new = columns_of(dimensions), false
  for sort, limit in string.gmatch(DEFAULT_CAPS, '(%w+)=(%d+)') do
    is_new = begin_default_cap(sort, tonumber(limit), columns) or is_new
  end
  if not is_new then return caps end
  MATCHING = {}
  return matching_caps(dimensions)
end
