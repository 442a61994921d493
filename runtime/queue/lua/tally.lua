-- tally: counts entries of a stream by the value of a field.
-- KEYS: stream
-- ARGV: the entry to go on behind ('-' for the first), the field
-- answer: {the last entry looked at, '1' if there are more, {value, number, ...}}

local function run()
  local stream, seen, name = KEYS[1], ARGV[1], ARGV[2]
  local CHUNK, LOOKED_AT = 50, 1000
  local sums, looked_at, more = {}, 0, 1
  while looked_at < LOOKED_AT and more == 1 do
    local entries = fetch('XRANGE', stream, seen == '-' and '-' or '(' .. seen, '+', 'COUNT', CHUNK)
    for _, entry in ipairs(entries) do
      seen, looked_at = entry[1], looked_at + 1
      add_up(sums, fields_of(entry)[name] or '', 1)
    end
    if #entries < CHUNK then more = 0 end
  end
  local flat = {}
  for value, number in pairs(sums) do
    flat[#flat + 1] = value
    flat[#flat + 1] = number
  end
  return { seen, more, flat }
end
