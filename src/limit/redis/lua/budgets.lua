-- What is kept of each quota and caller: the counter of everything that has no budget
-- of a session, and those of sessions, as in window/sessions.rs.

-- So long it is known of a reservation what it was charged, or that it is concluded.
local REMEMBERED = 300000000

local function keep(key, value, time)
  -- Rather a second too long: the server counts in milliseconds, and its clock may go
  -- back by a little.
  redis.call('SET', key, value, 'PX', string.format('%.0f', math.ceil(time / 1000) + 1000))
end

local function load(key)
  local value = redis.call('GET', key)
  if not value then
    return nil
  end
  local about, kind, window, reset_at, rest, own = cmsgpack.unpack(value)
  return { about = about, kind = kind, window = window, reset_at = reset_at, rest = rest, own = own }
end

local function ends(budget)
  local counter = counters[budget.kind]
  local last = counter.ends(budget.rest, budget.window)
  for _, own in ipairs(budget.own) do
    last = math.max(last, counter.ends(own[2], budget.window))
  end
  return last
end

local function save(key, budget, now)
  local last = ends(budget)
  if budget.kind == 'concurrent' and last > now then
    -- Somebody who could not say so may be under way still.
    last = last + REMEMBERED
  end
  if budget.reset_at > 0 then
    last = math.max(last, budget.reset_at + REMEMBERED)
  end
  if last <= now then
    redis.call('DEL', key)
    return
  end
  local value = cmsgpack.pack(budget.about, budget.kind, budget.window, budget.reset_at, budget.rest, budget.own)
  keep(key, value, last - now)
end

-- Forgets what has expired, and the budgets of sessions in which nothing is counted.
local function settle(budget, now)
  local counter = counters[budget.kind]
  counter.settle(budget.rest, budget.window, now)
  local live = {}
  for _, own in ipairs(budget.own) do
    counter.settle(own[2], budget.window, now)
    if counter.ends(own[2], budget.window) > 0 then
      live[#live + 1] = own
    end
  end
  budget.own = live
end

-- The budget of this session, and its place; nil if it has none of its own.
local function own_of(budget, session)
  for place, own in ipairs(budget.own) do
    if own[1] == session then
      return own, place
    end
  end
  return nil, nil
end

-- The counter that belongs to a session now. After a limit has got fewer budgets,
-- sessions beyond have none of their own any more.
local function counter_of(budget, charge)
  if charge.session == '' then
    return budget.rest, ''
  end
  local own, place = own_of(budget, charge.session)
  if own and place <= charge.places then
    return own[2], charge.session
  end
  local is_nothing = charge.high == 0 and charge.low == 0
  if not own and not is_nothing and #budget.own < charge.places then
    return nil, charge.session
  end
  return budget.rest, ''
end

local function admits(budget, charge, now)
  local counter = counter_of(budget, charge) or counters[budget.kind].new()
  return counters[budget.kind].admits(
    counter, charge.high, charge.low, charge.max_high, charge.max_low, budget.window, now
  )
end

-- Charges it; tells in which session's budget, and when.
local function charge_to(budget, charge, now)
  local counter, session = counter_of(budget, charge)
  if not counter then
    counter = counters[budget.kind].new()
    budget.own[#budget.own + 1] = { session, counter }
  end
  return session, counters[budget.kind].charge(counter, charge.high, charge.low, budget.window, now)
end

-- What is remembered of each charge of a reservation.
local RECORD = 5

-- Calls this with everything that a reservation was charged and that is still there.
local function for_each_charged(record, change)
  for number = 1, #KEYS - 1 do
    local at = (number - 1) * RECORD
    local session, high, low = record[at + 1], record[at + 4], record[at + 5]
    local budget = (high > 0 or low > 0) and load(KEYS[number + 1])
    if budget then
      local own = session ~= '' and own_of(budget, session)
      local counter = budget.rest
      if session ~= '' then
        counter = own and own[2]
      end
      if counter then
        change(KEYS[number + 1], budget, counter, at)
      end
    end
  end
end
