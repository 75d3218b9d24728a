-- The ledger on Redis: every step is decided here, where nothing else runs meanwhile.
--
-- KEYS[1]: the prefix of all keys. ARGV[1]: JSON with the epoch and the step that the client last
-- saw, an epoch for a store that is new, the wall clock of a test, and the steps to take. The answer
-- is JSON. Whole numbers travel as strings, and sums are made by HINCRBY: a Lua number holds 53
-- bits, a limit may have 60. Redis does not undo a script that fails, so a step reads and judges
-- before it writes. `_ledger_redis_upkeep.lua` follows.
--
--   :state          epoch, accepted, seq (steps so far), folds, wall, calendar, lease (microseconds)
--   :b:<name>       a budget: period, limits n t r, and for each limit what 50, 80, 100 % are;
--                   since: how new that word is
--   :c:<row>        a counter: spent sn st sr, held hn ht hr, told tn tt tr, room rn rt rr where
--                   there is a limit, u: postings not yet folded. A row is <period>:<start>:<name>
--   :rows, :short   all rows; those of minutes and hours by their end
--   :r:<id>         a reservation: s (open settled released expired), c rows, amount n t r, note
--   :open, :ended   open reservations by expiry (lease), ended ones by their end (calendar)
--   :journal        postings; an id is the step's number. :d:<row>: folded sums by day

local P = KEYS[1]
local ask = cjson.decode(ARGV[1])
local call = redis.call
local UNITS = {'n', 't', 'r'}
local NAMES = {n = 'nano_usd', t = 'tokens', r = 'requests'}
local LENGTH = {minute = 60, hour = 3600, day = 86400}
local SHORT = {minute = true, hour = true}
local LEVELS = {'50', '80', '100'}
local DAY_US = 86400000000
local EXPIRE_AT_ONCE = 200

local function whole(number) return string.format('%.0f', number) end

local function negative(text)
  if text == '0' then return text end
  if string.sub(text, 1, 1) == '-' then return string.sub(text, 2) end
  return '-' .. text
end

-- Whole numbers of 0 and more, as strings without leading zeros.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function is_negative(text) return string.sub(text, 1, 1) == '-' end

local function add(key, field, amount)
  if amount ~= '0' then call('HINCRBY', key, field, amount) end
end

-- Days since 1970 to year and month, and back (Hinnant, "chrono-Compatible Low-Level Date
-- Algorithms"), for days after 1970.
local function year_and_month(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month
end

local function first_day(year, month)
  local y = month <= 2 and year - 1 or year
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doy = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local function period_start(period, at)
  if period == 'lifetime' then return 0 end
  if LENGTH[period] then return at - at % LENGTH[period] end
  local year, month = year_and_month(math.floor(at / 86400))
  return first_day(year, month) * 86400
end

local function period_end(period, start)
  if period == 'lifetime' then return nil end
  if LENGTH[period] then return start + LENGTH[period] end
  local year, month = year_and_month(start / 86400)
  if month == 12 then return first_day(year + 1, 1) * 86400 end
  return first_day(year, month + 1) * 86400
end

local function now_us()
  if ask.wall then return tonumber(ask.wall) end
  local time = call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local only_looks = #ask.steps > 0 and not ask.mend
for _, one in ipairs(ask.steps) do only_looks = only_looks and one[1] == 'rooms' end

local state = P .. ':state'
local epoch, accepted, seq = unpack(call('HMGET', state, 'epoch', 'accepted', 'seq'))
if not epoch then
  local known = ask.epoch ~= '' or call('EXISTS', P .. ':names') == 1
  if known and not ask.mend then return cjson.encode({lost = 'gone'}) end
  epoch, accepted, seq = only_looks and '' or ask.fresh, '0', '0'
  if call('EXISTS', P .. ':journal') == 1 then  -- its ids go up, whatever else was lost
    local info = call('XINFO', 'STREAM', P .. ':journal')
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then seq = string.match(info[i + 1], '^%d+') end
    end
  end
  if not only_looks then
    call('HSET', state, 'epoch', epoch, 'accepted', '0', 'seq', seq, 'folds', '0',
      'wall', '0', 'calendar', '0', 'lease', '0')
  end
elseif not ask.mend and ask.epoch ~= '' then
  -- An epoch that an operator accepted is taken over, but not one that was left before.
  local left = false
  for _, old in ipairs(ask.left) do left = left or old == epoch end
  if left or (ask.epoch ~= epoch and accepted ~= '1') then return cjson.encode({lost = 'other'}) end
  if ask.epoch == epoch and less(seq, ask.seen) then return cjson.encode({lost = 'behind'}) end
end

local wall = now_us()
local clock = call('HMGET', state, 'wall', 'calendar', 'lease')
local calendar = math.max(tonumber(clock[2] or 0), wall)
local lease = tonumber(clock[3] or 0) + math.max(0, wall - tonumber(clock[1] or 0))

local function step()
  seq = whole(call('HINCRBY', state, 'seq', 1))
end

local function set_clock()
  call('HSET', state, 'wall', whole(wall), 'calendar', whole(calendar), 'lease', whole(lease))
  step()
end

-- The definition of a budget, or nil.
local budgets = {}
local function budget(name)
  if budgets[name] == nil then
    local found = call('HMGET', P .. ':b:' .. name, 'period', 'n', 't', 'r', 'since')
    budgets[name] = found[1] and {period = found[1], n = found[2], t = found[3], r = found[4],
      since = found[5] or '0'} or false
  end
  return budgets[name] or nil
end

local function row_of(name, period)
  return period .. ':' .. whole(period_start(period, math.floor(calendar / 1000000))) .. ':' .. name
end

local function parts(row)
  local period, start, name = string.match(row, '^(%a+):(%d+):(.*)$')
  return period, tonumber(start), name
end

local function set_room(key, one, unit)
  local limit = one[unit]
  if not limit then return call('HDEL', key, 'r' .. unit) end
  local used = call('HMGET', key, 's' .. unit, 'h' .. unit)
  call('HSET', key, 'r' .. unit, limit)
  add(key, 'r' .. unit, negative(used[1]))
  add(key, 'r' .. unit, negative(used[2]))
end

-- The key of a row's counter, made if it is the first of its period.
local function counter(row)
  local key = P .. ':c:' .. row
  if call('EXISTS', key) == 0 then
    local period, start, name = parts(row)
    call('HSET', key, 'sn', '0', 'st', '0', 'sr', '0', 'hn', '0', 'ht', '0', 'hr', '0',
      'tn', '0', 'tt', '0', 'tr', '0', 'u', '0')
    local one = budget(name)
    if one and one.period == period then
      for _, unit in ipairs(UNITS) do set_room(key, one, unit) end
    end
    call('SADD', P .. ':rows', row)
    if SHORT[period] then call('ZADD', P .. ':short', period_end(period, start), row) end
  end
  return key
end

local function use(key, kind, amount)
  local room = call('HMGET', key, 'rn', 'rt', 'rr')
  for i, unit in ipairs(UNITS) do
    add(key, kind .. unit, amount[unit])
    if room[i] then add(key, 'r' .. unit, negative(amount[unit])) end
  end
end

local function each_row(rows) return string.gmatch(rows, '[^\n]+') end

local function hold(rows, amount)
  for row in each_row(rows) do use(counter(row), 'h', amount) end
end

local function minus(amount)
  return {n = negative(amount.n), t = negative(amount.t), r = negative(amount.r)}
end

local function report(crossings, key, row)
  local period, start, name = parts(row)
  local one = budget(name)
  if period == 'minute' or not one or one.period ~= period then return end
  local resets = period_end(period, start)
  for _, unit in ipairs(UNITS) do
    if one[unit] then
      local spent, told = unpack(call('HMGET', key, 's' .. unit, 't' .. unit))
      local marks = call('HMGET', P .. ':b:' .. name, unit .. '50', unit .. '80', unit .. '100')
      for i, level in ipairs(LEVELS) do
        if tonumber(level) > tonumber(told) and not is_negative(spent)
            and not less(spent, marks[i]) then
          call('HSET', key, 't' .. unit, level)
          table.insert(crossings,
            {name, NAMES[unit], level, spent, one[unit], resets and whole(resets) or ''})
        end
      end
    end
  end
end

-- A limit counts as reached when an ordinary call does not fit any more (`Counter.refused`).
local function full(crossings, refusal, amount)
  local name, unit = refusal[1], string.sub(refusal[2], 1, 1)
  local one = budget(name)
  local key = P .. ':c:' .. row_of(name, one.period)
  local spent, told = unpack(call('HMGET', key, 's' .. unit, 't' .. unit))
  if one.period == 'minute' or not told or tonumber(told) < 50 or tonumber(told) >= 100
      or is_negative(spent) or less(spent, amount[unit]) then return end
  call('HSET', key, 't' .. unit, '100')
  table.insert(crossings, {name, refusal[2], '100', spent, one[unit], refusal[3]})
end

local function post(rows, kind, amount, id, reason, who, crossings)
  if amount.n == '0' and amount.t == '0' and amount.r == '0' then return end
  step()
  call('XADD', P .. ':journal', seq .. '-0', 'at', whole(calendar), 'k', kind, 'c', rows,
    'n', amount.n, 't', amount.t, 'r', amount.r, 'i', id, 'y', reason, 'w', who)
  for row in each_row(rows) do
    local key = counter(row)
    use(key, 's', amount)
    call('HINCRBY', key, 'u', 1)
    report(crossings, key, row)
  end
end

local function finish(id, how)
  call('HSET', P .. ':r:' .. id, 's', how)
  call('ZREM', P .. ':open', id)
  call('ZADD', P .. ':ended', whole(calendar), id)
end

local function held(id)
  local found = call('HMGET', P .. ':r:' .. id, 's', 'c', 'n', 't', 'r')
  return found[1], found[2], {n = found[3], t = found[4], r = found[5]}
end

local function sweep(crossings)
  local overdue = call('ZRANGEBYSCORE', P .. ':open', '-inf', whole(lease), 'LIMIT', 0,
    EXPIRE_AT_ONCE)
  for _, id in ipairs(overdue) do
    local _, rows, amount = held(id)
    finish(id, 'expired')
    hold(rows, minus(amount))
    post(rows, 'expiry', amount, id, '', '', crossings)
  end
end

-- actual - amount, exactly: through a counter that is gone at once.
local function difference(a, b)
  local key = P .. ':sum'
  local result = {}
  call('HSET', key, 'n', a.n, 't', a.t, 'r', a.r)
  for _, unit in ipairs(UNITS) do
    add(key, unit, negative(b[unit]))
    result[unit] = call('HGET', key, unit)
  end
  call('DEL', key)
  return result
end

local steps = {}

function steps.define(one)
  local key = P .. ':b:' .. one.name
  budgets[one.name] = nil
  local before = budget(one.name)
  local same = before and before.period == one.period
  for _, unit in ipairs(UNITS) do same = same and (before[unit] or nil) == one[unit] end
  if before and less(one.since, before.since) then
    if same then return {'ok'} end
    return {'newer', before.period, before.n or '', before.t or '', before.r or '', before.since}
  end
  if same then
    if before.since ~= one.since then call('HSET', key, 'since', one.since) end
    return {'ok'}
  end
  call('DEL', key)
  call('HSET', key, 'period', one.period, 'since', one.since, unpack(one.fields))
  call('SADD', P .. ':names', one.name)
  budgets[one.name] = nil
  local row = row_of(one.name, one.period)
  local at = P .. ':c:' .. row
  if call('EXISTS', at) == 0 then return {'ok'} end
  local now = budget(one.name)
  for _, unit in ipairs(UNITS) do
    set_room(at, now, unit)
    -- What new limits put ahead again is reported again.
    local spent, told = unpack(call('HMGET', at, 's' .. unit, 't' .. unit))
    local marks = call('HMGET', key, unit .. '50', unit .. '80', unit .. '100')
    local reached = '0'
    for i, level in ipairs(LEVELS) do
      if marks[i] and one.period ~= 'minute' and not is_negative(spent)
          and not less(spent, marks[i]) then reached = level end
    end
    if tonumber(told) > tonumber(reached) then call('HSET', at, 't' .. unit, reached) end
  end
  return {'ok'}
end

function steps.reserve(one)
  local rows, crossings, refusals = {}, {}, {}
  for i, name in ipairs(one.names) do
    local found = budget(name)
    if not found then return {'unknown', name} end
    rows[i] = row_of(name, found.period)
  end
  local joined = table.concat(rows, '\n')
  local expires = lease + tonumber(one.ttl)
  sweep(crossings)
  for i, row in ipairs(rows) do
    local room = call('HMGET', P .. ':c:' .. row, 'rn', 'rt', 'rr')
    local limits = budget(one.names[i])
    local period, start = parts(row)
    local resets = period_end(period, start)
    for j, unit in ipairs(UNITS) do
      local left = limits[unit] and (room[j] or limits[unit])
      if left and (is_negative(left) or less(left, one[unit])) then
        table.insert(refusals, {one.names[i], NAMES[unit], resets and whole(resets) or '',
          is_negative(left) and '0' or left})
      end
    end
  end
  if #refusals > 0 then
    for _, refusal in ipairs(refusals) do full(crossings, refusal, one) end
    return {'refused', refusals, crossings}
  end
  call('HSET', P .. ':r:' .. one.id, 's', 'open', 'c', joined, 'n', one.n, 't', one.t, 'r', one.r,
    'note', one.note)
  call('ZADD', P .. ':open', whole(expires), one.id)
  hold(joined, one)
  return {'ok', rows, whole(expires), crossings}
end

function steps.settle(one)
  local crossings = {}
  local how, rows, amount = held(one.id)
  if how == 'open' then
    finish(one.id, 'settled')
    hold(rows, minus(amount))
    post(rows, 'settlement', one, one.id, '', '', crossings)
  elseif how == 'expired' then
    finish(one.id, 'settled')
    post(rows, 'correction', difference(one, amount), one.id, '', '', crossings)
  elseif not how then  -- lost with the store's data: still spent
    call('HSET', P .. ':r:' .. one.id, 's', 'settled', 'c', one.rows, 'n', one.n, 't', one.t,
      'r', one.r)
    finish(one.id, 'settled')
    post(one.rows, 'settlement', one, one.id, '', '', crossings)
  end
  return {'ok', crossings}
end

function steps.release(one)
  local crossings = {}
  local how, rows, amount = held(one.id)
  if how == 'open' then
    finish(one.id, 'released')
    hold(rows, minus(amount))
  elseif how == 'expired' then
    finish(one.id, 'released')
    post(rows, 'correction', minus(amount), one.id, '', '', crossings)
  end
  return {'ok', crossings}
end

function steps.sweep()
  local crossings = {}
  sweep(crossings)
  return {'ok', crossings}
end
