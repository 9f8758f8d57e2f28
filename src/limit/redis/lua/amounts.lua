-- Amounts are whole millionths, up to 9 * 10^18. Numbers are exact up to 2^53
-- only, so each amount is two of them: how many thousand millions, and the rest.

local THOUSAND_MILLION = 1000000000
-- What is more than this is not counted: half a million times the largest amount.
local MOST = 4000000000000000

local function plus(high, low, more_high, more_low)
  high, low = high + more_high, low + more_low
  if low >= THOUSAND_MILLION then
    high, low = high + 1, low - THOUSAND_MILLION
  end
  return math.min(high, MOST), low
end

-- What is taken away is never more than what it is taken from.
local function minus(high, low, less_high, less_low)
  high, low = high - less_high, low - less_low
  if low < 0 then
    high, low = high - 1, low + THOUSAND_MILLION
  end
  return high, low
end

local function is_more(high, low, than_high, than_low)
  return high > than_high or (high == than_high and low > than_low)
end
