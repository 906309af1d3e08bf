"""Atomic operations within Redis, as Lua scripts. All keys of a channel share a hash tag, and so a cluster slot."""

from __future__ import annotations

_LAST_ID = """
local function last_id(stream)
  if redis.call('EXISTS', stream) == 0 then return '' end
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
"""

STATE = _LAST_ID + "return {redis.call('EXISTS', KEYS[2]), last_id(KEYS[1])}"
"""KEYS: stream, wanted. Returns whether a snapshot is wanted, and the newest id ever sent, '' where there is none."""

BEGIN = _LAST_ID + "return {last_id(KEYS[1]), redis.call('INCR', KEYS[2])}"
"""KEYS: stream, counter. Returns the newest id ever sent and a number for the chunks of the next publication."""

READ = """
if ARGV[2] == '1' then
  redis.call('SADD', KEYS[2], ARGV[1])
  redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
end
return redis.call('XRANGE', KEYS[1], '(' .. ARGV[3], '+', 'COUNT', ARGV[5])
"""
"""KEYS: stream, replicas, this replica's position. ARGV: its name, whether to note the position ('1'), the position,
its TTL in ms, most entries. Returns the entries after the position."""

LEAVE = "redis.call('SREM', KEYS[1], ARGV[1]) return redis.call('DEL', KEYS[2])"
"""KEYS: replicas, this replica's position. ARGV: its name."""

_PLACES = """
local function before(one, other)
  local a, b = string.match(one, '^(%d+)-(%d+)$')
  local c, d = string.match(other, '^(%d+)-(%d+)$')
  a, b, c, d = tonumber(a) or 0, tonumber(b) or 0, tonumber(c) or 0, tonumber(d) or 0
  return a < c or (a == c and b < d)
end
local function slowest(names, prefix)
  local least, count = nil, 0
  for _, name in ipairs(redis.call('SMEMBERS', names)) do
    local at = redis.call('GET', prefix .. name)
    if at then
      count = count + 1
      if not least or before(at, least) then least = at end
    else
      redis.call('SREM', names, name)
    end
  end
  return least, count
end
"""

_FIRST_KEPT = """
local function size(entry) return tonumber(entry[2][6]) or 0 end
local function is_snapshot(entry) return entry[2][8] == '0' end
local function first_kept(all, most, most_bytes, read)
  local first, bytes = #all, size(all[#all])
  while first > 1 and #all - first + 1 < most and bytes + size(all[first - 1]) <= most_bytes do
    first = first - 1
    bytes = bytes + size(all[first])
  end
  local snapshot, behind = #all, 0
  while snapshot >= first and not is_snapshot(all[snapshot]) do
    behind = behind + size(all[snapshot])
    snapshot = snapshot - 1
  end
  if snapshot >= first then
    first = snapshot
    if behind <= size(all[snapshot]) then return first end
  end
  while read and first < #all and not before(read, all[first][1]) do first = first + 1 end
  return first
end
"""

COMMIT = (
    _PLACES
    + _FIRST_KEPT
    + """
local chunk = ARGV[2] .. ARGV[4] .. ':'
for i = 0, ARGV[5] - 1 do
  if redis.call('EXISTS', chunk .. i) == 0 then
    return redis.error_reply('GONE chunk ' .. i .. ' of ' .. ARGV[5] .. ' is no longer there')
  end
end
redis.call('XADD', KEYS[1], ARGV[1], 'blob', ARGV[4], 'chunks', ARGV[5], 'bytes', ARGV[6], 'base', ARGV[7],
  'model', ARGV[8], 'sums', ARGV[9])
for i = 0, ARGV[5] - 1 do redis.call('EXPIRE', chunk .. i, ARGV[12]) end
if ARGV[7] == '0' then redis.call('DEL', KEYS[2]) end
local read, replicas = slowest(KEYS[3], ARGV[3])
local all = redis.call('XRANGE', KEYS[1], '-', '+')
local first = first_kept(all, tonumber(ARGV[10]), tonumber(ARGV[11]), read)
for e = 1, first - 1 do
  for i = 0, (tonumber(all[e][2][4]) or 0) - 1 do redis.call('UNLINK', ARGV[2] .. all[e][2][2] .. ':' .. i) end
end
redis.call('XTRIM', KEYS[1], 'MINID', all[first][1])
local bytes, unread = 0, 0
for e = first, #all do
  bytes = bytes + size(all[e])
  if read and before(read, all[e][1]) then unread = unread + 1 end
end
return {#all - first + 1, bytes, replicas, unread}
"""
)
"""Make a publication visible whose chunks are all there, and delete what no replica needs.

KEYS: stream, wanted, replicas. ARGV: id, prefix of chunks, prefix of positions, blob, chunks, bytes, base version,
model, checksums, most entries, most bytes, TTL of chunks in seconds. Returns entries and bytes kept, replicas,
entries the slowest of them has not read. XADD, the first write, refuses an id that is not above every earlier one: that
fences a trainer of an earlier epoch.

Retention: at most `most entries` and `most bytes`, except that the newest publication stays; nothing before the newest
snapshot; and of what every replica has read only the newest snapshot and the deltas after it, while these are no larger
than the snapshot: with them another replica can start without a new snapshot of the trainer.
"""
