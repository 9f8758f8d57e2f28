-- KEYS: what is remembered of the reservation, and the budget of each charge.
--
-- What is under way still is so from now on; also if it does not count any more
-- because nobody could say so.

local now = clock()
local record = redis.call('GET', KEYS[1])
if not record or record == '' then
  return 0
end
record = cmsgpack.unpack(record)
for_each_charged(record, function(key, budget, counter, at)
  if budget.kind == 'concurrent' then
    local time, high, low = record[at + 3], record[at + 4], record[at + 5]
    local kind = counters.concurrent
    kind.not_sent(counter, high, low, time, budget.window, now)
    record[at + 3] = kind.charge(counter, high, low, budget.window, now)
    settle(budget, now)
    save(key, budget, now)
  end
end)
keep(KEYS[1], cmsgpack.pack(record), REMEMBERED)
return 0
