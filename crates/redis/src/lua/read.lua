-- What was told after a position.
--
-- KEYS     the log, see tell.lua, and a key that is written for nothing.
-- ARGV     how long both are kept (milliseconds), and the position, or nothing.
-- Answers  the last position, 1 if the log holds everything after the one that was asked for, and
--          the changes after it.
--
-- A server that takes no change tells of none: one that is full, or a replica now, or not allowed
-- to write refuses this as it refuses what tell.lua takes down, and whoever asks knows.
redis.call('SET', KEYS[2], '', 'PX', ARGV[1])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then
  -- A log that is gone, or was never there, begins with a place that nobody has seen.
  local time = redis.call('TIME')
  local id = string.format('%.0f-0', time[1] * 1e6 + time[2])
  redis.call('XADD', KEYS[1], id, 'begins', '')
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  last = {id}
end
local position = string.match(last[1], '^%d+')
local after = ARGV[2]
if after == position then
  return {position, 1, {}}
end
if after == '' or #redis.call('XRANGE', KEYS[1], after .. '-0', after .. '-0') == 0 then
  return {position, 0, {}}
end
local changes = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. after .. '-0', '+')) do
  changes[i] = entry[2][2]
end
return {position, 1, changes}
