-- What is due, for scripts that only read: they show what time has ended, and write nothing. An
-- account may have more of it than one script can look at; such a script answers a page, and the
-- next one goes on from there. A page has the number of grants that were looked at, those that
-- were not ended, the parts of those that were, and then of what is due: the version of the
-- account, how many deadlines were looked at, what they hold of grants, what of windows of caps,
-- their amounts together, and how many they are.

local PAGE = 250
local PAGE_PATTERN = '^(%d+)\t([%w,]*)\t([%d,]*)\t(%x*)\t(%d+)\t([%w:,]*)\t([%w:=,]*)\t(%d+)\t(%d+)$'

local function from_start(page)
  page.version, page.rank, page.held, page.uses, page.exposed, page.ended = '', 0, {}, {}, 0, 0
  return page
end

local function page_of(text)
  local page = from_start({ number = 0, open = {}, sums = {} })
  if not text then return page end
  local fields = fields_of(text, PAGE_PATTERN, 'a page')
  for id in string.gmatch(fields[2], '[^,]+') do page.open[#page.open + 1] = id end
  for sum in string.gmatch(fields[3], '[^,]+') do page.sums[#page.sums + 1] = tonumber(sum) end
  for _, slice in ipairs(slices_of(fields[6])) do page.held[slice.id] = slice.amount end
  for name, amount in string.gmatch(fields[7], '([^,=]+)=(%d+)') do page.uses[name] = tonumber(amount) end
  page.number, page.version, page.rank = tonumber(fields[1]), fields[4], tonumber(fields[5])
  page.exposed, page.ended = tonumber(fields[8]), tonumber(fields[9])
  return page
end

local function page_text(page)
  local sums, held, uses = {}, {}, {}
  for i, sum in ipairs(page.sums) do sums[i] = int(sum) end
  for id, amount in pairs(page.held) do held[#held + 1] = id .. ':' .. int(amount) end
  for name, amount in pairs(page.uses) do uses[#uses + 1] = name .. '=' .. int(amount) end
  return table.concat({ int(page.number), table.concat(page.open, ','), table.concat(sums, ','),
    page.version, int(page.rank), table.concat(held, ','), table.concat(uses, ','),
    int(page.exposed), int(page.ended) }, '\t')
end

local function add_due(page, record)
  for _, slice in ipairs(record.slices) do
    page.held[slice.id] = (page.held[slice.id] or 0) + slice.amount
  end
  if record.note ~= NOT_NOTED then
    for name in string.gmatch(record.note, '[^,]+') do
      page.uses[name] = (page.uses[name] or 0) + record.amount
    end
  end
  page.exposed, page.ended = plus(page.exposed, record.amount), page.ended + 1
end

-- Looks at deadlines that have passed; returns whether there are more. Those that an earlier script
-- looked at are counted on only while nothing was written since.
local function look_at_due(page)
  local deadlines = int(fetch('ZCARD', K.due))
  local version = string.sub(redis.sha1hex(books_text(S.account) .. deadlines), 1, 16)
  if page.version ~= version then from_start(page).version = version end
  local due = fetch('ZCOUNT', K.due, '-inf', int(S.now))
  local to = math.min(due, page.rank + PAGE)
  if page.rank < to then
    local keys = fetch('ZRANGE', K.due, int(page.rank), int(to - 1))
    load_reservations(keys)
    for _, key in ipairs(keys) do
      if is_open(S.open[key]) then add_due(page, S.open[key]) end
    end
    page.rank = to
  end
  return page.rank < due
end
