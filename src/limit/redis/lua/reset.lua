-- KEYS: a budget.
--
-- Forgets what is counted, except what is under way.

local now = clock()
local budget = load(KEYS[1])
if not budget then
  return 0
end
local clear = counters[budget.kind].clear
budget.rest = clear(budget.rest)
for _, own in ipairs(budget.own) do
  own[2] = clear(own[2])
end
-- What was charged before is not given back any more: that would be taken from others.
budget.reset_at = math.max(now, budget.reset_at + 1)
settle(budget, now)
save(KEYS[1], budget, now)
return 0
