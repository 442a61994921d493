-- How values are read and written: every record is one line of tab-separated fields that begins
-- with its version, every amount a whole number of millicredits.

local RECORD_VERSION = 1
local MAX_MC = 9007199254740991
local NEWER = ' was written by a newer release, this one reads up to %d: run the newer release, or '
  .. 'point redis.key_prefix elsewhere'

-- Lua's own conversion writes 1e+14; these are exact. %d is twice as fast as %.0f, and right
-- where the server's long has 64 bits.
local format = string.format
local INT = format('%d', MAX_MC) == '9007199254740991' and '%d' or '%.0f'

-- A batch writes the same instants and amounts again and again.
local WRITTEN = {}

local function int(number)
  local text = WRITTEN[number]
  if not text then
    text = format(INT, number)
    WRITTEN[number] = text
  end
  return text
end

-- Ends the script before its first write; the client names the fault by the first word.
local function stop(word, detail)
  error({ creditgate = word .. ' ' .. detail })
end

local function whole(text, where)
  local number = text and not string.find(text, '%D') and tonumber(text)
  if not number or number > MAX_MC then
    stop('DAMAGED', where .. ': expected a whole number, found ' .. tostring(text))
  end
  return number
end

-- Returns a record's fields by the pattern of its kind.
local function fields_of(text, pattern, where)
  local fields = { string.match(text, pattern) }
  if fields[1] then return fields end
  local version = tonumber(string.match(text, '^(%d+)\t'))
  if version and version > RECORD_VERSION then
    stop('SCHEMA', where .. ': record version ' .. version .. string.format(NEWER, RECORD_VERSION))
  end
  stop('DAMAGED', where .. ': is not a record of its kind')
end

-- Reads with a type check: a key of a foreign type stops the script by its name.
local function fetch(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == 'table' and answer.err then
    if not string.find(answer.err, 'WRONGTYPE', 1, true) then error(answer.err) end
    stop('DAMAGED', key .. ': ' .. answer.err)
  end
  return answer
end

-- So many values are handed to one command: an even number, for they may be pairs.
local CHUNK = 1000

-- Reads fields of a hash, however many.
local function fetch_fields(key, fields)
  if #fields == 0 then return {} end
  if #fields <= CHUNK then return fetch('HMGET', key, unpack(fields)) end
  local found = {}
  for from = 1, #fields, CHUNK do
    local to = math.min(#fields, from + CHUNK - 1)
    for i, value in ipairs(fetch('HMGET', key, unpack(fields, from, to))) do found[from + i - 1] = value end
  end
  return found
end

-- Slices and postings: 'g1:250,g2:50' and 'g1:rc:250,g1:ra:50'.
local function slices_of(text)
  local slices = {}
  for id, amount in string.gmatch(text, '(%w+):(%d+)') do
    slices[#slices + 1] = { id = id, amount = tonumber(amount) }
  end
  return slices
end

local function slices_text(slices)
  if #slices == 1 then return slices[1].id .. ':' .. int(slices[1].amount) end
  local parts = {}
  for i, slice in ipairs(slices) do
    parts[i] = slice.id .. ':' .. int(slice.amount)
  end
  return table.concat(parts, ',')
end

-- Short lists of attempts in one field, each with the exposure that is booked for it, and with the
-- note of the windows of caps that it counted in (caps.lua) if that is known, as it is written here:
-- 'a:250,b,c:30:d3.20545;t1.0,d::' has a with 250, b with none, c with 30 and its note, d with an
-- empty note. What is looked up is only ever recent, so the oldest fall out and no record grows for
-- ever.
local REMEMBERED = 8
local ITEM = '([^,:]+):?(%d*)(:?[^,]*)'
local NOT_NOTED = '-'

local function item_of(attempt, booked, note)
  local item = booked > 0 and attempt .. ':' .. int(booked) or attempt
  if note == NOT_NOTED then return item end
  return item .. (booked > 0 and ':' or '::') .. string.gsub(string.gsub(note, ',', ';'), ':', '.')
end

local function note_in(written)
  if written == '' then return NOT_NOTED end
  return (string.gsub(string.gsub(string.sub(written, 2), ';', ','), '%.', ':'))
end

-- Returns whether the attempt is in the list, what is booked for it, and its note.
local function listed(list, attempt)
  if list == '' then return false, 0, NOT_NOTED end
  for other, booked, note in string.gmatch(list, ITEM) do
    if other == attempt then return true, tonumber(booked) or 0, note_in(note) end
  end
  return false, 0, NOT_NOTED
end

local function list_with(list, attempt, booked, note)
  local item = item_of(attempt, booked, note)
  if list == '' then return item end
  local _, commas = string.gsub(list, ',', '')
  if commas + 2 > REMEMBERED then list = string.match(list, ',(.*)') end
  return list .. ',' .. item
end

local function list_without(list, attempt)
  if list == '' then return '' end
  local kept = {}
  for item in string.gmatch(list, '[^,]+') do
    if string.match(item, '^[^:]+') ~= attempt then kept[#kept + 1] = item end
  end
  return table.concat(kept, ',')
end
