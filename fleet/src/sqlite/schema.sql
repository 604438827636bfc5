-- state: 0 waits, 1 is leased, 2 is dead. What is done is deleted. Times are milliseconds of SQLite's own clock; `due` is when a job may
-- be taken, or when its lease ends.
create table if not exists job (
    id integer primary key autoincrement,
    payload text not null,
    lane text,
    spacing integer not null default 0,
    priority integer not null,
    state integer not null default 0,
    due integer not null,
    token integer not null default 0,
    attempt integer not null default 0,
    error text,
    exclusive integer not null default 0
) strict;
create index if not exists job_by_turn on job (priority, due, id) where state = 0 and lane is null;
create index if not exists job_by_lane on job (lane, priority, id) where state = 0 and lane is not null;
create index if not exists job_by_lease on job (due) where state = 1;
create index if not exists job_of_the_dead on job (id) where state = 2;
-- One is parked that has only jobs for later: its turn is that of the first of them, unless another one comes.
create table if not exists lane (
    name text primary key,
    next integer not null,
    parked integer not null default 0
) strict, without rowid;
create index if not exists lane_by_turn on lane (next);
create table if not exists seen (fingerprint blob primary key) strict, without rowid;
create table if not exists record (number integer primary key autoincrement, job integer not null, text text not null) strict;
create table if not exists result (job integer primary key, text text not null, until integer not null) strict;
create index if not exists result_by_end on result (until);
create table if not exists kept (name text primary key, text text not null, until integer not null) strict, without rowid;
create table if not exists counter (name text primary key, value integer not null) strict, without rowid;
insert or ignore into counter values ('token', 0), ('done', 0);
pragma user_version = 3;
