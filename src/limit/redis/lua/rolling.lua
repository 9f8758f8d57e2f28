-- A window that ends now, always: as window/rolling.rs does it. Its entries are one
-- row of times and amounts: time, high, low, time, high, low.

local PARTS = 32
local MOST_ENTRIES = 33

local rolling = {}

function rolling.part(window)
  return math.max(1, math.floor(window / PARTS))
end

-- Forgets what has expired, and tells the time that counts as now.
function rolling.settle(entries, window, now)
  local count = #entries
  if count == 0 then
    return now
  end
  local last = entries[count - 2]
  if last > now then
    if last - now <= rolling.part(window) then
      now = last
    else
      -- The clock went back: what is in the future was charged now at the latest.
      for place = 1, count, 3 do
        entries[place] = math.min(entries[place], now)
      end
    end
  end
  local gone = 0
  while gone < count and now - entries[gone + 1] >= window do
    gone = gone + 3
  end
  if gone > 0 then
    for place = 1, count do
      entries[place] = entries[place + gone]
    end
  end
  return now
end

function rolling.used(entries)
  local high, low = 0, 0
  for place = 1, #entries, 3 do
    high, low = plus(high, low, entries[place + 1], entries[place + 2])
  end
  return high, low
end

-- Whether it would be admitted; else, how long until it is, if ever.
function rolling.admits(entries, high, low, max_high, max_low, window, now)
  rolling.settle(entries, window, now)
  if is_more(high, low, max_high, max_low) then
    return false, nil
  end
  local others_high, others_low = minus(max_high, max_low, high, low)
  -- The latest charges that fit beside it may stay. What is before them has to
  -- expire, and its last is the last to do so.
  local kept_high, kept_low = 0, 0
  for place = #entries - 2, 1, -3 do
    kept_high, kept_low = plus(kept_high, kept_low, entries[place + 1], entries[place + 2])
    if is_more(kept_high, kept_low, others_high, others_low) then
      return false, entries[place] + window - now
    end
  end
  return true, nil
end

-- What is in the same part of the window counts as one.
function rolling.merge(entries, part)
  local kept = 1
  local count = #entries
  for place = 4, count, 3 do
    local time, high, low = entries[place], entries[place + 1], entries[place + 2]
    if math.floor(time / part) == math.floor(entries[kept] / part) then
      high, low = plus(entries[kept + 1], entries[kept + 2], high, low)
    else
      kept = kept + 3
    end
    entries[kept], entries[kept + 1], entries[kept + 2] = time, high, low
  end
  for place = count, kept + 3, -1 do
    entries[place] = nil
  end
end

-- Charges it, and tells when that counts as done.
function rolling.charge(entries, high, low, window, now)
  now = rolling.settle(entries, window, now)
  local part = rolling.part(window)
  local last = #entries - 2
  if #entries >= 3 * MOST_ENTRIES and math.floor(entries[last] / part) ~= math.floor(now / part) then
    rolling.merge(entries, part)
    last = #entries - 2
  end
  if last > 0 and (entries[last] == now or #entries >= 3 * MOST_ENTRIES) then
    entries[last] = now
    entries[last + 1], entries[last + 2] = plus(entries[last + 1], entries[last + 2], high, low)
  else
    entries[last + 3], entries[last + 4], entries[last + 5] = now, high, low
  end
  return now
end

-- Takes away what was charged then, unless it has expired. It was counted then or
-- later, so it is gone when as much has been taken of what was counted from then on,
-- the earliest first.
function rolling.give_back(entries, high, low, at, window, now)
  now = rolling.settle(entries, window, now)
  if at > now or now - at >= window then
    return
  end
  local place = 1
  while place <= #entries and entries[place] < at do
    place = place + 3
  end
  while place <= #entries and (high > 0 or low > 0) do
    local counted_high, counted_low = entries[place + 1], entries[place + 2]
    if is_more(counted_high, counted_low, high, low) then
      entries[place + 1], entries[place + 2] = minus(counted_high, counted_low, high, low)
      return
    end
    high, low = minus(high, low, counted_high, counted_low)
    for _ = 1, 3 do
      table.remove(entries, place)
    end
  end
end

-- When nothing is counted any more.
function rolling.ends(entries, window)
  local last = entries[#entries - 2]
  return last and last + window or 0
end
