-- ARGV, behind those of store.lua: the number of the last change that was heard of.
--
-- Answers how many there were, the number of the first that is known, and those that
-- came since.

local first = redis.call('ZRANGE', CHANGES, 0, 0, 'WITHSCORES')
local since = redis.call('ZRANGEBYSCORE', CHANGES, '(' .. ARGV[3], '+inf')
return { redis.call('GET', COUNT) or '0', first[1] and first[1]:match('^%d+') or '0', since }
