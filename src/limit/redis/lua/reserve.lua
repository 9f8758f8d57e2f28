-- KEYS: what is remembered of the reservation, and the budget of each charge.
-- ARGV: "charge", or "ask" if nothing is to be charged; and for each charge what
-- follows here in `charge`.
--
-- Answers what became of it, the place of a charge, and microseconds to wait, or -1.

local ADMITTED, EXCEEDED, CONCLUDED, REPEATED = 0, 1, 2, 3
local FIELDS = 10

local now = clock()
local known = redis.call('GET', KEYS[1])
if known == '' then
  return { CONCLUDED, 0, 0 }
end

local charges = {}
local exceeded, over, wait = 0, 0, 0
for number = 1, #KEYS - 1 do
  local at = 2 + (number - 1) * FIELDS
  local charge = {
    kind = ARGV[at],
    window = tonumber(ARGV[at + 1]),
    high = tonumber(ARGV[at + 2]),
    low = tonumber(ARGV[at + 3]),
    max_high = tonumber(ARGV[at + 4]),
    max_low = tonumber(ARGV[at + 5]),
    is_enforced = ARGV[at + 6] == '1',
    -- A digest; empty if there is none.
    session = ARGV[at + 7],
    -- How many sessions have budgets of their own.
    places = tonumber(ARGV[at + 8]),
    -- Whatever is to be told of it in lists.
    about = ARGV[at + 9],
  }
  local budget = load(KEYS[number + 1])
    or { kind = charge.kind, reset_at = 0, rest = counters[charge.kind].new(), own = {} }
  budget.window, budget.about = charge.window, charge.about
  charge.budget = budget
  charges[number] = charge
  settle(budget, now)
  local is_admitted, longer = admits(budget, charge, now)
  if not is_admitted then
    if not charge.is_enforced then
      over = over == 0 and number or over
    elseif exceeded == 0 then
      exceeded, wait = number, longer or -1
    elseif wait >= 0 then
      wait = longer and math.max(wait, longer) or -1
    end
  end
end

if exceeded > 0 then
  return { EXCEEDED, exceeded, wait }
end
if ARGV[1] == 'ask' then
  return { ADMITTED, over, 0 }
end
if known then
  return { REPEATED, 0, 0 }
end

local record = {}
for number, charge in ipairs(charges) do
  local budget = charge.budget
  local session, time = '', now
  if charge.high > 0 or charge.low > 0 then
    session, time = charge_to(budget, charge, now)
    save(KEYS[number + 1], budget, now)
  end
  local at = (number - 1) * RECORD
  record[at + 1], record[at + 2], record[at + 3] = session, budget.reset_at, time
  record[at + 4], record[at + 5] = charge.high, charge.low
end
keep(KEYS[1], cmsgpack.pack(record), REMEMBERED)
return { ADMITTED, over, 0 }
