#!lua
-- The queue of one name. KEYS[1] is what the names of its keys begin with, ARGV[1] what to do. One call is one commit: nothing else
-- runs meanwhile, and Redis refuses it as a whole where it is read-only or has no memory.
--
-- layout     number: which version of this list it is
-- next       number: ids and tokens are counted together
-- jobs:C     stream of jobs that may be taken or are, by class: the priority, or 3 if their lane's turn has come. Its group `fleet` has
--            those that are taken, with a consumer for each length of a lease. An entry is one delivery, and its id is TOKEN-0, so who has
--            lost a lease acknowledges nothing. It has the payload, and what is not as it is when a job is new
-- waiting    hash of ids to jobs, of those in lanes and later
-- lane:NAME  sorted set of ids by priority and id: waits for the lane's turn
-- lanes      sorted set of names by the time of their next turn; one without jobs stays until that
-- later      sorted set of ids by the time from which they may be taken
-- sweeps     hash of classes and lengths of leases to when it was last looked which of them have ended
-- dead       stream of jobs with their errors
-- laned      number: ids in lanes
-- seen:N     set of numbers, which are what is kept of unique keys, by the last digits of these: so small a set has eight bytes for each
-- records    stream; the id is NUMBER-0
-- result:ID  text, which ends by itself
-- kept:NAME  text, which ends by itself
-- large      1 if there was a payload of more than LARGE bytes
-- done       number
-- news       stream of one entry, which is another one whenever there may be something to take sooner than who looked before knows
local call, prefix = redis.call, KEYS[1]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local LAYOUT = 1
local GROUP = 'fleet'
local CLASSES, LANES = 4, 3
-- The jobs of a queue that has had a longer payload are taken one by one, so that it is seen when they have too many bytes.
local LARGE = 65536
-- How many leases that have ended one look finds. It sees all, so it is had ten times in a lease.
local ENDED = 200
-- How many ids one command is given.
local IDS = 1000

local function key(name)
    return prefix .. name
end

local function stream(class)
    return key('jobs:' .. class)
end

-- Whether others are to look.
local has_news = false

local at = 1
local function argument()
    at = at + 1
    return ARGV[at]
end

-- Whole, as numbers of this size are not always written.
local function whole(number)
    return string.format('%.0f', number)
end

-- It is not below the time, in hundredths of a millisecond, so that a queue that was lost with its server, or came back as it was a while
-- ago, does not count again what somebody may still hold. Nobody counts 100,000 a second for long.
local has_next = false
local function next_number()
    if not has_next then
        local least = time[1] * 100000 + math.floor(time[2] / 10)
        local last = call('GET', key('next'))
        if not last then
            call('SET', key('layout'), LAYOUT)
        end
        if tonumber(last or 0) < least then
            call('SET', key('next'), whole(least))
        end
        has_next = true
    end
    return call('INCR', key('next'))
end

-- Has a class have a stream, with its group.
local has_stream = {}
local function ensure(class)
    if not has_stream[class] then
        if call('EXISTS', stream(class)) == 0 then
            call('XGROUP', 'CREATE', stream(class), GROUP, '0', 'MKSTREAM')
        end
        has_stream[class] = true
    end
end

-- `number` is of `next`, and not used before in this stream.
local function enqueue(job, class, number)
    ensure(class)
    has_news = true
    local entry = whole(number * CLASSES + class) .. '-0'
    if job.lane then
        call('XADD', stream(class), entry, 'id', job.id, 'payload', job.payload, 'attempt', job.attempt,
            'priority', job.priority, 'lane', job.lane, 'spacing', job.spacing, 'exclusive', job.exclusive)
    elseif job.attempt == '0' and job.id == whole(number) then
        -- The fewer fields there are, the sooner Redis finds an entry.
        call('XADD', stream(class), entry, 'payload', job.payload)
    else
        call('XADD', stream(class), entry, 'id', job.id, 'payload', job.payload, 'attempt', job.attempt)
    end
end

-- The job that an entry has: its name, and a list of fields and values.
local function job_of(entry, class)
    local job, fields = { priority = class, attempt = '0' }, entry[2]
    for place = 1, #fields, 2 do
        job[fields[place]] = fields[place + 1]
    end
    job.token = string.match(entry[1], '^%d+')
    job.id = job.id or whole((job.token - class) / CLASSES)
    return job
end

local function keep_waiting(job)
    call('HSET', key('waiting'), job.id, cmsgpack.pack(job))
end

local function stop_waiting(id)
    local packed = call('HGET', key('waiting'), id)
    call('HDEL', key('waiting'), id)
    return packed and cmsgpack.unpack(packed)
end

-- `number` is as in `enqueue`, if there is one.
local function make_ready(job, number)
    if job.lane then
        keep_waiting(job)
        call('ZADD', key('lane:' .. job.lane), whole(job.priority * 2 ^ 50 + job.id), job.id)
        has_news = call('ZADD', key('lanes'), 'NX', now, job.lane) == 1 or has_news
        call('INCR', key('laned'))
    else
        enqueue(job, job.priority, number or next_number())
    end
end

local function make_ready_at(job, delay, number)
    if tonumber(delay) > 0 then
        keep_waiting(job)
        call('ZADD', key('later'), whole(now + delay), job.id)
        has_news = call('ZRANK', key('later'), job.id) == 0 or has_news
    else
        make_ready(job, number)
    end
end

-- Of the arguments: the number of a unique key or nothing, the payload, the priority, the delay, whether it has a lane (1) of its own (2), the name of
-- that, and its spacing. Returns its number, unless it was seen.
local function push()
    local seen, payload, priority, delay = argument(), argument(), argument(), argument()
    local has_lane, lane, spacing = argument(), argument(), argument()
    if seen ~= '' and call('SADD', key('seen:' .. string.sub(seen, -5)), seen) == 0 then
        return nil
    end
    if #payload > LARGE then
        call('SET', key('large'), 1)
    end
    local number = next_number()
    local job = { id = whole(number), payload = payload, priority = priority, attempt = '0' }
    if has_lane ~= '0' then
        job.lane, job.spacing, job.exclusive = lane, spacing, has_lane - 1
    end
    make_ready_at(job, delay, number)
    return number
end

local function push_all()
    local added = 0
    for _ = 1, argument() do
        added = added + (push() and 1 or 0)
    end
    return added
end

-- Of one job.
local function submit()
    at = at + 1
    return push() or false
end

-- What was to wait until now is ready.
local function promote()
    for _, id in ipairs(call('ZRANGEBYSCORE', key('later'), '-inf', now, 'LIMIT', 0, 1000)) do
        call('ZREM', key('later'), id)
        local job = stop_waiting(id)
        if job then
            make_ready(job)
        end
    end
end

-- For how long nothing may be taken but what `news` tells of, at most.
local quiet = 1000000

-- Those whose leases have ended are ready again, by other entries.
local function take_over(class)
    local pending = call('XPENDING', stream(class), GROUP)
    for _, consumer in ipairs(pending[4] or {}) do
        local lease, sweep = consumer[1], class .. ':' .. consumer[1]
        local last = tonumber(call('HGET', key('sweeps'), sweep) or 0)
        local ended = {}
        -- A clock may have been set back.
        if now < last or now - last >= lease / 10 then
            ended = call('XPENDING', stream(class), GROUP, 'IDLE', lease, '-', '+', ENDED, lease)
            last = #ended < ENDED and now or 0
            call('HSET', key('sweeps'), sweep, last)
        end
        quiet = math.min(quiet, last + lease / 10 - now)
        for _, delivery in ipairs(ended) do
            local entry = call('XRANGE', stream(class), delivery[1], delivery[1])[1]
            call('XACK', stream(class), GROUP, delivery[1])
            if entry then
                call('XDEL', stream(class), delivery[1])
                local job = job_of(entry, class)
                job.attempt = whole(job.attempt + 1)
                make_ready(job)
            end
        end
    end
end

-- Has the next one of a lane of which one at a time is done wait for this and the spacing.
local function close_lane(job, wait)
    if tonumber(job.exclusive or 0) == 1 then
        call('ZADD', key('lanes'), whole(now + wait + job.spacing), job.lane)
    end
end

-- Has leases end `lease` from now, and returns which of them are held.
local function prolong(class, entries, lease)
    local held, of_lanes = {}, class == LANES
    for first = 1, #entries, IDS do
        local command = { 'XCLAIM', stream(class), GROUP, lease, 0 }
        for place = first, math.min(first + IDS - 1, #entries) do
            command[#command + 1] = entries[place]
        end
        -- Whole ones where there are lanes to be closed, which is not to count as another delivery.
        command[#command + 1] = of_lanes and 'RETRYCOUNT' or 'JUSTID'
        command[#command + 1] = of_lanes and 1 or nil
        for _, entry in ipairs(call(unpack(command))) do
            held[of_lanes and entry[1] or entry] = true
            if of_lanes then
                close_lane(job_of(entry, class), lease)
            end
        end
    end
    return held
end

-- What a take has room for yet, and how many that it may take at once without a look at their bytes.
local room, bytes, portion = 0, 0, 1

local function has_room()
    return room > 0 and bytes > 0
end

-- Takes jobs of a class, for as long as `lease`.
local function deliver(class, jobs, lease)
    while has_room() do
        local asked = math.min(room, portion)
        local answer = call('XREADGROUP', 'GROUP', GROUP, lease, 'COUNT', asked, 'STREAMS', stream(class), '>')
        local entries = answer and answer[1][2] or {}
        for _, entry in ipairs(entries) do
            local job = job_of(entry, class)
            close_lane(job, lease)
            jobs[#jobs + 1] = { tonumber(job.id), tonumber(job.token), job.payload, job.attempt + 1 }
            room, bytes = room - 1, bytes - #job.payload
        end
        if #entries < asked then
            return
        end
    end
end

-- Has the lanes whose turn has come have a job each that may be taken, and returns how many.
local function turn_lanes(most)
    local turned = 0
    while turned < most do
        local lanes = call('ZRANGEBYSCORE', key('lanes'), '-inf', now, 'LIMIT', 0, most - turned)
        if #lanes == 0 then
            break
        end
        for _, lane in ipairs(lanes) do
            local id = call('ZPOPMIN', key('lane:' .. lane))[1]
            if id then
                -- Less than none, and no job, if a purge went on meanwhile.
                if call('DECR', key('laned')) < 0 then
                    call('SET', key('laned'), 0)
                end
                local job = stop_waiting(id)
                if job then
                    -- That of which one at a time is done waits for longer once its job is taken.
                    call('ZADD', key('lanes'), whole(now + math.max(job.spacing, 1)), lane)
                    enqueue(job, LANES, next_number())
                    turned = turned + 1
                end
            else
                call('ZREM', key('lanes'), lane)
            end
        end
    end
    return turned
end

local function take()
    local most, lease, jobs = tonumber(argument()), argument(), {}
    room, bytes = most, tonumber(argument())
    if call('EXISTS', key('large')) == 0 then
        portion = bytes / LARGE
    end
    for class = 0, LANES do
        ensure(class)
        take_over(class)
    end
    promote()
    deliver(0, jobs, lease)
    -- No turn of a lane is taken for which there is no room.
    repeat
        local turned = has_room() and turn_lanes(math.min(room, portion)) or 0
        deliver(LANES, jobs, lease)
    until turned == 0
    deliver(1, jobs, lease)
    deliver(2, jobs, lease)
    -- It has taken what there was, unless there was more.
    has_news = has_news and not has_room()
    if #jobs > 0 then
        return { jobs, 0, '' }
    end
    for _, name in ipairs({ 'later', 'lanes' }) do
        quiet = math.min(quiet, (call('ZRANGE', key(name), 0, 0, 'WITHSCORES')[2] or now + quiet) - now)
    end
    local last = call('XREVRANGE', key('news'), '+', '-', 'COUNT', 1)[1]
    return { jobs, math.ceil(math.max(quiet, 0)), last and last[1] or '0-0' }
end

local function renew()
    local lease, entries, places = argument(), {}, {}
    for number = 1, argument() do
        local _, token = argument(), argument()
        local class = token % CLASSES
        entries[class] = entries[class] or {}
        table.insert(entries[class], token .. '-0')
        places[number] = token .. '-0'
    end
    local held, lost = {}, {}
    for class, ones in pairs(entries) do
        ensure(class)
        for entry in pairs(prolong(class, ones, lease)) do
            held[entry] = true
        end
    end
    for number, entry in ipairs(places) do
        if not held[entry] then
            lost[#lost + 1] = number - 1
        end
    end
    return lost
end

-- Skips what comes of a job that is not held.
local function skip_completion()
    at = at + 5
    local jobs = argument()
    at = at + 7 * jobs
end

local done = 0
local function complete(id)
    done = done + 1
    local has_record, record = argument(), argument()
    if has_record == '1' then
        call('XADD', key('records'), whole(next_number()) .. '-0', 'job', id, 'text', record)
    end
    local has_result, result, kept = argument(), argument(), argument()
    if has_result == '1' then
        call('SET', key('result:' .. id), result, 'PX', kept)
    end
    push_all()
end

local function settle_one()
    local id, token, verdict = argument(), argument(), argument()
    local class, entry = token % CLASSES, token .. '-0'
    local held, job = call('XACK', stream(class), GROUP, entry) == 1, nil
    if held then
        if verdict ~= 'done' or class == LANES then
            local found = call('XRANGE', stream(class), entry, entry)[1]
            job = found and job_of(found, class)
            if job then
                close_lane(job, 0)
                -- Sooner than who took it had said.
                has_news = job.exclusive == '1' and call('EXISTS', key('lane:' .. job.lane)) == 1 or has_news
            end
        end
        call('XDEL', stream(class), entry)
    end
    if verdict == 'done' then
        if held then complete(id) else skip_completion() end
    elseif verdict == 'back' then
        if job then
            make_ready(job)
        end
    else
        local after, problem = argument(), argument()
        if job then
            job.attempt = whole(job.attempt + 1)
            if verdict == 'dead' then
                call('XADD', key('dead'), whole(next_number()) .. '-0', 'job', cmsgpack.pack(job), 'error', problem)
            else
                make_ready_at(job, after)
            end
        end
    end
    return held and 1 or 0
end

local function settle()
    local held = {}
    for number = 1, argument() do
        held[number] = settle_one()
    end
    if done > 0 then
        call('INCRBY', key('done'), done)
    end
    return held
end

local function dead_jobs()
    local jobs = {}
    -- It is false if none is asked for.
    for number, entry in ipairs(call('XRANGE', key('dead'), '-', '+', 'COUNT', argument()) or {}) do
        local job = cmsgpack.unpack(entry[2][2])
        jobs[number] = { tonumber(job.id), job.payload, tonumber(job.attempt), entry[2][4] }
    end
    return jobs
end

local function requeue_dead()
    local entries = call('XRANGE', key('dead'), '-', '+')
    call('DEL', key('dead'))
    for _, entry in ipairs(entries) do
        local job = cmsgpack.unpack(entry[2][2])
        job.attempt = '0'
        make_ready(job)
    end
    return #entries
end

local function status()
    local ready, leased = tonumber(call('GET', key('laned')) or 0), 0
    for class = 0, LANES do
        if call('EXISTS', stream(class)) == 1 then
            local pending = call('XPENDING', stream(class), GROUP)[1]
            leased = leased + pending
            ready = ready + call('XLEN', stream(class)) - pending
        end
    end
    return {
        ready,
        call('ZCARD', key('later')),
        leased,
        call('XLEN', key('dead')),
        tonumber(call('GET', key('done')) or 0),
        call('XLEN', key('records')),
    }
end

local commands = {
    push = push_all,
    submit = submit,
    take = take,
    renew = renew,
    settle = settle,
    dead_jobs = dead_jobs,
    requeue_dead = requeue_dead,
    status = status,
}
local answer = commands[ARGV[1]]()
if has_news then
    call('XADD', key('news'), 'MAXLEN', 1, '*', 'is', 'new')
end
return answer
