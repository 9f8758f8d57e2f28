-- ARGV, behind those of store.lua: states.
--
-- Answers the ids of those that may be in one of the states.

local wanted = {}
for place = 3, #ARGV do
  wanted[ARGV[place]] = true
end
local sets = {}
if wanted.approved or wanted.denied then
  sets = { IN_FORCE }
elseif wanted.pending then
  sets = { PENDING }
end
if wanted.denied or wanted.expired or wanted.used or wanted.cancelled then
  sets[#sets + 1] = ENDED
end
local found = {}
for _, set in ipairs(sets) do
  for _, id in ipairs(redis.call('ZRANGE', set, 0, -1)) do
    local state = redis.call('HGET', request(id), 'state')
    if state and wanted[state] then
      found[#found + 1] = id
    end
  end
end
return found
