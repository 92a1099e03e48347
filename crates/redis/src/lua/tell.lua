-- Tells of changes: takes them down and wakes whoever listens.
--
-- KEYS[1]  the log: a stream whose ids are microseconds of this server's clock, so that a log that
--          begins anew goes on where no older one was.
-- ARGV     the channel, how long the log is kept (milliseconds), and the changes.
local time = redis.call('TIME')
local position = time[1] * 1e6 + time[2]
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  position = math.max(position, tonumber(string.match(last[1], '^%d+')) + 1)
end
for i = 3, #ARGV do
  local id = string.format('%.0f-0', position)
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, id, 'changed', ARGV[i])
  position = position + 1
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[1], '')
return 1
