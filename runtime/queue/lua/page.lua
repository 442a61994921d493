-- page: reads entries of a stream, a bounded number of them and of their bytes.
-- KEYS: stream
-- ARGV: the entry to go on behind ('-' for the first), the last one to look at ('+' for any), most entries,
--       bytes, a field to choose by ('' for all entries); then the values that are chosen
-- answer: {the last entry looked at, '1' if there are more, {id, {fields}} of each}

local function run()
  local stream, after, last, most, bytes, name = KEYS[1], unpack(ARGV, 1, 5)
  most, bytes = tonumber(most), tonumber(bytes)
  local chosen, found, seen, size = {}, {}, after, 0
  for i = 6, #ARGV do chosen[ARGV[i]] = true end
  local CHUNK, LOOKED_AT = 50, 2000
  local looked_at = 0
  while looked_at < LOOKED_AT do
    local entries = fetch('XRANGE', stream, seen == '-' and '-' or '(' .. seen, last, 'COUNT', CHUNK)
    for _, entry in ipairs(entries) do
      if #found >= most or size >= bytes then return { seen, 1, found } end
      seen, looked_at = entry[1], looked_at + 1
      local fields = fields_of(entry)
      if name == '' or chosen[fields[name] or ''] then
        found[#found + 1] = entry
        for _, value in ipairs(entry[2]) do size = size + #value end
      end
    end
    if #entries < CHUNK then return { seen, 0, found } end
  end
  return { seen, 1, found }
end
