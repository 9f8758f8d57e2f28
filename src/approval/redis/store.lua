-- What is the same in each script. All keys begin alike, with what is in ARGV[1], and are
-- kept in one place. ARGV[2] is the name of whoever asks.
--
-- Times are microseconds since 1970.

local PREFIX, WRITER = ARGV[1], ARGV[2]
local HOUR = 3600000000
-- Longer than any request waits.
local LONG = 8 * 24 * HOUR
-- So many that are over are ended at once: the others when something is asked next.
local SWEEP = 256
-- So many changes are kept for processes that have not heard of them yet.
local MOST_CHANGES = 1024

local now = clock()

-- In force, pending, new in the last hour, and ended, each by time.
local IN_FORCE, PENDING = PREFIX .. 'f', PREFIX .. 'p'
local NEW, ENDED = PREFIX .. 'n', PREFIX .. 'e'
-- How many bytes of arguments there are of each.
local BYTES = PREFIX .. 'b'
-- How many changes there were, and the last of them.
local COUNT, CHANGES = PREFIX .. 'c', PREFIX .. 'l'

local function of_caller(caller)
  local own = PREFIX .. 'o:' .. caller .. ':'
  return own .. 'f', own .. 'p', own .. 'n'
end

local function request(id) return PREFIX .. 'r:' .. id end
local function shown(id) return PREFIX .. 's:' .. id end
local function of_call(digest) return PREFIX .. 'd:' .. digest end

-- Lets a key last until then, at least.
local function keep(key, time)
  local wanted = math.ceil((time - now) / 1000) + 1
  if redis.call('PTTL', key) < wanted then
    redis.call('PEXPIRE', key, wanted)
  end
end

-- Lets everybody hear what became of a request, and gives the number of that. If it is not
-- known any more how many there were, it goes on with a greater number than there can
-- have been.
local function say(id, state, writer)
  local number = redis.call('INCR', COUNT)
  if number == 1 then
    number = now
    redis.call('SET', COUNT, string.format('%.0f', now))
  end
  keep(COUNT, now + LONG)
  local text = string.format('%.0f', number)
  redis.call('ZADD', CHANGES, text, text .. ' ' .. writer .. ' ' .. id .. ' ' .. state)
  redis.call('ZREMRANGEBYRANK', CHANGES, 0, -1 - MOST_CHANGES)
  keep(CHANGES, now + HOUR)
  return text
end

-- Forgets the arguments of a request.
local function hide(id)
  redis.call('DEL', shown(id))
  local bytes = redis.call('HGET', BYTES, id)
  if bytes then
    redis.call('HDEL', BYTES, id)
    redis.call('HINCRBY', BYTES, 'all', -bytes)
  end
end

-- What was in force is not any more, since then.
local function finish(id, time)
  hide(id)
  redis.call('ZREM', IN_FORCE, id)
  redis.call('ZREM', PENDING, id)
  local digest, caller = unpack(redis.call('HMGET', request(id), 'digest', 'caller'))
  if not digest then
    return
  end
  local own_in_force, own_pending = of_caller(caller)
  redis.call('ZREM', own_in_force, id)
  redis.call('ZREM', own_pending, id)
  if redis.call('GET', of_call(digest)) == id then
    redis.call('DEL', of_call(digest))
  end
  redis.call('HSET', request(id), 'in_force', 0, 'ends', string.format('%.0f', time))
  redis.call('PEXPIRE', request(id), math.ceil((time + HOUR - now) / 1000) + 1)
  redis.call('ZADD', ENDED, string.format('%.0f', time), id)
  keep(ENDED, now + HOUR)
  local beyond = redis.call('ZCARD', ENDED) - MOST_ENDED
  if beyond > 0 then
    local first = redis.call('ZPOPMIN', ENDED, beyond)
    for place = 1, #first, 2 do
      redis.call('DEL', request(first[place]))
    end
  end
end

-- Ends and forgets whatever has had its time.
local function pass_time()
  local over = redis.call(
    'ZRANGEBYSCORE', IN_FORCE, '-inf', string.format('%.0f', now), 'WITHSCORES', 'LIMIT', 0, SWEEP)
  for place = 1, #over, 2 do
    local id = over[place]
    local state = redis.call('HGET', request(id), 'state')
    finish(id, tonumber(over[place + 1]))
    if state == 'pending' or state == 'approved' then
      redis.call('HSET', request(id), 'state', 'expired')
      say(id, 'expired', '')
    end
  end
  local hour_ago = string.format('%.0f', now - HOUR)
  redis.call('ZREMRANGEBYSCORE', ENDED, '-inf', hour_ago)
  redis.call('ZREMRANGEBYSCORE', NEW, '-inf', hour_ago)
end

-- What is known of a request: its text, its arguments, whether it is in force, and its
-- number; nothing if it is not known.
local function known(id)
  local text, ends, in_force, number =
    unpack(redis.call('HMGET', request(id), 'request', 'ends', 'in_force', 'number'))
  if not text or tonumber(ends) + HOUR <= now then
    return false
  end
  if in_force == '1' and tonumber(ends) > now then
    return { text, redis.call('GET', shown(id)), 1, number }
  end
  return { text, false, 0, number }
end

pass_time()
