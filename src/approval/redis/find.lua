-- ARGV, behind those of store.lua: 'digest' and that of a call, or 'id' and some ids.
--
-- Answers what time it is, and what is known of each.

local ids = { unpack(ARGV, 4) }
if ARGV[3] == 'digest' then
  ids = { redis.call('GET', of_call(ARGV[4])) }
end
local found = {}
for place, id in ipairs(ids) do
  found[place] = id and known(id)
end
return { string.format('%.0f', now), found }
