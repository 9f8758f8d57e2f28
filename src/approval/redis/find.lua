-- ARGV, behind those of store.lua: 'id' or 'digest', and which.
--
-- Answers what time it is, and what is known of the request.

local id = ARGV[4]
if ARGV[3] == 'digest' then
  id = redis.call('GET', of_call(ARGV[4]))
end
return { string.format('%.0f', now), id and known(id) }
