#!lua
-- The queue of one name. KEYS[1] is what the names of its keys begin with, ARGV[1] what to do. One call is one commit: nothing else
-- runs meanwhile, and Redis refuses it as a whole where it is read-only or has no memory.
--
-- next       number: ids and tokens are counted together
-- job:ID     hash: payload, priority, lane, spacing, exclusive, attempt, token, error
-- ready:P    list of ids, by priority: may be taken
-- lane:NAME  sorted set of ids by priority and id: waits for the lane's turn
-- lanes      sorted set of names by the time of their next turn; one without jobs stays until that
-- later      sorted set of ids by the time from which they may be taken
-- leases     sorted set of ids by the end of the lease
-- dead       sorted set of ids
-- laned      number: ids in lanes
-- seen       set of fingerprints of unique keys
-- records    stream; the id is NUMBER-0
-- result:ID  text, which ends by itself
-- kept:NAME  text, which ends by itself
-- done       number
local call, prefix = redis.call, KEYS[1]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function key(name)
    return prefix .. name
end

local at = 1
local function argument()
    at = at + 1
    return ARGV[at]
end

-- Whole, as numbers of this size are not always written.
local function whole(number)
    return string.format('%.0f', number)
end

local function make_ready(id)
    local job = call('HMGET', key('job:' .. id), 'priority', 'lane')
    local priority, lane = job[1], job[2]
    if not priority then
        return
    end
    if lane then
        call('ZADD', key('lane:' .. lane), whole(priority * 2 ^ 50 + id), id)
        call('ZADD', key('lanes'), 'NX', now, lane)
        call('INCR', key('laned'))
    else
        call('RPUSH', key('ready:' .. priority), id)
    end
end

local function make_ready_at(id, delay)
    if tonumber(delay) > 0 then
        call('ZADD', key('later'), whole(now + delay), id)
    else
        make_ready(id)
    end
end

-- Of the arguments: a fingerprint or nothing, the payload, the priority, the delay, whether it has a lane (1) of its own (2), the name of
-- that, and its spacing.
local function push()
    local seen, payload, priority, delay = argument(), argument(), argument(), argument()
    local has_lane, lane, spacing = argument(), argument(), argument()
    if seen ~= '' and call('SADD', key('seen'), seen) == 0 then
        return 0
    end
    local id = call('INCR', key('next'))
    call('HSET', key('job:' .. id), 'payload', payload, 'priority', priority, 'attempt', 0)
    if has_lane ~= '0' then
        call('HSET', key('job:' .. id), 'lane', lane, 'spacing', spacing)
    end
    if has_lane == '2' then
        call('HSET', key('job:' .. id), 'exclusive', 1)
    end
    make_ready_at(id, delay)
    return 1
end

local function push_all()
    local added = 0
    for _ = 1, argument() do
        added = added + push()
    end
    return added
end

-- What was to be ready by now is.
local function promote(from)
    for _, id in ipairs(call('ZRANGEBYSCORE', key(from), '-inf', now, 'LIMIT', 0, 1000)) do
        call('ZREM', key(from), id)
        make_ready(id)
    end
end

local function add_ready(ids, priority, most)
    if #ids < most then
        for _, id in ipairs(call('LPOP', key('ready:' .. priority), most - #ids) or {}) do
            ids[#ids + 1] = id
        end
    end
end

local function add_laned(ids, most, lease)
    while #ids < most do
        local lanes = call('ZRANGEBYSCORE', key('lanes'), '-inf', now, 'LIMIT', 0, most - #ids)
        if #lanes == 0 then
            return
        end
        for _, lane in ipairs(lanes) do
            local id = call('ZPOPMIN', key('lane:' .. lane))[1]
            if id then
                local job = call('HMGET', key('job:' .. id), 'spacing', 'exclusive')
                local wait = math.max(job[1] or 0, 1) + (job[2] and lease or 0)
                call('ZADD', key('lanes'), whole(now + wait), lane)
                -- Less than none, if a purge went on meanwhile.
                if call('DECR', key('laned')) < 0 then
                    call('SET', key('laned'), 0)
                end
                ids[#ids + 1] = id
            else
                call('ZREM', key('lanes'), lane)
            end
        end
    end
end

local function take()
    local most, lease = tonumber(argument()), argument()
    promote('leases')
    promote('later')
    local ids, jobs = {}, {}
    add_ready(ids, 0, most)
    add_laned(ids, most, lease)
    add_ready(ids, 1, most)
    add_ready(ids, 2, most)
    for _, id in ipairs(ids) do
        local job = key('job:' .. id)
        local payload = call('HGET', job, 'payload')
        if payload then
            local token = call('INCR', key('next'))
            call('HSET', job, 'token', token)
            call('ZADD', key('leases'), whole(now + lease), id)
            jobs[#jobs + 1] = { tonumber(id), token, payload, call('HINCRBY', job, 'attempt', 1) }
        end
    end
    return jobs
end

-- Whether it is, and then whether its lane is its own.
local function is_held(id, token)
    if not call('ZSCORE', key('leases'), id) then
        return false
    end
    local job = call('HMGET', key('job:' .. id), 'token', 'exclusive')
    return job[1] == token, job[2]
end

-- The next one of its lane is to wait for this and its spacing.
local function close_lane(id, wait)
    local job = call('HMGET', key('job:' .. id), 'lane', 'spacing')
    call('ZADD', key('lanes'), whole(now + wait + job[2]), job[1])
end

local function renew()
    local lease, lost = argument(), {}
    for number = 1, argument() do
        local id, token = argument(), argument()
        local held, exclusive = is_held(id, token)
        if held then
            call('ZADD', key('leases'), whole(now + lease), id)
            if exclusive then close_lane(id, lease) end
        else
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

local function complete(id)
    call('DEL', key('job:' .. id))
    call('INCR', key('done'))
    local has_record, record = argument(), argument()
    if has_record == '1' then
        local last = call('XREVRANGE', key('records'), '+', '-', 'COUNT', 1)[1]
        local number = last and string.match(last[1], '^%d+') + 1 or 1
        call('XADD', key('records'), whole(number) .. '-0', 'job', id, 'text', record)
    end
    local has_result, result, kept = argument(), argument(), argument()
    if has_result == '1' then
        call('SET', key('result:' .. id), result, 'PX', kept)
    end
    push_all()
end

local function settle_one()
    local id, token, verdict = argument(), argument(), argument()
    local held, exclusive = is_held(id, token)
    local job = key('job:' .. id)
    if held then
        call('ZREM', key('leases'), id)
        if exclusive then close_lane(id, 0) end
    end
    if verdict == 'done' then
        if held then complete(id) else skip_completion() end
    elseif verdict == 'back' then
        if held then
            call('HINCRBY', job, 'attempt', -1)
            make_ready(id)
        end
    else
        local after, problem = argument(), argument()
        if held then
            call('HSET', job, 'error', problem)
            if verdict == 'dead' then call('ZADD', key('dead'), id, id) else make_ready_at(id, after) end
        end
    end
    return held and 1 or 0
end

local function settle()
    local held = {}
    for number = 1, argument() do
        held[number] = settle_one()
    end
    return held
end

local function dead_jobs()
    local jobs = {}
    for number, id in ipairs(call('ZRANGE', key('dead'), 0, argument() - 1)) do
        local job = call('HMGET', key('job:' .. id), 'payload', 'attempt', 'error')
        jobs[number] = { tonumber(id), job[1] or '', tonumber(job[2] or 0), job[3] or '' }
    end
    return jobs
end

local function requeue_dead()
    local ids = call('ZRANGE', key('dead'), 0, -1)
    call('DEL', key('dead'))
    for _, id in ipairs(ids) do
        call('HSET', key('job:' .. id), 'attempt', 0, 'error', '')
        make_ready(id)
    end
    return #ids
end

local function status()
    local ready = tonumber(call('GET', key('laned')) or 0)
    for priority = 0, 2 do
        ready = ready + call('LLEN', key('ready:' .. priority))
    end
    return {
        ready,
        call('ZCARD', key('later')),
        call('ZCARD', key('leases')),
        call('ZCARD', key('dead')),
        tonumber(call('GET', key('done')) or 0),
        call('XLEN', key('records')),
    }
end

local commands = {
    push = push_all,
    take = take,
    renew = renew,
    settle = settle,
    dead_jobs = dead_jobs,
    requeue_dead = requeue_dead,
    status = status,
}
return commands[ARGV[1]]()
