-- The ledger on Redis, between requests: what is in it, corrections, making it small again; and at
-- the end the loop that takes all steps. It is appended to `_ledger_redis.lua`.

local FOLD_AT_ONCE = 500
local MERGE_AT_ONCE = 200

function steps.adjust(one)
  local found = budget(one.name)
  if not found then return {'unknown', one.name} end
  local crossings = {}
  sweep(crossings)
  local row = row_of(one.name, found.period)
  local spent = call('HMGET', P .. ':c:' .. row, 'sn', 'st', 'sr')
  for i, unit in ipairs(UNITS) do
    if is_negative(one[unit]) and less(spent[i] or '0', negative(one[unit])) then
      return {'less'}
    end
  end
  -- A counter has 64 bits: what is spent stays far below, so that no outcome fails for it.
  local rest = difference({n = one.most, t = one.most, r = one.most}, one)
  for i, unit in ipairs(UNITS) do
    if is_negative(rest[unit]) or less(rest[unit], spent[i] or '0') then return {'more'} end
  end
  post(row, 'adjustment', one, '', one.reason, one.who, crossings)
  return {'ok', crossings}
end

function steps.rooms(one)
  local names = one.names
  if not one.some then
    names = {}
    for _, name in ipairs(call('SMEMBERS', P .. ':names')) do table.insert(names, name) end
    table.sort(names)
  end
  local rooms = {}
  for i, name in ipairs(names) do
    local found = budget(name)
    if not found then return {'unknown', name} end
    local row = row_of(name, found.period)
    local period, start = parts(row)
    local resets = period_end(period, start)
    local used = call('HMGET', P .. ':c:' .. row, 'sn', 'st', 'sr', 'hn', 'ht', 'hr')
    for j = 1, 6 do used[j] = used[j] or '0' end
    rooms[i] = {name, period, found.n or '', found.t or '', found.r or '', whole(start),
      resets and whole(resets) or '', used}
  end
  return {'ok', whole(calendar), rooms}
end

-- Everything that must add up, except the journal, which the client reads in pages up to seq.
function steps.snapshot()
  local rows, open = {}, {}
  for i, row in ipairs(call('SMEMBERS', P .. ':rows')) do
    rows[i] = {row, call('HMGET', P .. ':c:' .. row, 'sn', 'st', 'sr', 'hn', 'ht', 'hr'),
      call('HGETALL', P .. ':d:' .. row)}
  end
  for i, id in ipairs(call('ZRANGE', P .. ':open', 0, -1)) do
    open[i] = call('HMGET', P .. ':r:' .. id, 'c', 'n', 't', 'r')
  end
  return {'ok', seq, call('HGET', state, 'folds'), whole(math.max(tonumber(clock[2]), wall) - wall),
    rows, open}
end

-- Counters become what the client summed up, unless something happened meanwhile.
function steps.mend(one)
  if one.seq ~= seq then return {'again'} end
  call('HSET', state, 'epoch', one.epoch, 'accepted', '1', 'wall', whole(wall),
    'calendar', whole(wall), 'lease', whole(lease))
  epoch = one.epoch
  step()
  -- Whose limits are the newest is found anew: a clock that was wrong must not rule for ever.
  for _, name in ipairs(call('SMEMBERS', P .. ':names')) do
    call('HSET', P .. ':b:' .. name, 'since', '1')
  end
  for _, sums in ipairs(one.rows) do
    local key = counter(sums[1])
    call('HSET', key, 'sn', sums[2], 'st', sums[3], 'sr', sums[4], 'hn', sums[5], 'ht', sums[6],
      'hr', sums[7])
    local period, _, name = parts(sums[1])
    local found = budget(name)
    if found and found.period == period then
      for _, unit in ipairs(UNITS) do set_room(key, found, unit) end
    end
  end
  call('XADD', P .. ':journal', seq .. '-0', 'at', whole(wall), 'k', 'acceptance', 'c', '',
    'n', '0', 't', '0', 'r', '0', 'i', '', 'y', one.reason, 'w', one.who)
  return {'ok'}
end

local function past(before) return math.min(tonumber(before), calendar) end

-- Add some old postings up by row and day; the client goes on from the id that is returned.
function steps.fold(one)
  local folded, last = 0, ''
  local found = call('XRANGE', P .. ':journal', one.from, '+', 'COUNT', FOLD_AT_ONCE)
  for _, entry in ipairs(found) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    if tonumber(fields.at) >= past(one.before) then return {'ok', whole(folded), ''} end
    last = entry[1]
    if fields.k ~= 'acceptance' then  -- who accepted what is kept for ever
      local day = whole(math.floor(tonumber(fields.at) / DAY_US))
      for row in each_row(fields.c) do
        for _, unit in ipairs(UNITS) do add(P .. ':d:' .. row, day .. unit, fields[unit]) end
        call('HINCRBY', counter(row), 'u', -1)
      end
      call('XDEL', P .. ':journal', last)
      folded = folded + 1
    end
  end
  if folded > 0 then
    call('HINCRBY', state, 'folds', 1)
    step()
  end
  return {'ok', whole(folded), #found == FOLD_AT_ONCE and last or ''}
end

-- Merge some counters of short periods that ended, and forget some reservations that did.
function steps.merge(one)
  local before = past(one.before)
  local ended = call('ZRANGEBYSCORE', P .. ':short', '-inf', whole(math.floor(before / 1000000)),
    'LIMIT', one.skip, MERGE_AT_ONCE)
  local kept = 0
  for _, row in ipairs(ended) do
    local key = P .. ':c:' .. row
    local found = call('HMGET', key, 'u', 'hn', 'ht', 'hr', 'sn', 'st', 'sr')
    if found[1] == '0' and found[2] == '0' and found[3] == '0' and found[4] == '0' then
      local _, start, name = parts(row)
      local into = 'past:' .. whole(start - start % 86400) .. ':' .. name
      local target = counter(into)
      for i, unit in ipairs(UNITS) do add(target, 's' .. unit, found[4 + i]) end
      local days = call('HGETALL', P .. ':d:' .. row)
      for i = 1, #days, 2 do add(P .. ':d:' .. into, days[i], days[i + 1]) end
      call('DEL', key, P .. ':d:' .. row)
      call('SREM', P .. ':rows', row)
      call('ZREM', P .. ':short', row)
    else
      kept = kept + 1
    end
  end
  local old = call('ZRANGEBYSCORE', P .. ':ended', '-inf', '(' .. whole(before), 'LIMIT', 0,
    MERGE_AT_ONCE)
  for _, id in ipairs(old) do
    call('DEL', P .. ':r:' .. id)
    call('ZREM', P .. ':ended', id)
  end
  call('HINCRBY', state, 'folds', 1)
  step()
  return {'ok', whole(kept), (#ended == MERGE_AT_ONCE or #old == MERGE_AT_ONCE) and '1' or ''}
end

-- Steps that only look leave no trace, so that looking costs no flush of the disk.
local LOOKS = {rooms = true, snapshot = true}
for _, one in ipairs(ask.steps) do
  if not LOOKS[one[1]] and one[1] ~= 'mend' then
    set_clock()
    break
  end
end
local answers = {}
for i, one in ipairs(ask.steps) do
  local done, answer = pcall(steps[one[1]], one[2])
  if not done then
    answer = {'error', type(answer) == 'table' and answer.err or tostring(answer)}
  end
  answers[i] = answer
end
return cjson.encode({epoch = epoch, seq = seq, answers = answers})
