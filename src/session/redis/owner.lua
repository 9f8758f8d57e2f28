-- KEYS: what is looked for.
-- ARGV: who is asking.
--
-- Answers the owner, and what is known besides; nothing if it is not known.

local value = redis.call('GET', KEYS[1])
if not value then
  return false
end
local uses, id, owner, known = cmsgpack.unpack(value)
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], LIFE)
  redis.call('ZADD', uses, clock(), id)
  redis.call('PEXPIRE', uses, LIFE)
end
return { owner, known }
