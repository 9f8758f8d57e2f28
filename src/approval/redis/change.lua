-- ARGV, behind those of store.lua: the id, the text of the request as it was when it was
-- decided what becomes of it, its text from now on, its state, when it is over, whether
-- it is in force, and whether its arguments are still needed.
--
-- Answers whether it was still as it had been.

local id, before, after, state, ends, in_force, is_shown = unpack(ARGV, 3)
local text, was_in_force, digest, caller =
  unpack(redis.call('HMGET', request(id), 'request', 'in_force', 'digest', 'caller'))
if text ~= before or was_in_force ~= '1' then
  return 0
end
redis.call('HSET', request(id), 'request', after, 'state', state, 'ends', ends)
local own_in_force, own_pending = of_caller(caller)
if in_force == '1' then
  redis.call('ZREM', PENDING, id)
  redis.call('ZREM', own_pending, id)
  keep(request(id), ends + HOUR)
  redis.call('SET', of_call(digest), id)
  keep(of_call(digest), ends)
  for _, key in ipairs({ IN_FORCE, own_in_force }) do
    redis.call('ZADD', key, ends, id)
    keep(key, ends + HOUR)
  end
  if is_shown == '1' then
    redis.call('PERSIST', shown(id))
    keep(shown(id), ends)
  else
    hide(id)
  end
  keep(BYTES, ends + HOUR)
else
  finish(id, math.min(now, tonumber(ends)))
end
say(id, state, WRITER)
return 1
