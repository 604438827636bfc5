//! The broker for the processes of one machine: a file of SQLite.

use crate::job::{TAKEN_BYTES, Term, check, check_jobs, check_settlements};
use crate::turns::Turns;
use crate::{
    Broker, BrokerError, Completion, DeadJob, Job, Lease, NewJob, Priority, Record, Settlement, Status,
    Verdict, fingerprint,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql, Transaction, TransactionBehavior, params};
use std::path::Path;
use std::sync::MutexGuard;
use std::thread;
use std::time::{Duration, Instant};

/// Of the schema.
const VERSION: u32 = 3;

/// How long a call waits for other processes to be done with the file.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the first one that opens a file may come in between of others.
const ATTEMPTS: u32 = 100;

/// SQLite's clock, in milliseconds.
const NOW: &str = "cast(unixepoch('subsec') * 1000 as integer)";

/// What becomes of a lane that is there when a job for now comes: it has its turn at once only if it waits for jobs that are for later.
const OPEN: &str = "on conflict (name) do update set next = excluded.next, parked = 0 where parked";

/// A broker in a file, which needs no server. All processes of one machine that open the file share it.
///
/// What a call has committed is on the disk when it returns. Writers take turns, so one call that settles many jobs costs as much as one
/// that settles one.
///
/// ```
/// use fleet::{Broker, NewJob, Sqlite};
///
/// let broker = Sqlite::in_memory()?;
/// let page = NewJob::new("https://example.org/").unique("https://example.org/");
/// assert_eq!(broker.push(&[page.clone()])?, 1);
/// assert_eq!(broker.push(&[page])?, 0);
/// assert_eq!(broker.status()?.ready, 1);
/// # Ok::<(), fleet::BrokerError>(())
/// ```
#[derive(Debug)]
pub struct Sqlite {
    connection: Turns<Connection>,
    file: String,
}

impl Sqlite {
    /// Opens a file, which is made if there is none.
    ///
    /// # Errors
    ///
    /// Those of the file, and [`Unreadable`](BrokerError::Unreadable) if it is not one of SQLite's, or of a later version of this crate.
    pub fn open(path: impl AsRef<Path>) -> Result<Sqlite, BrokerError> {
        let file = path.as_ref().display().to_string();
        Sqlite::of(Connection::open(path)?, file)
    }

    /// One that is this process's alone, and ends with the value.
    pub fn in_memory() -> Result<Sqlite, BrokerError> {
        Sqlite::of(Connection::open_in_memory()?, String::new())
    }

    fn of(mut connection: Connection, file: String) -> Result<Sqlite, BrokerError> {
        connection.busy_timeout(PATIENCE)?;
        let mut attempts = 0;
        // Two that change the journal of a new file at once are not told to wait, but that it is locked.
        while let Err(error) = prepare(&mut connection) {
            attempts += 1;
            if attempts == ATTEMPTS || !matches!(error, BrokerError::Unreachable(_)) {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Sqlite { connection: Turns::new(connection), file })
    }

    /// Does `work` in one transaction, which is known to be alone from its beginning on.
    fn transaction<R>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<R, BrokerError>,
    ) -> Result<R, BrokerError> {
        within(self.connection.lock(), TransactionBehavior::Immediate, work)
    }

    /// The same, before others of this process who wait.
    fn transaction_soon<R>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<R, BrokerError>,
    ) -> Result<R, BrokerError> {
        within(self.connection.lock_soon(), TransactionBehavior::Immediate, work)
    }

    /// Reads what is committed as of one time. It waits for nobody who writes.
    fn read<R>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<R, BrokerError>,
    ) -> Result<R, BrokerError> {
        within(self.connection.lock(), TransactionBehavior::Deferred, read)
    }
}

fn within<R>(
    mut connection: MutexGuard<'_, Connection>,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Transaction<'_>) -> Result<R, BrokerError>,
) -> Result<R, BrokerError> {
    let transaction = connection.transaction_with_behavior(behavior)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn prepare(connection: &mut Connection) -> Result<(), BrokerError> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: u32 = transaction.query_row("pragma user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Err(BrokerError::Unreadable("the file is of a later version of this program".to_owned()));
    }
    if version == 1 {
        transaction.execute_batch("alter table job add column exclusive integer not null default 0")?;
    }
    if version == 1 || version == 2 {
        transaction.execute_batch("alter table lane add column parked integer not null default 0")?;
    }
    transaction.execute_batch(include_str!("schema.sql"))?;
    Ok(transaction.commit()?)
}

impl Broker for Sqlite {
    fn queue(&self) -> &str {
        &self.file
    }

    fn push(&self, jobs: &[NewJob]) -> Result<usize, BrokerError> {
        check_jobs(jobs)?;
        self.transaction(|transaction| push(transaction, now(transaction)?, jobs))
    }

    fn submit(&self, job: &NewJob) -> Result<Option<u64>, BrokerError> {
        let jobs = std::slice::from_ref(job);
        check_jobs(jobs)?;
        self.transaction(|transaction| {
            let added = push(transaction, now(transaction)?, jobs)?;
            // Lanes have no row ids.
            Ok((added > 0).then(|| transaction.last_insert_rowid() as u64))
        })
    }

    fn take(&self, most: usize, lease: Duration) -> Result<Vec<Job>, BrokerError> {
        self.transaction_soon(|transaction| {
            let start = Instant::now();
            let now = now(transaction)?;
            // Their lanes may have been closed meanwhile.
            transaction
                .prepare_cached(&format!(
                    "insert into lane (name, next) \
                     select distinct lane, ?1 from job where state = 1 and due <= ?1 and lane is not null {OPEN}"
                ))?
                .execute([now])?;
            transaction
                .prepare_cached("update job set state = 0, due = ?1 where state = 1 and due <= ?1")?
                .execute([now])?;
            let mut chosen = Chosen { ids: Vec::new(), most, bytes: TAKEN_BYTES };
            of_priority(transaction, now, Priority::High, &mut chosen)?;
            of_lanes(transaction, now, &mut chosen, lease)?;
            for priority in [Priority::Normal, Priority::Low] {
                of_priority(transaction, now, priority, &mut chosen)?;
            }
            let ids = chosen.ids;
            let last: i64 = transaction
                .prepare_cached("update counter set value = value + ? where name = 'token' returning value")?
                .query_row([ids.len() as i64], |row| row.get(0))?;
            let mut take = transaction.prepare_cached(
                "update job set state = 1, due = ?2, token = ?3, attempt = attempt + 1 where id = ?1 \
                 returning payload, attempt",
            )?;
            let first = last - ids.len() as i64 + 1;
            let due = now + milliseconds(lease);
            let jobs = ids.into_iter().zip(first..).map(|(id, token)| {
                take.query_row(params![id, due, token], |row| {
                    let (payload, attempt) = (row.get(0)?, row.get(1)?);
                    let term = Term::new(start, lease);
                    Ok(Job { id: id as u64, token: token as u64, payload, attempt, term })
                })
            });
            Ok(jobs.collect::<Result<_, _>>()?)
        })
    }

    fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, BrokerError> {
        self.transaction_soon(|transaction| {
            let due = now(transaction)? + milliseconds(lease);
            let mut lost = Vec::new();
            for lease in leases {
                match held(transaction, *lease, "update job set due = ?3", &[&due])? {
                    Some(place) => place.close(transaction, due)?,
                    None => lost.push(*lease),
                }
            }
            Ok(lost)
        })
    }

    fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, BrokerError> {
        check_settlements(settlements)?;
        self.transaction(|transaction| {
            let now = now(transaction)?;
            settlements.iter().map(|settlement| settle(transaction, now, settlement)).collect()
        })
    }

    fn result(&self, job: u64) -> Result<Option<String>, BrokerError> {
        self.read(|transaction| {
            let sql = format!("select text from result where job = ? and until > {NOW}");
            Ok(transaction.prepare_cached(&sql)?.query_row([job as i64], |row| row.get(0)).optional()?)
        })
    }

    fn keep(&self, name: &str, text: &str, kept: Duration) -> Result<(), BrokerError> {
        check([("what is kept", text.len())].into_iter())?;
        self.transaction(|transaction| {
            let now = now(transaction)?;
            transaction.prepare_cached("delete from kept where until <= ?")?.execute([now])?;
            let mut keep = transaction.prepare_cached("insert or replace into kept values (?, ?, ?)")?;
            keep.execute(params![name, text, now + milliseconds(kept)])?;
            Ok(())
        })
    }

    fn kept(&self, name: &str) -> Result<Option<String>, BrokerError> {
        self.read(|transaction| {
            let sql = format!("select text from kept where name = ? and until > {NOW}");
            Ok(transaction.prepare_cached(&sql)?.query_row([name], |row| row.get(0)).optional()?)
        })
    }

    fn records(&self, after: u64, most: usize) -> Result<Vec<Record>, BrokerError> {
        self.read(|transaction| {
            let sql = "select number, job, text from record where number > ? order by number limit ?";
            let mut query = transaction.prepare_cached(sql)?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let records = query.query_map(params![after, most as i64], |row| {
                let (number, job): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok(Record { number: number as u64, job: job as u64, text: row.get(2)? })
            })?;
            Ok(records.collect::<Result<_, _>>()?)
        })
    }

    fn dead_jobs(&self, most: usize) -> Result<Vec<DeadJob>, BrokerError> {
        self.read(|transaction| {
            let sql = "select id, payload, attempt, error from job where state = 2 order by id limit ?";
            let mut query = transaction.prepare_cached(sql)?;
            let dead = query.query_map([most as i64], |row| {
                let id: i64 = row.get(0)?;
                let error: Option<String> = row.get(3)?;
                let (payload, attempts, error) = (row.get(1)?, row.get(2)?, error.unwrap_or_default());
                Ok(DeadJob { id: id as u64, payload, attempts, error })
            })?;
            Ok(dead.collect::<Result<_, _>>()?)
        })
    }

    fn requeue_dead(&self) -> Result<u64, BrokerError> {
        self.transaction(|transaction| {
            let now = now(transaction)?;
            transaction.execute(
                &format!(
                    "insert into lane (name, next) \
                     select distinct lane, ?1 from job where state = 2 and lane is not null {OPEN}"
                ),
                [now],
            )?;
            let sql = "update job set state = 0, due = ?1, attempt = 0, error = null where state = 2";
            Ok(transaction.execute(sql, [now])? as u64)
        })
    }

    fn purge(&self) -> Result<(), BrokerError> {
        self.transaction(|transaction| {
            Ok(transaction.execute_batch(
                "delete from job; delete from lane; delete from seen; delete from record; delete from result; delete from kept; \
                 update counter set value = 0 where name = 'done'",
            )?)
        })
    }

    fn status(&self) -> Result<Status, BrokerError> {
        self.read(|transaction| {
            let now = now(transaction)?;
            let count = |sql: &str| {
                let count: i64 = transaction.prepare_cached(sql)?.query_row([now], |row| row.get(0))?;
                Ok::<_, BrokerError>(count as u64)
            };
            Ok(Status {
                ready: count("select count(*) from job where state = 0 and due <= ?")?,
                later: count("select count(*) from job where state = 0 and due > ?")?,
                leased: count("select count(*) from job where state = 1 and ? is not null")?,
                dead: count("select count(*) from job where state = 2 and ? is not null")?,
                done: count("select value from counter where name = 'done' and ? is not null")?,
                records: count("select count(*) from record where ? is not null")?,
            })
        })
    }
}

fn now(transaction: &Transaction<'_>) -> Result<i64, BrokerError> {
    Ok(transaction.prepare_cached(&format!("select {NOW}"))?.query_row([], |row| row.get(0))?)
}

fn milliseconds(duration: Duration) -> i64 {
    // A quarter of what there is, so that a lease, a spacing and the time can be added.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

fn push(transaction: &Transaction<'_>, now: i64, jobs: &[NewJob]) -> Result<usize, BrokerError> {
    let mut see = transaction.prepare_cached("insert or ignore into seen values (?)")?;
    let mut add = transaction.prepare_cached(
        "insert into job (payload, lane, spacing, exclusive, priority, due) values (?, ?, ?, ?, ?, ?)",
    )?;
    let mut open =
        transaction.prepare_cached(&format!("insert into lane (name, next) values (?, ?) {OPEN}"))?;
    let mut added = 0;
    for job in jobs {
        if let Some(key) = &job.unique
            && see.execute([fingerprint(key)])? == 0
        {
            continue;
        }
        let lane = job.lane.as_ref();
        let (name, spacing) = (lane.map(|lane| &lane.name), lane.map_or(Duration::ZERO, |lane| lane.spacing));
        let due = now + milliseconds(job.delay);
        let (spacing, exclusive) = (milliseconds(spacing), lane.is_some_and(|lane| lane.exclusive));
        add.execute(params![job.payload, name, spacing, exclusive, job.priority.number(), due])?;
        if let Some(name) = name {
            open.execute(params![name, now])?;
        }
        added += 1;
    }
    Ok(added)
}

/// Jobs that are to be taken, and what there is room for yet.
struct Chosen {
    ids: Vec<i64>,
    most: usize,
    bytes: usize,
}

impl Chosen {
    fn is_full(&self) -> bool {
        self.most == 0 || self.bytes == 0
    }

    fn add(&mut self, id: i64, length: i64) {
        self.ids.push(id);
        self.most -= 1;
        self.bytes = self.bytes.saturating_sub(length as usize);
    }
}

/// Jobs without a lane that may be taken.
fn of_priority(
    transaction: &Transaction<'_>,
    now: i64,
    priority: Priority,
    chosen: &mut Chosen,
) -> Result<(), BrokerError> {
    let mut query = transaction.prepare_cached(
        "select id, octet_length(payload) from job where state = 0 and lane is null and priority = ? and due <= ? \
         order by due, id limit ?",
    )?;
    let mut rows = query.query(params![priority.number(), now, chosen.most as i64])?;
    while !chosen.is_full()
        && let Some(row) = rows.next()?
    {
        chosen.add(row.get(0)?, row.get(1)?);
    }
    Ok(())
}

/// The first job of each lane whose turn has come.
fn of_lanes(
    transaction: &Transaction<'_>,
    now: i64,
    chosen: &mut Chosen,
    lease: Duration,
) -> Result<(), BrokerError> {
    let mut due =
        transaction.prepare_cached("select name from lane where next <= ? order by next limit ?")?;
    let mut first = transaction.prepare_cached(
        "select id, spacing, exclusive, octet_length(payload) from job where state = 0 and lane = ? and due <= ? \
         order by priority, id limit 1",
    )?;
    let mut next = transaction.prepare_cached("select min(due) from job where state = 0 and lane = ?")?;
    let mut turn = transaction.prepare_cached("update lane set next = ?, parked = ? where name = ?")?;
    let mut close = transaction.prepare_cached("delete from lane where name = ?")?;
    // Some may have nothing left, and be of no use.
    while !chosen.is_full() {
        let names = due.query_map(params![now, chosen.most as i64], |row| row.get(0))?;
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if chosen.is_full() {
                break;
            }
            let found = first
                .query_row(params![name, now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()?;
            if let Some((id, spacing, exclusive, length)) = found {
                chosen.add(id, length);
                let (spacing, exclusive): (i64, bool) = (spacing, exclusive);
                let held = if exclusive { milliseconds(lease) } else { 0 };
                // With none it is one of a lane at each look.
                turn.execute(params![now + held + spacing.max(1), false, name])?;
            } else if let Some(due) = next.query_row([&name], |row| row.get::<_, Option<i64>>(0))? {
                turn.execute(params![due, true, name])?;
            } else {
                close.execute([&name])?;
            }
        }
    }
    Ok(())
}

/// The lane of a job that was held, and what is to be waited for there.
struct Place {
    lane: Option<String>,
    spacing: i64,
    exclusive: bool,
}

impl Place {
    /// Has the next one of a lane of which one at a time is done wait for this and the spacing.
    fn close(&self, transaction: &Transaction<'_>, until: i64) -> Result<(), BrokerError> {
        if self.exclusive {
            let mut close =
                transaction.prepare_cached("insert or replace into lane (name, next) values (?, ?)")?;
            close.execute(params![self.lane, until + self.spacing])?;
        }
        Ok(())
    }

    fn open(&self, transaction: &Transaction<'_>, now: i64) -> Result<(), BrokerError> {
        if let Some(lane) = &self.lane {
            let mut open =
                transaction.prepare_cached(&format!("insert into lane (name, next) values (?, ?) {OPEN}"))?;
            open.execute(params![lane, now])?;
        }
        Ok(())
    }
}

/// Does what `sql` says to a job whose lease is held, and tells where it is.
fn held(
    transaction: &Transaction<'_>,
    lease: Lease,
    sql: &str,
    values: &[&dyn ToSql],
) -> Result<Option<Place>, BrokerError> {
    let sql = format!("{sql} where id = ?1 and token = ?2 and state = 1 returning lane, spacing, exclusive");
    let (id, token) = (lease.id as i64, lease.token as i64);
    let values = [&[&id as &dyn ToSql, &token], values].concat();
    let mut statement = transaction.prepare_cached(&sql)?;
    let place = statement.query_row(&values[..], |row| {
        Ok(Place { lane: row.get(0)?, spacing: row.get(1)?, exclusive: row.get(2)? })
    });
    Ok(place.optional()?)
}

fn settle(transaction: &Transaction<'_>, now: i64, settlement: &Settlement) -> Result<bool, BrokerError> {
    let held = |sql: &str, values: &[&dyn ToSql]| held(transaction, settlement.lease, sql, values);
    let place = match &settlement.verdict {
        Verdict::Done(_) => held("delete from job", &[])?,
        Verdict::Dead { error } => held("update job set state = 2, error = ?3", &[error])?,
        Verdict::Retry { after, error } => {
            let due = now + milliseconds(*after);
            held("update job set state = 0, due = ?3, error = ?4", &[&due, error])?
        }
        Verdict::GivenBack => held("update job set state = 0, due = ?3, attempt = attempt - 1", &[&now])?,
    };
    let Some(place) = place else { return Ok(false) };
    place.close(transaction, now)?;
    match &settlement.verdict {
        Verdict::Done(completion) => complete(transaction, now, settlement.lease.id as i64, completion)?,
        Verdict::Retry { .. } | Verdict::GivenBack => place.open(transaction, now)?,
        Verdict::Dead { .. } => {}
    }
    Ok(true)
}

fn complete(
    transaction: &Transaction<'_>,
    now: i64,
    id: i64,
    completion: &Completion,
) -> Result<(), BrokerError> {
    transaction.prepare_cached("update counter set value = value + 1 where name = 'done'")?.execute([])?;
    if let Some(record) = &completion.record {
        let mut add = transaction.prepare_cached("insert into record (job, text) values (?, ?)")?;
        add.execute(params![id, record])?;
    }
    if let Some((text, kept)) = &completion.result {
        transaction.prepare_cached("delete from result where until <= ?")?.execute([now])?;
        let mut keep = transaction.prepare_cached("insert into result values (?, ?, ?)")?;
        keep.execute(params![id, text, now + milliseconds(*kept)])?;
    }
    push(transaction, now, &completion.jobs)?;
    Ok(())
}

impl From<rusqlite::Error> for BrokerError {
    fn from(error: rusqlite::Error) -> BrokerError {
        let said = error.to_string();
        match error.sqlite_error_code() {
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::FileLockingProtocolFailed,
            ) => BrokerError::Unreachable(said),
            Some(ErrorCode::PermissionDenied) => BrokerError::Refused(said),
            Some(ErrorCode::ReadOnly | ErrorCode::DiskFull) => BrokerError::ReadOnly(said),
            Some(ErrorCode::OutOfMemory) => BrokerError::OutOfMemory(said),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => BrokerError::Unreadable(said),
            _ => BrokerError::Other(said),
        }
    }
}
