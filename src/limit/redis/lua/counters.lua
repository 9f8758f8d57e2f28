-- What is counted together, in whichever way its period says. Each counter is asked
-- after it was settled.

-- How long something counts as under way that did not come to its end.
local BROKEN_OFF = 60000000

local counters = {}

counters.rolling = {
  new = function()
    return {}
  end,
  settle = rolling.settle,
  admits = rolling.admits,
  charge = rolling.charge,
  not_sent = rolling.give_back,
  used = rolling.used,
  ends = rolling.ends,
  clear = function()
    return {}
  end,
}

-- A minute, an hour or a day of UTC, as in window/calendar.rs: when it began, and how
-- much was charged in it.
counters.calendar = {
  new = function()
    return { 0, 0, 0 }
  end,
  -- Begins with nothing when a period begins. If the clock goes back into the period
  -- before, that period is over all the same.
  settle = function(counter, window, now)
    if counter[1] <= now and now < counter[1] + window then
      return
    end
    local current = now - now % window
    if current > counter[1] then
      counter[1], counter[2], counter[3] = current, 0, 0
    elseif counter[1] - current > window then
      counter[1] = current
    end
  end,
  admits = function(counter, high, low, max_high, max_low, window, now)
    counters.calendar.settle(counter, window, now)
    if is_more(high, low, max_high, max_low) then
      return false, nil
    end
    local others_high, others_low = minus(max_high, max_low, high, low)
    if is_more(counter[2], counter[3], others_high, others_low) then
      return false, counter[1] + window - now
    end
    return true, nil
  end,
  charge = function(counter, high, low, window, now)
    counters.calendar.settle(counter, window, now)
    counter[2], counter[3] = plus(counter[2], counter[3], high, low)
    return now
  end,
  not_sent = function(counter, high, low, at, window, now)
    counters.calendar.settle(counter, window, now)
    if at < counter[1] or at >= counter[1] + window then
      return
    end
    if is_more(high, low, counter[2], counter[3]) then
      counter[2], counter[3] = 0, 0
    else
      counter[2], counter[3] = minus(counter[2], counter[3], high, low)
    end
  end,
  used = function(counter)
    return counter[2], counter[3]
  end,
  ends = function(counter, window)
    if counter[2] == 0 and counter[3] == 0 then
      return 0
    end
    return counter[1] + window
  end,
  clear = function(counter)
    return { counter[1], 0, 0 }
  end,
}

-- What is under way at once: what was said to be within the last lease, and what did
-- not come to its end. The window is the lease.
counters.concurrent = {
  new = function()
    return { {}, {} }
  end,
  settle = function(counter, lease, now)
    rolling.settle(counter[1], lease, now)
    rolling.settle(counter[2], BROKEN_OFF, now)
  end,
  admits = function(counter, high, low, max_high, max_low, lease, now)
    rolling.settle(counter[1], lease, now)
    local used_high, used_low = rolling.used(counter[1])
    if is_more(used_high, used_low, max_high, max_low) then
      return false, nil
    end
    local others_high, others_low = minus(max_high, max_low, used_high, used_low)
    return rolling.admits(counter[2], high, low, others_high, others_low, BROKEN_OFF, now)
  end,
  charge = function(counter, high, low, lease, now)
    return rolling.charge(counter[1], high, low, lease, now)
  end,
  not_sent = function(counter, high, low, at, lease, now)
    rolling.give_back(counter[1], high, low, at, lease, now)
  end,
  broken_off = function(counter, high, low, at, lease, now)
    rolling.give_back(counter[1], high, low, at, lease, now)
    rolling.charge(counter[2], high, low, BROKEN_OFF, now)
  end,
  used = function(counter)
    local high, low = rolling.used(counter[1])
    return plus(high, low, rolling.used(counter[2]))
  end,
  ends = function(counter, lease)
    return math.max(rolling.ends(counter[1], lease), rolling.ends(counter[2], BROKEN_OFF))
  end,
  -- What is under way stays under way.
  clear = function(counter)
    return { counter[1], {} }
  end,
}
