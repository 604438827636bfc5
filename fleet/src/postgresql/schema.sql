-- The queue of one name, in a schema of its own, which is in the search path. Each function is one commit. Locks are taken in one order, so
-- that nobody waits in a circle: jobs, fingerprints, lanes, records. state: 0 waits, 1 is leased, 2 is dead; what is done is deleted.
-- `due` is when a job may be taken, or when its lease ends.
create sequence if not exists number;
create sequence if not exists done;
create table if not exists job (
    id bigint primary key default nextval('number'),
    payload text not null,
    lane text,
    spacing bigint not null,
    priority smallint not null,
    state smallint not null default 0,
    due timestamptz not null,
    token bigint not null default 0,
    attempt integer not null default 0,
    error text,
    exclusive boolean not null default false
);
do $$ begin
    if not exists (select from pg_attribute where attrelid = 'job'::regclass and attname = 'exclusive') then
        alter table job add column exclusive boolean not null default false;
    end if;
end $$;
create index if not exists job_by_turn on job (priority, due, id) where state = 0 and lane is null;
create index if not exists job_by_lane on job (lane, priority, id) where state = 0 and lane is not null;
create index if not exists job_by_lease on job (due) where state = 1;
create index if not exists job_of_the_dead on job (id) where state = 2;
-- One is parked that has only jobs for later: its turn is that of the first of them, unless another one comes.
create table if not exists lane (name text primary key, next timestamptz not null, parked boolean not null default false);
do $$ begin
    if not exists (select from pg_attribute where attrelid = 'lane'::regclass and attname = 'parked') then
        alter table lane add column parked boolean not null default false;
    end if;
end $$;
create index if not exists lane_by_turn on lane (next);
create table if not exists seen (fingerprint bytea primary key);
create table if not exists record (number bigserial primary key, job bigint not null, text text not null);
create table if not exists result (job bigint primary key, text text not null, until timestamptz not null);
create index if not exists result_by_end on result (until);
create table if not exists kept (name text primary key, text text not null, until timestamptz not null);

create or replace function after(milliseconds double precision) returns timestamptz language sql as $$
    select clock_timestamp() + make_interval(secs => milliseconds / 1000)
$$;

-- A lane that is there is locked: nobody closes it before the commit of what is put into it.
create or replace function open_lanes(names text[]) returns void language sql as $$
    insert into lane (name, next) select name, clock_timestamp()
    from (select distinct name from unnest(names) as name where name is not null order by name) as each
    on conflict (name) do update set next = case when lane.parked then excluded.next else lane.next end, parked = false
$$;

-- The next one of each lane is to wait for this and its spacing.
create or replace function close_lanes(names text[], spacings bigint[], wait double precision) returns void language sql as $$
    insert into lane (name, next) select name, after(wait + max(spacing))
    from unnest(names, spacings) as each (name, spacing) group by name order by name
    on conflict (name) do update set next = excluded.next, parked = false
$$;

create or replace function keep(called text, said text, milliseconds double precision) returns void language sql as $$
    delete from kept where until <= clock_timestamp();
    insert into kept values (called, said, after(milliseconds))
    on conflict (name) do update set text = excluded.text, until = excluded.until
$$;

-- Returns the lane of each job that is new, which is to be opened.
create or replace function add(jobs jsonb) returns text[] language plpgsql as $$
declare
    lanes text[];
begin
    with given as (
        select value as one, ordinality as turn, decode(value ->> 'seen', 'hex') as key
        from jsonb_array_elements(jobs) with ordinality
    ), new as (
        insert into seen select distinct key from given where key is not null order by key
        on conflict do nothing returning fingerprint
    ), chosen as (
        select distinct on (coalesce(one ->> 'seen', turn::text)) one, turn from given
        where key is null or key in (select fingerprint from new)
        order by coalesce(one ->> 'seen', turn::text), turn
    ), added as (
        insert into job (payload, lane, spacing, exclusive, priority, due)
        select one ->> 'payload', one ->> 'lane', (one ->> 'spacing')::bigint, (one ->> 'exclusive')::boolean,
            (one ->> 'priority')::smallint, after((one ->> 'delay')::double precision)
        from chosen order by turn returning lane
    )
    select array_agg(lane) from added into lanes;
    return coalesce(lanes, '{}');
end $$;

create or replace function push(jobs jsonb) returns bigint language plpgsql as $$
declare
    lanes constant text[] := add(jobs);
begin
    perform open_lanes(lanes);
    return cardinality(lanes);
end $$;

-- The next ones without a lane, locked, up to so many, and as long as those before have fewer bytes.
create or replace function next_of(urgency smallint, now timestamptz, most bigint, bytes bigint)
returns table (ids bigint[], size bigint) language sql as $$
    with candidate as (
        select id, due, octet_length(payload)::bigint as length from job
        where state = 0 and lane is null and priority = urgency and due <= now
        order by due, id limit most for update skip locked
    ), summed as (
        select id, due, length, sum(length) over (order by due, id) - length as before from candidate
    )
    select coalesce(array_agg(id order by due, id), '{}'), coalesce(sum(length), 0)::bigint from summed where before < bytes
$$;

-- Takes no more once payloads have so many bytes. That of two arguments stays, where it is, for workers of an earlier version.
create or replace function take(most bigint, bytes bigint, lease double precision)
returns table (taken_id bigint, taken_token bigint, taken_payload text, taken_attempt integer) language plpgsql as $$
declare
    now constant timestamptz := clock_timestamp();
    ids bigint[];
    size bigint;
    more record;
    ended text[];
    one record;
    first record;
    soon timestamptz;
begin
    with free as (
        update job set state = 0, due = now where id in (
            select id from job where state = 1 and due <= now order by due limit 1000 for update skip locked
        ) returning lane
    )
    select array_agg(lane) from free into ended;
    perform open_lanes(ended);
    select * into more from next_of(0::smallint, now, most, bytes);
    ids := more.ids;
    size := more.size;
    for one in
        select name from lane where next <= now order by next limit most - cardinality(ids) for update skip locked
    loop
        exit when size >= bytes;
        select id, spacing, exclusive, octet_length(payload) as length into first from job
        where state = 0 and lane = one.name and due <= now
        order by priority, id limit 1;
        if found then
            ids := ids || first.id;
            size := size + first.length;
            update lane set parked = false,
                next = after(greatest(first.spacing, 1) + case when first.exclusive then lease else 0 end)
            where name = one.name;
        else
            select min(due) into soon from job where state = 0 and lane = one.name;
            if soon is null then
                delete from lane where name = one.name;
            else
                update lane set next = soon, parked = true where name = one.name;
            end if;
        end if;
    end loop;
    for urgency in 1..2 loop
        select * into more from next_of(urgency::smallint, now, most - cardinality(ids), bytes - size);
        ids := ids || more.ids;
        size := size + more.size;
    end loop;
    for position in 1..cardinality(ids) loop
        return query update job set state = 1, due = after(lease), token = nextval('number'), attempt = attempt + 1
        where id = ids[position] returning id, token, payload, attempt;
    end loop;
end $$;

create or replace function renew(ids bigint[], tokens bigint[], lease double precision) returns bigint[] language plpgsql as $$
declare
    held bigint[];
    lanes text[];
    spacings bigint[];
begin
    with renewed as (
        update job set due = after(lease) from unnest(ids, tokens) as mine (id, token)
        where job.id = mine.id and job.token = mine.token and state = 1
        returning job.token, job.lane, job.spacing, job.exclusive
    )
    select array_agg(token), array_agg(lane) filter (where exclusive), array_agg(spacing) filter (where exclusive)
    from renewed into held, lanes, spacings;
    perform close_lanes(lanes, spacings, lease);
    return array(select lost from unnest(tokens) as lost where lost <> all (coalesce(held, '{}')));
end $$;

create or replace function settle(settlements jsonb) returns boolean[] language plpgsql as $$
declare
    one jsonb;
    mine bigint;
    current bigint;
    place record;
    held boolean[] := '{}';
    jobs jsonb := '[]';
    lanes text[] := '{}';
    closed text[] := '{}';
    spacings bigint[] := '{}';
    finished jsonb[] := '{}';
begin
    for one in select * from jsonb_array_elements(settlements) loop
        mine := (one ->> 'id')::bigint;
        current := (one ->> 'token')::bigint;
        case one ->> 'verdict'
        when 'done' then
            delete from job where id = mine and token = current and state = 1
            returning lane, spacing, exclusive into place;
            if found then
                finished := finished || one;
                jobs := jobs || (one -> 'jobs');
            end if;
        when 'dead' then
            update job set state = 2, error = one ->> 'error' where id = mine and token = current and state = 1
            returning lane, spacing, exclusive into place;
        when 'retry' then
            update job set state = 0, error = one ->> 'error', due = after((one ->> 'after')::double precision)
            where id = mine and token = current and state = 1
            returning lane, spacing, exclusive into place;
            if found then
                lanes := lanes || place.lane;
            end if;
        else
            update job set state = 0, due = clock_timestamp(), attempt = attempt - 1
            where id = mine and token = current and state = 1
            returning lane, spacing, exclusive into place;
            if found then
                lanes := lanes || place.lane;
            end if;
        end case;
        held := held || found;
        if found and place.exclusive then
            closed := closed || place.lane;
            spacings := spacings || place.spacing;
        end if;
    end loop;
    -- All at once, and so in order.
    perform open_lanes(add(jobs) || lanes || closed);
    perform close_lanes(closed, spacings, 0);
    foreach one in array finished loop
        perform nextval('done');
        if one ? 'result' then
            delete from result where until <= clock_timestamp();
            insert into result
            values ((one ->> 'id')::bigint, one ->> 'result', after((one ->> 'kept')::double precision));
        end if;
    end loop;
    -- Numbers are seen in order: who reads up to one has seen all before it.
    if exists (select from unnest(finished) as finish where finish ? 'record') then
        lock table record in exclusive mode;
        insert into record (job, text)
        select (finish ->> 'id')::bigint, finish ->> 'record' from unnest(finished) as finish where finish ? 'record';
    end if;
    return held;
end $$;

create or replace function requeue_dead() returns bigint language plpgsql as $$
declare
    lanes text[];
begin
    with risen as (
        update job set state = 0, due = clock_timestamp(), attempt = 0, error = null where state = 2 returning lane
    )
    select array_agg(lane) from risen into lanes;
    perform open_lanes(lanes);
    return coalesce(cardinality(lanes), 0);
end $$;
