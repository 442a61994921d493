-- set_alert_marks: gives the account alert marks of its own in place of the configured ones, or takes
-- them away; alert_marks tells them. They are in the account's hash: '' is none at all.
-- args of set_alert_marks: marks before, marks, each 'own ' and the text of marks.lua, or '' for the
--       configured ones
-- answers: {'marks', as the arguments} | {'conflict', 'marks', those in force}

local function own_marks()
  local own = S.account.own_marks
  return own and 'own ' .. own or ''
end

-- What is known of marks that are no more must not wait to be told.
local function drop_states(marks)
  local kept = {}
  for item in string.gmatch(S.account.marks, '[^,]+') do
    local name = string.match(item, '^%w+')
    if name == 'exhausted' or string.find(',' .. marks .. ',', ',' .. name .. ',', 1, true) then
      kept[#kept + 1] = item
    end
  end
  S.account.marks = table.concat(kept, ',')
end

V.set_alert_marks = function(args)
  local before, after = unpack(args)
  local found = own_marks()
  if found == after then return { 'marks', found } end
  if found ~= before then return { 'conflict', 'marks', found } end
  S.account.own_marks = after ~= '' and string.sub(after, 5) or nil
  drop_states(mark_texts())
  S.dirty_marks, S.changed = true, true
  return { 'marks', after }
end

V.alert_marks = function()
  return { 'marks', own_marks() }
end
