-- KEYS: what is to be forgotten.

local value = redis.call('GET', KEYS[1])
if value then
  local uses, id = cmsgpack.unpack(value)
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', uses, id)
end
return 0
