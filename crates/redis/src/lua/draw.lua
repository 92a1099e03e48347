-- One decision about all counters of a request: every draw fits and is made, or nothing is written.
--
-- KEYS     the counters. Each holds its theoretical arrival time in nanoseconds of this server's
--          clock, as decimal text, and is gone once that time is past.
-- ARGV[1]  for each counter four doubles, low byte first: what the draw adds, in seconds and
--          nanoseconds, and the quota's window, in seconds and nanoseconds.
-- Answers  seconds, microseconds, 1 if the draws were made, and what the counters held before.
--
-- A double is exact up to 2^53, and nanoseconds since 1970 are beyond that. So every time is a
-- pair of seconds and nanoseconds, of which each part is exact.
local time = redis.call('TIME')
local now_s, now_n = tonumber(time[1]), time[2] * 1000
local held = redis.call('MGET', unpack(KEYS))
local given = {struct.unpack('<' .. string.rep('d', 4 * #KEYS), ARGV[1])}
local tats = {}
for i = 1, #KEYS do
  local add_s, add_n = given[4 * i - 3], given[4 * i - 2]
  -- A draw that costs nothing only looks.
  if add_s > 0 or add_n > 0 then
    local s, n = now_s, now_n
    local tat = held[i]
    if tat then
      local tat_s, tat_n = tonumber(string.sub(tat, 1, -10)), tonumber(string.sub(tat, -9))
      if tat_s > s or (tat_s == s and tat_n > n) then
        s, n = tat_s, tat_n
      end
    end
    s, n = s + add_s, n + add_n
    if n >= 1e9 then
      s, n = s + 1, n - 1e9
    end
    local debt_s, debt_n = s - now_s, n - now_n
    if debt_n < 0 then
      debt_s, debt_n = debt_s - 1, debt_n + 1e9
    end
    local window_s, window_n = given[4 * i - 1], given[4 * i]
    if debt_s > window_s or (debt_s == window_s and debt_n > window_n) then
      return {time[1], time[2], 0, held}
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
