-- KEYS: what is to be remembered, and what its owner has, by when it was used.
-- ARGV: the name of the first key but for the id, the id, the owner, and what is known
-- besides, if anything is.

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local now = clock()
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - LIFE * 1000)
-- What the owner has not used for longest makes room.
local beyond = redis.call('ZCARD', KEYS[2]) + 1 - MOST
if beyond > 0 then
  local oldest = redis.call('ZPOPMIN', KEYS[2], beyond)
  for place = 1, #oldest, 2 do
    redis.call('DEL', ARGV[1] .. oldest[place])
  end
end
local value = cmsgpack.pack(KEYS[2], ARGV[2], ARGV[3], ARGV[4] or false)
redis.call('SET', KEYS[1], value, 'PX', LIFE)
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('PEXPIRE', KEYS[2], LIFE)
return 0
