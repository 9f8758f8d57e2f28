-- KEYS: what is remembered of the reservation, and the budget of each charge.
-- ARGV: "not_sent", "ended" or "broken_off".

local now = clock()
local record = redis.call('GET', KEYS[1])
if not record or record == '' then
  -- If it comes later than this, nothing is charged.
  keep(KEYS[1], '', REMEMBERED)
  return 0
end
record = cmsgpack.unpack(record)
for_each_charged(record, function(key, budget, counter, at)
  local reset_at, time, high, low = record[at + 2], record[at + 3], record[at + 4], record[at + 5]
  local kind = counters[budget.kind]
  if budget.kind == 'concurrent' then
    local how = ARGV[1] == 'broken_off' and kind.broken_off or kind.not_sent
    how(counter, high, low, time, budget.window, now)
  elseif ARGV[1] == 'not_sent' and reset_at == budget.reset_at then
    kind.not_sent(counter, high, low, time, budget.window, now)
  else
    return
  end
  settle(budget, now)
  save(key, budget, now)
end)
redis.call('DEL', KEYS[1])
return 0
