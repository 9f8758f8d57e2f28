-- ARGV, behind those of store.lua: the id, the digest of the call, the caller, the text of
-- the request, its arguments, how many bytes those have, and when it is over.
--
-- Answers 0 if another is in force for the call, 1 if it is this one, and 2 if there is
-- no room.

local id, digest, caller, text, arguments, bytes, ends = unpack(ARGV, 3)
if redis.call('EXISTS', of_call(digest)) == 1 then
  return 0
end
local own_in_force, own_pending, own_new = of_caller(caller)
redis.call('ZREMRANGEBYSCORE', own_new, '-inf', string.format('%.0f', now - HOUR))
for _, key in ipairs({ own_in_force, own_pending, PENDING }) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
end
local function is_full(key, most)
  return redis.call('ZCARD', key) >= most
end
local all_bytes = tonumber(redis.call('HGET', BYTES, 'all') or 0)
if is_full(own_pending, MOST_PENDING_OF_A_CALLER)
  or is_full(own_new, MOST_NEW_IN_AN_HOUR)
  or is_full(own_in_force, MOST_IN_FORCE_OF_A_CALLER)
  or is_full(PENDING, MOST_PENDING)
  or is_full(NEW, MOST_NEW_OF_ALL)
  or is_full(IN_FORCE, MOST_IN_FORCE)
  or all_bytes + bytes > MOST_BYTES
then
  return 2
end
local number = say(id, 'pending', WRITER)
redis.call(
  'HSET', request(id), 'request', text, 'state', 'pending', 'ends', ends, 'in_force', 1,
  'digest', digest, 'caller', caller, 'number', number)
keep(request(id), ends + HOUR)
redis.call('SET', shown(id), arguments)
keep(shown(id), ends)
redis.call('SET', of_call(digest), id)
keep(of_call(digest), ends)
redis.call('HSET', BYTES, id, bytes)
redis.call('HINCRBY', BYTES, 'all', bytes)
keep(BYTES, ends + HOUR)
for _, key in ipairs({ IN_FORCE, PENDING, own_in_force, own_pending }) do
  redis.call('ZADD', key, ends, id)
  keep(key, ends + HOUR)
end
for _, key in ipairs({ NEW, own_new }) do
  redis.call('ZADD', key, string.format('%.0f', now), id)
  keep(key, now + HOUR)
end
return 1
