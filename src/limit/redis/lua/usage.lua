-- KEYS: a budget.
--
-- Answers what is to be told of it, and for each counter the session, how much is
-- used, and in how many microseconds nothing is any more; -1 if that depends on what
-- is under way.

local now = clock()
local budget = load(KEYS[1])
if not budget then
  return { '' }
end
settle(budget, now)
local answer = { budget.about }
local function tell(session, counter)
  local kind = counters[budget.kind]
  local high, low = kind.used(counter)
  local wait = kind.ends(counter, budget.window) - now
  if budget.kind == 'concurrent' and #counter[1] > 0 then
    wait = -1
  end
  for _, value in ipairs({ session, high, low, wait }) do
    answer[#answer + 1] = value
  end
end
tell('', budget.rest)
for _, own in ipairs(budget.own) do
  tell(own[1], own[2])
end
return answer
