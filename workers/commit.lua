-- One atomic commit of a state machine. Everything is checked before the first write: neither Lua nor MULTI rolls back.
--
-- KEYS: meta, log, outbox...
-- ARGV: epoch, owner, version, length, chain before, chain after, lease in ms, digest of the state (or ''),
--       number of positions, (source, id)...,
--       number of log entries, payload...,
--       then per outbox: its length before, number of entries, payload...
--
-- FENCED: I was replaced. DUP: my own lost reply, it is done. GAP: my state is not the stored state.
-- Numbers are compared as the decimal text both sides write; no money comes near Lua arithmetic (2^53).

local meta, log = KEYS[1], KEYS[2]
local have = redis.call('HMGET', meta, 'epoch', 'owner', 'version', 'length', 'chain')
if have[1] ~= ARGV[1] or have[2] ~= ARGV[2] then return 'FENCED' end

local version, length = tonumber(ARGV[3]), tonumber(ARGV[4])
local sources = tonumber(ARGV[9])
local first = 10 + 2 * sources + 1              -- index of the first log payload
local entries = tonumber(ARGV[first - 1])
local at_version, at_length, at_chain = tonumber(have[3] or '0'), tonumber(have[4] or '0'), have[5] or ''
if at_version == version + 1 and at_length == length + entries and at_chain == ARGV[6] then return 'DUP' end
if at_version ~= version or at_length ~= length or at_chain ~= ARGV[5] then return 'GAP' end

local at = first + entries
for box = 3, #KEYS do
  if (redis.call('HGET', meta, 'len:' .. KEYS[box]) or '0') ~= ARGV[at] then return 'GAP' end
  at = at + 2 + tonumber(ARGV[at + 1])
end

for i = 0, entries - 1 do
  redis.call('XADD', log, string.format('%d-0', length + 1 + i), 'd', ARGV[first + i])
end

local time = redis.call('TIME')
local lease = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[7]
local fields = {'version', string.format('%d', version + 1), 'length', string.format('%d', length + entries),
                'chain', ARGV[6], 'lease', string.format('%d', lease)}
if ARGV[8] ~= '' then
  fields[#fields + 1] = 'digest'
  fields[#fields + 1] = string.format('%d ', length + entries) .. ARGV[8]
end
for i = 10, 9 + 2 * sources, 2 do
  fields[#fields + 1] = 'at:' .. ARGV[i]
  fields[#fields + 1] = ARGV[i + 1]
end

at = first + entries
for box = 3, #KEYS do
  local before, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  for i = 1, count do
    redis.call('XADD', KEYS[box], string.format('%d-0', before + i), 'd', ARGV[at + 1 + i])
  end
  fields[#fields + 1] = 'len:' .. KEYS[box]
  fields[#fields + 1] = string.format('%d', before + count)
  at = at + 2 + count
end
redis.call('HSET', meta, unpack(fields))
return 'OK'
