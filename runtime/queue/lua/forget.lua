-- forget: removes a person's entries from a stream, a bounded number of entries at a time.
-- KEYS: stream; of a campaign's queue or missed ones also: campaign, taken, held, queues
-- ARGV: queue, missed or other; campaign id; the entry to go on behind ('-' for the first); the person;
--       the person as it is written in a request's JSON
-- answer: {the last entry looked at, '1' if there are more, number removed}

local function is_theirs(fields, person, written)
  if fields.p then return fields.p == person end
  return fields.b ~= nil and string.find(fields.b, written, 1, true) ~= nil
end

local function run()
  local stream, campaign, taken, held, queues = unpack(KEYS)
  local kind, id, seen, person, written = unpack(ARGV)
  local CHUNK, LOOKED_AT, BYTES = 50, 1000, 1048576
  local theirs, sums, looked_at, size, more = {}, {}, 0, 0, 1
  while looked_at < LOOKED_AT and size < BYTES and more == 1 do
    local entries = fetch('XRANGE', stream, seen == '-' and '-' or '(' .. seen, '+', 'COUNT', CHUNK)
    for _, entry in ipairs(entries) do
      seen, looked_at = entry[1], looked_at + 1
      local fields = fields_of(entry)
      size = size + #(fields.b or '') + #(fields.j or '')
      if is_theirs(fields, person, written) then
        theirs[#theirs + 1] = entry[1]
        if kind == 'queue' then
          add_up(sums, 'forgotten', 1)
          add_up(sums, 'action:' .. (fields.a or ''), -1)
        elseif kind == 'missed' then
          add_up(sums, 'missed:' .. (fields.g or ''), -1)
        end
      end
    end
    if #entries < CHUNK then more = 0 end
  end
  if kind ~= 'other' then check_counters(campaign, names_of(sums)) end
  if kind == 'queue' then
    for _, key in ipairs({ taken, queues }) do fetch('ZCARD', key) end
    fetch('HLEN', held)
  end
  for _, entry_id in ipairs(theirs) do
    redis.call('XDEL', stream, entry_id)
    if kind == 'queue' then
      redis.call('ZREM', taken, entry_id)
      redis.call('HDEL', held, entry_id)
    end
  end
  if kind ~= 'other' then count(campaign, sums) end
  if kind == 'queue' and #theirs > 0 and redis.call('XLEN', stream) == 0 then redis.call('ZREM', queues, id) end
  return { seen, more, #theirs }
end
