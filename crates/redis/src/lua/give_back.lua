-- Undoes draws that were made a moment ago for a request that another server's counter refused.
--
-- KEYS     the counters, as in draw.lua, and last a name of this call: the client of a cluster may
--          send it twice, and units must not be given back twice.
-- ARGV[1]  for each counter four doubles, low byte first: what the draw added, in seconds and
--          nanoseconds, and what the counter held after it, in seconds and nanoseconds.
--
-- As long as what the counter held then is still ahead of the clock, the counter was never whole
-- in between, and taking the same amount off again is exact. Later nothing is given back: that
-- could be a unit too many.
if not redis.call('SET', KEYS[#KEYS], '', 'NX', 'PX', 10000) then
  return 0
end
local time = redis.call('TIME')
local now_s, now_n = tonumber(time[1]), time[2] * 1000
local held = redis.call('MGET', unpack(KEYS))
local given = {struct.unpack('<' .. string.rep('d', 4 * (#KEYS - 1)), ARGV[1])}
for i = 1, #KEYS - 1 do
  local add_s, add_n = given[4 * i - 3], given[4 * i - 2]
  local then_s, then_n = given[4 * i - 1], given[4 * i]
  local tat = held[i]
  if tat and (then_s > now_s or (then_s == now_s and then_n > now_n)) then
    local s = tonumber(string.sub(tat, 1, -10)) - add_s
    local n = tonumber(string.sub(tat, -9)) - add_n
    if n < 0 then
      s, n = s - 1, n + 1e9
    end
    local debt_s, debt_n = s - now_s, n - now_n
    local left = debt_s * 1000 + math.floor(debt_n / 1e6) + 1
    if left > 0 then
      redis.call('SET', KEYS[i], string.format('%d%09d', s, n), 'PX', left)
    else
      redis.call('DEL', KEYS[i])
    end
  end
end
return 1
