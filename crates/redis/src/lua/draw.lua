-- One decision about all counters of a request: every draw fits and is made, or nothing is written.
--
-- KEYS     the counters. Each holds its theoretical arrival time in nanoseconds of this server's
--          clock, as decimal text, and is gone once that time is past.
-- ARGV[1]  for each counter six doubles, low byte first, seconds and nanoseconds each: what the
--          draw adds, the quota's window, and what it adds beside that if it fits too.
-- Answers  seconds, microseconds, 1 if the draws were made, and what the counters held before.
--
-- A double is exact up to 2^53, and nanoseconds since 1970 are beyond that. So every time is a
-- pair of seconds and nanoseconds, of which each part is exact.
local function plus(s, n, more_s, more_n)
  s, n = s + more_s, n + more_n
  if n >= 1e9 then
    return s + 1, n - 1e9
  end
  return s, n
end
local function exceeds(s, n, than_s, than_n)
  return s > than_s or (s == than_s and n > than_n)
end
local time = redis.call('TIME')
local now_s, now_n = tonumber(time[1]), time[2] * 1000
local held = redis.call('MGET', unpack(KEYS))
local given = {struct.unpack('<' .. string.rep('d', 6 * #KEYS), ARGV[1])}
local tats = {}
for i = 1, #KEYS do
  local add_s, add_n, window_s, window_n, more_s, more_n = unpack(given, 6 * i - 5, 6 * i)
  -- A draw that costs nothing only looks.
  if add_s > 0 or add_n > 0 then
    local s, n = now_s, now_n
    local tat = held[i]
    if tat then
      local tat_s, tat_n = tonumber(string.sub(tat, 1, -10)), tonumber(string.sub(tat, -9))
      if exceeds(tat_s, tat_n, s, n) then
        s, n = tat_s, tat_n
      end
    end
    s, n = plus(s, n, add_s, add_n)
    local debt_s, debt_n = s - now_s, n - now_n
    if debt_n < 0 then
      debt_s, debt_n = debt_s - 1, debt_n + 1e9
    end
    if exceeds(debt_s, debt_n, window_s, window_n) then
      return {time[1], time[2], 0, held}
    end
    local all_s, all_n = plus(debt_s, debt_n, more_s, more_n)
    if not exceeds(all_s, all_n, window_s, window_n) then
      debt_s, debt_n = all_s, all_n
      s, n = plus(s, n, more_s, more_n)
    end
    tats[i] = {s, n, debt_s * 1000 + math.floor(debt_n / 1e6) + 1}
  end
end
for i = 1, #KEYS do
  local tat = tats[i]
  if tat then
    redis.call('SET', KEYS[i], string.format('%d%09d', tat[1], tat[2]), 'PX', tat[3])
  end
end
return {time[1], time[2], 1, held}
