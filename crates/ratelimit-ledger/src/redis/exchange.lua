-- One exchange of a member with the ledger. The same as src/state in Rust; one test holds the two
-- against each other. KEYS: the meta key, then one key for each budget and one for the member in it.
-- ARGV: the exchange as JSON, the version, microseconds of now ('' for the server's own clock),
-- the life of an idle key in milliseconds.
local STEPS, FORGET, SNAPSHOT, SNAPSHOTS, PAUSE, TRANSIT = 128, 600000000, 400000, 8, 1000000, 1000000
local floor, max, min, ceil = math.floor, math.max, math.min, math.ceil
local asked = cjson.decode(ARGV[1])
local int = function(n) return string.format('%.0f', n) end

local meta = redis.call('HMGET', KEYS[1], 'v', 'epoch', 'created', 'high')
if meta[1] and meta[1] ~= ARGV[2] then return redis.error_reply('LEDGERVERSION ' .. meta[1]) end
local now
if ARGV[3] ~= '' then
  now = tonumber(ARGV[3])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local epoch, created = meta[2], tonumber(meta[3])
if not meta[1] then epoch, created = asked.nonce, now end
now = max(now, tonumber(meta[4] or '0'))

-- Everything is read and checked before anything is written.
local loaded = {}
for i, ask in ipairs(asked.asks) do
  local shared, mine = redis.call('GET', KEYS[2 * i]), redis.call('GET', KEYS[2 * i + 1])
  local b = shared and cmsgpack.unpack(shared)
  local me = mine and cmsgpack.unpack(mine)
  if b and ask.kind == 'slots' and b.window ~= ask.window then
    local at = floor(now / max(floor(b.window / STEPS), 1))
    for e in pairs(b.ends) do
      if e > at then return redis.error_reply('LEDGERMISMATCH ' .. ask.budget) end
    end
    b = nil
  end
  local known = b and b.members[asked.member]
  if known and known.seq >= asked.seq then return redis.error_reply('LEDGERSTALE overtaken') end
  loaded[i] = { b, b and me }
end

local function allowed(ask, available, wanting, held)
  local share = ceil((available + held) / max(wanting, 1))
  local n = max(share - ask.held, 0)
  if n < ask.first and ask.held == 0 then n = ask.first end
  return min(n, ask.want)
end

local function take(ticks, tick, units)
  local known = ticks[tick]
  if known then
    if known > units then ticks[tick] = known - units else ticks[tick] = nil end
  end
end

local function slots(b, stated, ask)
  local tick = max(floor(ask.window / STEPS), 1)
  local at = floor(now / tick)
  local answer = { granted = 0, used = 0, held = 0, foreign = 0, quiet = false, revoked = false }
  b = b or { window = ask.window, ends = {}, starts = {}, members = {}, due = 0 }
  local ends, starts = b.ends, b.starts
  for e in pairs(ends) do if e < at + 1 - STEPS - 2 then ends[e] = nil end end
  for s in pairs(starts) do if s <= at then starts[s] = nil end end
  for name, m in pairs(b.members) do
    if m.seen + FORGET <= now and m.last <= at then b.members[name] = nil end
  end
  local me = { seq = asked.seq, seen = now, want = ask.want, held = ask.held, last = 0 }
  for i = 1, #stated, 3 do
    local s, e, n = stated[i], stated[i + 1], stated[i + 2]
    if e > at then take(ends, e, n) end
    if s > at then take(starts, s, n) end
  end
  stated = {}
  local function put(s, e, n)
    if s <= at then s = 0 end
    ends[e] = (ends[e] or 0) + n
    if s > 0 then starts[s] = (starts[s] or 0) + n end
    me.last = max(me.last, e)
    local i = #stated
    stated[i + 1], stated[i + 2], stated[i + 3] = s, e, n
  end
  for _, c in ipairs(ask.counting) do
    if c[2] > 0 and c[3] > 0 then
      put(floor(c[1] / tick), floor((now + c[2]) / tick) + 1, c[3])
    end
  end
  if ask.level and (ask.level.late_at == 0 or now < ask.level.late_at) then
    local past = floor(max(now - ask.level.age, 0) / tick)
    local ours = 0
    for e, n in pairs(ends) do if e > past then ours = ours + n end end
    local future = 0
    for _, n in pairs(starts) do future = future + n end
    ours = ours - min(future, ours)
    answer.foreign = max(ask.level.counted - ours, 0)
    if answer.foreign > 0 then
      local e = floor((now + ask.window) / tick) + 1
      ends[e] = (ends[e] or 0) + answer.foreign
    end
  end
  if created > 0 and now < created + ask.quiet then
    answer.quiet, answer.retry_in = true, created + ask.quiet - now
  elseif ask.want > 0 then
    local ticks, delta, count, future = { at }, {}, 0, 0
    for e, n in pairs(ends) do
      if e > at then
        count = count + n
        if not delta[e] then ticks[#ticks + 1] = e end
        delta[e] = (delta[e] or 0) - n
      end
    end
    for s, n in pairs(starts) do
      future = future + n
      if not delta[s] then ticks[#ticks + 1] = s end
      delta[s] = (delta[s] or 0) + n
    end
    count = count - min(future, count)
    table.sort(ticks)
    local levels = { count }
    for i = 2, #ticks do
      count = max(count + delta[ticks[i]], 0)
      levels[i] = count
    end
    for i = #ticks - 1, 1, -1 do levels[i] = max(levels[i], levels[i + 1]) end
    local horizon = floor((now + ask.ahead) / tick)
    local wanting, held = 1, ask.held
    for name, m in pairs(b.members) do
      if name ~= asked.member and m.want > 0 and m.seen + ask.window > now then
        wanting, held = wanting + 1, held + m.held
      end
    end
    local most = 0
    for i = #ticks, 1, -1 do
      if ticks[i] <= horizon then most = levels[i]; break end
    end
    local may = min(allowed(ask, max(ask.limit - most, 0), wanting, held), ask.limit)
    local first = min(max(ask.first, 1), max(may, 1))
    local gap, burst = 0, math.huge
    if ask.even then
      gap, burst = floor(ask.window * 3 / (4 * max(ask.limit, 1))), max(floor(ask.limit / 20), 1)
    end
    local given, over = 0, false
    for i, t in ipairs(ticks) do
      if over then break end
      while given < may do
        local units = min(max(ask.limit - levels[i] - given, 0), may - given)
        local from = t == at and now or t * tick
        if ask.even then from = max(from, b.due) end
        if from > now + ask.ahead and (given > 0 or first <= 1) then
          if ask.limit > levels[i] + given then
            answer.retry_in = max(from - now - ask.ahead, floor(ask.ahead / 4), 1000)
            over = true
          end
          break
        end
        if units == 0 or (given == 0 and units < first) then break end
        units = min(units, given == 0 and max(burst, first) or burst)
        local to = from + ask.life
        put(floor(from / tick), floor((to + ask.transit + ask.window) / tick) + 1, units)
        answer.slots = answer.slots or {}
        table.insert(answer.slots, { from - now, to - now, units })
        b.due = from + units * gap
        given = given + units
      end
    end
    me.held = me.held + given
    if given >= ask.want then
      answer.retry_in = nil
    elseif not answer.retry_in then
      answer.retry_in = max(floor(ask.ahead / 2), 1000)
    end
  end
  local used, last = 0, at
  for e, n in pairs(ends) do
    if e > at then used = used + n end
    last = max(last, e)
  end
  answer.used = used
  b.members[asked.member] = me
  -- As long as anything counts, or shows what counted a while ago.
  local life = max(floor(((last - at + STEPS) * tick) / 1000), 1000) + 60000
  return answer, b, stated, life
end

local function counts(b, ask)
  local answer = { granted = 0, used = 0, held = 0, foreign = 0, quiet = false, revoked = false }
  local life = floor(ask.ends_in / 1000) + 3600000
  if b and ask.period < b.period then
    answer.revoked, answer.retry_in = true, PAUSE / 4
    return answer, b, nil, life
  end
  if not b or ask.period > b.period then b = { period = ask.period, gone = 0, members = {} } end
  answer.quiet = created > 0 and now < created + ask.quiet
  for name, m in pairs(b.members) do
    local dead = m.seen + ask.dead_after + TRANSIT
    if m.dead == 0 and dead <= now then
      m.dead, m.want = dead, 0
      if ask.returned then m.held = 0 end
    end
    if m.dead > 0 and m.seen + FORGET <= now then
      b.gone = b.gone + m.spent + m.held
      b.members[name] = nil
    end
  end
  local me = b.members[asked.member]
  local new = not me
  local held = ask.held
  if me and me.dead > 0 then
    -- It came back, and what it holds has run out.
    answer.revoked, held = held > 0, 0
    local level = b.level
    if level and level.since >= me.dead then
      local counted = me.spent + me.held
      level.ours = max(level.ours + min(counted, ask.settled) - counted, 0)
    end
    me.dead = 0
  end
  local said = ask.level
  if said then
    local level = b.level
    if not level or said.since > level.since or (answer.quiet and said.counted > level.counted) then
      local ours, usable = b.gone, true
      for name, m in pairs(b.members) do
        local settled = nil
        for s = 1, #m.settled, 2 do
          if m.settled[s] <= said.since then
            settled = m.settled[s + 1]
            break
          end
        end
        if name == asked.member then ours = ours + said.ours
        elseif m.dead > 0 and m.dead <= said.since then ours = ours + m.spent + m.held
        elseif settled then ours = ours + settled
        elseif (m.settled[2] or 0) ~= 0 then usable = false end
      end
      if usable then b.level = { counted = said.counted, since = said.since, ours = ours } end
    end
  end
  me = me or { dead = 0, spent = 0, held = 0 }
  local level = b.level
  if new then
    me.settled = { 0, ask.settled }
    if answer.quiet and level then level.ours = level.ours + ask.settled end
  elseif now >= me.settled[1] + SNAPSHOT then
    table.insert(me.settled, 1, ask.settled)
    table.insert(me.settled, 1, now)
    me.settled[2 * SNAPSHOTS + 1], me.settled[2 * SNAPSHOTS + 2] = nil, nil
  end
  me.seq, me.seen, me.want = asked.seq, now, ask.want
  me.spent, me.held = ask.spent, held
  b.members[asked.member] = me
  local function used()
    local ours = b.gone
    for _, m in pairs(b.members) do ours = ours + m.spent + m.held end
    if b.level then return max(b.level.counted + ours - b.level.ours, 0) end
    return ours
  end
  if answer.quiet then
    answer.retry_in = created + ask.quiet - now
  elseif ask.want > 0 then
    local available = max(ask.limit - used(), 0)
    local wanting, theirs = 1, held
    for name, m in pairs(b.members) do
      if name ~= asked.member and m.want > 0 and m.seen + ask.dead_after > now then
        wanting, theirs = wanting + 1, theirs + m.held
      end
    end
    local units = min(allowed(ask, available, wanting, theirs), available)
    answer.granted = units
    if units < ask.want then
      answer.retry_in = max(available == 0 and PAUSE or floor(ask.ahead / 2), 1000)
    end
    me.held = me.held + units
  end
  answer.used = used()
  for _, m in pairs(b.members) do
    if m.dead == 0 then answer.held = answer.held + m.held end
  end
  return answer, b, nil, life
end

local answers, longest = {}, tonumber(ARGV[4])
for i, ask in ipairs(asked.asks) do
  local b, mine = loaded[i][1], loaded[i][2]
  local answer, stated, life
  if ask.kind == 'slots' then
    answer, b, stated, life = slots(b, mine or {}, ask)
    redis.call('SET', KEYS[2 * i + 1], cmsgpack.pack(stated), 'PX', life)
  else
    answer, b, stated, life = counts(b, ask)
  end
  redis.call('SET', KEYS[2 * i], cmsgpack.pack(b), 'PX', life)
  longest = max(longest, life)
  answers[i] = answer
end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'epoch', epoch, 'created', int(created), 'high', int(now))
redis.call('PEXPIRE', KEYS[1], int(longest))
local json = #answers > 0 and cjson.encode(answers) or '[]'
return '{"now":' .. int(now) .. ',"epoch":' .. cjson.encode(epoch) .. ',"answers":' .. json .. '}'
