-- Decisions about requests, one after another: for each, every draw fits and is made, or none is.
--
-- KEYS     the counters. Each holds its theoretical arrival time in nanoseconds of this server's
--          clock, as decimal text, and is gone once that time is past.
-- ARGV[1]  doubles, low byte first. For each request the number of its draws; for each of those the
--          place of its counter among KEYS, and in seconds and nanoseconds each: what it adds, the
--          quota's window, and what it adds beside that if it fits too.
-- Answers  seconds, microseconds, a 1 or a 0 for each request, and what the counters held before.
--
-- A double is exact up to 2^53, and nanoseconds since 1970 are beyond that. So every time is a
-- pair of seconds and nanoseconds, of which each part is exact.
local call, unpack_doubles = redis.call, struct.unpack
local time = call('TIME')
local now_s, now_n = tonumber(time[1]), time[2] * 1000
local held = call('MGET', unpack(KEYS))
local tats_s, tats_n, changed = {}, {}, {}
for k = 1, #KEYS do
  local tat = held[k]
  if tat then
    -- What is no number is nothing, and the first draw on it fails before anything is written.
    tats_s[k], tats_n[k] = tonumber(string.sub(tat, 1, -10)), tonumber(string.sub(tat, -9))
  else
    tats_s[k], tats_n[k] = 0, 0
  end
end
local given, at, taken = ARGV[1], 1, {}
local drawn_k, drawn_s, drawn_n = {}, {}, {}
while at <= #given do
  local draws
  draws, at = unpack_doubles('<d', given, at)
  local fits, drawn = true, 0
  for _ = 1, draws do
    local k, add_s, add_n, window_s, window_n, more_s, more_n
    k, add_s, add_n, window_s, window_n, more_s, more_n, at =
      unpack_doubles('<ddddddd', given, at)
    -- A draw that costs nothing only looks.
    if fits and (add_s > 0 or add_n > 0) then
      local s, n = tats_s[k], tats_n[k]
      if s < now_s or (s == now_s and n < now_n) then
        s, n = now_s, now_n
      end
      s, n = s + add_s, n + add_n
      if n >= 1e9 then
        s, n = s + 1, n - 1e9
      end
      local debt_s, debt_n = s - now_s, n - now_n
      if debt_n < 0 then
        debt_s, debt_n = debt_s - 1, debt_n + 1e9
      end
      if debt_s > window_s or (debt_s == window_s and debt_n > window_n) then
        fits = false
      else
        local all_s, all_n = debt_s + more_s, debt_n + more_n
        if all_n >= 1e9 then
          all_s, all_n = all_s + 1, all_n - 1e9
        end
        if all_s < window_s or (all_s == window_s and all_n <= window_n) then
          s, n = s + more_s, n + more_n
          if n >= 1e9 then
            s, n = s + 1, n - 1e9
          end
        end
        drawn = drawn + 1
        drawn_k[drawn], drawn_s[drawn], drawn_n[drawn] = k, s, n
      end
    end
  end
  if fits then
    for i = 1, drawn do
      local k = drawn_k[i]
      tats_s[k], tats_n[k], changed[k] = drawn_s[i], drawn_n[i], true
    end
  end
  taken[#taken + 1] = fits and '1' or '0'
end
for k = 1, #KEYS do
  if changed[k] then
    local s, n = tats_s[k], tats_n[k]
    local left = (s - now_s) * 1000 + math.floor((n - now_n) / 1e6) + 1
    call('SET', KEYS[k], string.format('%d%09d', s, n), 'PX', left)
  end
end
return {time[1], time[2], table.concat(taken), held}
