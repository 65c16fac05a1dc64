"""What Redis does in one step each. Whole numbers throughout: amounts of money are added by HINCRBY, which is exact to
64 bits, and compared as text, because Lua's own numbers are not.

Keys, all of one tenant and so in one slot of a cluster:

    a limit per minute   text `debt:at_ms` (see `usage.counters.verdicts`)
    calls at a time      sorted set of admissions by when their lease ends
    a budget's period    hash: `s` what was spent, `c` that and what is set aside
    its reservations     sorted set of `admission:units` by when their lease ends

A lease that ends without being renewed is one of a process that died: it is dropped by whoever comes next.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from usage.counters.verdicts import MAX_DEBT_MINUTES, MINUTE_MS


class Script(NamedTuple):
    text: bytes
    sha: bytes


_SHARED = f"""
local MINUTE, MAX_DEBT, SLACK = {MINUTE_MS}, {MAX_DEBT_MINUTES}, {MINUTE_MS}
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local function whole(number) return string.format('%.0f', number) end
local function bucket(key, amount)
  local debt, at = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
  if not debt then return 0, now end
  debt, at = tonumber(debt), tonumber(at)
  if at >= now then return debt, at end
  return math.max(0, debt - (now - at) * amount), now
end
local function keep(key, debt, at, amount)
  if debt <= 0 then redis.call('DEL', key) return end
  redis.call('SET', key, whole(debt) .. ':' .. whole(at), 'PX', whole(math.ceil(debt / amount) + SLACK))
end
local function at_most(a, b)  -- of amounts as text
  if string.sub(a, 1, 1) == '-' then return true end
  return #a < #b or (#a == #b and a <= b)
end
local function add(key, field, units)
  if units ~= '0' then redis.call('HINCRBY', key, field, units) end
end
local function take(key, field, units)
  if units ~= '0' then redis.call('HINCRBY', key, field, '-' .. units) end
end
"""

# ARGV: now_ms or "", lease_ms, id, tokens, units to set aside, units that must be left, number of limits,
#       {kind, amount} a limit, {amount, or "" if it only watches} a budget
# → {-1} when a budget is not there yet, else {allowed, now_ms, {debt or count before} a limit, {c, s before} a budget}
_ADMIT = """
local lease, id, tokens, units, asked = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local limits = tonumber(ARGV[7])
local budgets = (#KEYS - limits) / 2
local reply, ats, costs, allowed = {1, now}, {}, {}, true
for i = 1, budgets do
  if redis.call('EXISTS', KEYS[limits + 2 * i - 1]) == 0 then return {-1} end
end
for i = 1, limits do
  local kind, amount = ARGV[6 + 2 * i], tonumber(ARGV[7 + 2 * i])
  if kind == 'parallel' then
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    local running = redis.call('ZCARD', KEYS[i])
    if running >= amount then allowed = false end
    reply[#reply + 1] = running
  else
    local debt, at = bucket(KEYS[i], amount)
    local cost = MINUTE
    if kind == 'tokens' then cost = tokens * MINUTE end
    if debt + cost > amount * MINUTE then allowed = false end
    ats[i], costs[i] = at, cost
    reply[#reply + 1] = debt
  end
end
for i = 1, budgets do
  local key, reserved = KEYS[limits + 2 * i - 1], KEYS[limits + 2 * i]
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', reserved, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', reserved, member)
    take(key, 'c', string.match(member, ':(%d+)$'))
  end
  local amount = ARGV[7 + 2 * limits + i]
  local held = redis.call('HMGET', key, 'c', 's')
  if amount ~= '' and asked ~= '0' then
    add(key, 'c', asked)
    if not at_most(redis.call('HGET', key, 'c'), amount) then allowed = false end
    take(key, 'c', asked)
  end
  reply[#reply + 1], reply[#reply + 2] = held[1], held[2]
end
if not allowed then
  reply[1] = 0
  return reply
end
for i = 1, limits do
  local kind, amount = ARGV[6 + 2 * i], tonumber(ARGV[7 + 2 * i])
  if kind == 'parallel' then
    redis.call('ZADD', KEYS[i], now + lease, id)
    redis.call('PEXPIRE', KEYS[i], lease + SLACK)
  else
    keep(KEYS[i], reply[2 + i] + costs[i], ats[i], amount)
  end
end
if units ~= '0' then
  for i = 1, budgets do
    local key, reserved = KEYS[limits + 2 * i - 1], KEYS[limits + 2 * i]
    add(key, 'c', units)
    redis.call('ZADD', reserved, now + lease, id .. ':' .. units)
    redis.call('PEXPIRE', reserved, lease + SLACK)
  end
end
return reply
"""

# ARGV: now_ms or "", id, tokens more than estimated, when it was admitted, units spent, units set aside,
#       number of limits, {kind, amount, debt then} a limit
_SETTLE = """
local id, more, admitted, units, aside = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local limits = tonumber(ARGV[7])
for i = 1, limits do
  local kind, amount, debt_then = ARGV[5 + 3 * i], tonumber(ARGV[6 + 3 * i]), tonumber(ARGV[7 + 3 * i])
  if kind == 'parallel' then
    redis.call('ZREM', KEYS[i], id)
  elseif kind == 'tokens' and more ~= 0 then
    local debt, at = bucket(KEYS[i], amount)
    local change = more * MINUTE
    if change < 0 then
      local undrained = math.max(0, debt_then - math.max(0, now - admitted) * amount)
      debt = math.max(0, debt - math.min(-change, undrained))
    else
      debt = math.min(debt + change, math.max(debt, amount * MINUTE * MAX_DEBT))
    end
    keep(KEYS[i], debt, at, amount)
  end
end
for i = limits + 1, #KEYS, 2 do
  local key = KEYS[i]
  local held = aside ~= '0' and redis.call('ZREM', KEYS[i + 1], id .. ':' .. aside) == 1
  if redis.call('EXISTS', key) == 1 then  -- else the database will say what was spent
    if held then take(key, 'c', aside) end
    add(key, 'c', units)
    add(key, 's', units)
  end
end
return 1
"""

# ARGV: now_ms or "", {units spent, ends_ms} a budget. What is spent is never less than this from then on.
_SEED = """
for i = 1, #KEYS do
  local units, ends = ARGV[2 * i], ARGV[2 * i + 1]
  local spent = redis.call('HGET', KEYS[i], 's')
  if not spent then
    redis.call('HSET', KEYS[i], 'c', units, 's', units)
    redis.call('PEXPIREAT', KEYS[i], whole(tonumber(ends) + 60 * MINUTE))
  elseif not at_most(units, spent) then
    take(KEYS[i], 'c', spent)
    add(KEYS[i], 'c', units)
    redis.call('HSET', KEYS[i], 's', units)
  end
end
return 1
"""

# ARGV: now_ms or "", lease_ms, id, units set aside, number of parallel limits
_RENEW = """
local lease, id, units, limits = tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
for i = 1, limits do
  redis.call('ZADD', KEYS[i], now + lease, id)
  redis.call('PEXPIRE', KEYS[i], lease + SLACK)
end
if units ~= '0' then
  for i = limits + 1, #KEYS, 2 do
    if redis.call('EXISTS', KEYS[i]) == 1 then
      if redis.call('ZADD', KEYS[i + 1], now + lease, id .. ':' .. units) == 1 then add(KEYS[i], 'c', units) end
      redis.call('PEXPIRE', KEYS[i + 1], lease + SLACK)
    end
  end
end
return 1
"""

# ARGV: now_ms or "", number of limits, {kind, amount} a limit → {now_ms, debt or count a limit, {c, s} a budget}
_LOOK = """
local limits = tonumber(ARGV[2])
local reply = {now}
for i = 1, limits do
  local kind, amount = ARGV[1 + 2 * i], tonumber(ARGV[2 + 2 * i])
  if kind == 'parallel' then
    reply[1 + i] = redis.call('ZCOUNT', KEYS[i], '(' .. whole(now), '+inf')
  else
    reply[1 + i] = (bucket(KEYS[i], amount))
  end
end
for i = limits + 1, #KEYS, 2 do
  local held = redis.call('HMGET', KEYS[i], 'c', 's')
  reply[#reply + 1], reply[#reply + 2] = held[1] or '', held[2] or ''
end
return reply
"""


def _script(text: str) -> Script:
    whole = (_SHARED + text).encode()
    return Script(whole, hashlib.sha1(whole, usedforsecurity=False).hexdigest().encode())


ADMIT: Final = _script(_ADMIT)
SETTLE: Final = _script(_SETTLE)
SEED: Final = _script(_SEED)
RENEW: Final = _script(_RENEW)
LOOK: Final = _script(_LOOK)
