-- How values are read and written: every record is a line of tab-separated fields that
-- begins with its version, every amount a whole number of millicredits.

local RECORD_VERSION = '1'
local MAX_MC = 9007199254740991

local function int(number)
  return string.format('%.0f', number)
end

-- Ends the script before its first write; the client names the fault by the first word.
local function stop(word, detail)
  error({ creditgate = word .. ' ' .. detail })
end

local function whole(text, where)
  local number = text and string.match(text, '^%d+$') and tonumber(text)
  if not number or number > MAX_MC then
    stop('DAMAGED', where .. ': expected a whole number, found ' .. tostring(text))
  end
  return number
end

local function split(text, separator)
  local parts, from = {}, 1
  while true do
    local at = string.find(text, separator, from, true)
    if not at then
      parts[#parts + 1] = string.sub(text, from)
      return parts
    end
    parts[#parts + 1] = string.sub(text, from, at - 1)
    from = at + 1
  end
end

local function fields_of(text, count, where)
  local fields = split(text, '\t')
  local version = tonumber(fields[1])
  if not version or #fields < count then
    stop('DAMAGED', where .. ': not a record of ' .. count .. ' fields')
  end
  if version > tonumber(RECORD_VERSION) then
    stop('SCHEMA', where .. ': record version ' .. fields[1])
  end
  return fields
end

-- Reads with a type check: a key of a foreign type stops the script by its name.
local function fetch(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == 'table' and answer.err then
    stop('DAMAGED', key .. ': ' .. answer.err)
  end
  return answer
end

-- Slices and postings: 'g1:250,g2:50' and 'g1:rc:250,g1:ra:50'.
local function slices_of(text, where)
  local slices = {}
  for id, amount in string.gmatch(text, '([^:,]+):(%d+)') do
    slices[#slices + 1] = { id = id, amount = whole(amount, where) }
  end
  return slices
end

local function slices_text(slices)
  local parts = {}
  for i, slice in ipairs(slices) do
    parts[i] = slice.id .. ':' .. int(slice.amount)
  end
  return table.concat(parts, ',')
end
