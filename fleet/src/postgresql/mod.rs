//! The broker for those who have a database anyway, and effects that are to happen once: PostgreSQL.

use crate::job::{TAKEN_BYTES, Term, check, check_jobs, check_settlements};
use crate::tls::{self, Trusted};
use crate::turns::Turns;
use crate::{
    Broker, BrokerError, Completion, DeadJob, Job, Lease, NewJob, Record, Settlement, Status, Verdict,
    fingerprint,
};
use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::{Client, Config, Error, GenericClient, NoTls, Row, Transaction};
use serde_json::{Value, json};
use std::fmt;
use std::fmt::Write;
use std::str::FromStr;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The oldest server that will do, as it counts.
const OLDEST: (&str, i32) = ("12", 120_000);
/// Tables and functions, and which version of them this is: a change of them is another one.
const SCHEMA: (&str, u32) = (include_str!("schema.sql"), 4);
/// How long a server may take to let somebody in, and to do one thing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often what met somebody else is tried again.
const ATTEMPTS: u32 = 5;

/// A broker in a database of PostgreSQL, 12 or later, in a schema `fleet_NAME` of its own. The crate `postgres` talks to it. Workers that
/// take at once pass over what others are taking (SKIP LOCKED).
///
/// What a job does to the same database can be part of the commit that ends it: see [`done_with`](Postgres::done_with).
///
/// ```no_run
/// use fleet::{Broker, Completion, Postgres};
/// use std::time::Duration;
///
/// let broker = Postgres::open("postgres://localhost/shop", "orders")?;
/// for order in broker.take(1, Duration::from_secs(10))? {
///     broker.done_with(&order.lease(), Completion::new(), |transaction| {
///         transaction.execute("update stock set left_over = left_over - 1 where item = $1", &[&order.payload])
///     })?;
/// }
/// # Ok::<(), fleet::BrokerError>(())
/// ```
pub struct Postgres {
    config: Config,
    /// Where the connection is to be encrypted.
    tls: Option<MakeRustlsConnect>,
    schema: String,
    client: Turns<Option<Client>>,
}

impl Postgres {
    /// Connects to the database at `url`, for the queue `queue`, whose tables are made if there are none. A connection that is lost later
    /// is made anew.
    ///
    /// With `sslmode=require`, `verify-ca` or `verify-full` it is encrypted, and in each case the server's certificate and name are
    /// verified, by the system's certificates or those of `sslrootcert=FILE`. Without, it is not.
    ///
    /// # Errors
    ///
    /// Says why the server will not do: nobody answers, a wrong password, a database that takes no writes, a version before 12. A name of a
    /// queue has letters, digits and `_`, 40 of them at most.
    pub fn open(url: &str, queue: &str) -> Result<Postgres, BrokerError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if queue.is_empty() || queue.len() > 40 || !queue.bytes().all(is_plain) {
            let names = "the name of a queue has letters, digits and _, 40 at most";
            return Err(BrokerError::Address(names.to_owned()));
        }
        let (url, trusted) = Trusted::of(url)?;
        let (rest, mode) = tls::without(&url, "sslmode");
        let is_encrypted = matches!(mode.as_deref(), Some("require" | "verify-ca" | "verify-full"));
        // Not what it says: there may be a password in it.
        let expected = "postgres://USER@HOST:PORT/DATABASE is expected";
        let mut config = Config::from_str(if is_encrypted { &rest } else { &url })
            .map_err(|_| BrokerError::Address(expected.to_owned()))?;
        let tls = match is_encrypted || config.get_ssl_mode() == SslMode::Require {
            true => Some(MakeRustlsConnect::new(trusted.config()?)),
            false => None,
        };
        if tls.is_some() {
            config.ssl_mode(SslMode::Require);
        }
        config.connect_timeout(PATIENCE).tcp_user_timeout(PATIENCE).keepalives_idle(PATIENCE);
        let broker = Postgres { config, tls, schema: format!("fleet_{queue}"), client: Turns::default() };
        let client = broker.connect()?;
        *broker.client.lock() = Some(client);
        Ok(broker)
    }

    fn connect(&self) -> Result<Client, BrokerError> {
        let mut client = match &self.tls {
            Some(tls) => self.config.connect(tls.clone())?,
            None => self.config.connect(NoTls)?,
        };
        let version: String = client.query_one("show server_version_num", &[])?.get(0);
        let number = version.parse().unwrap_or(0);
        if number < OLDEST.1 {
            let (major, minor) = (number / 10_000, number % 10_000);
            return Err(BrokerError::TooOld { found: format!("{major}.{minor}"), needed: OLDEST.0 });
        }
        let schema = &self.schema;
        client.batch_execute(&format!(
            "set search_path to \"{schema}\"; set statement_timeout to {}; set client_min_messages to warning",
            PATIENCE.as_millis()
        ))?;
        if version_of(&mut client, schema)? < SCHEMA.1 {
            let mut transaction = client.transaction()?;
            // Two that make the same table at once are an error.
            transaction.execute("select pg_advisory_xact_lock(hashtext($1))", &[schema])?;
            if version_of(&mut transaction, schema)? < SCHEMA.1 {
                transaction.batch_execute(&format!("create schema if not exists \"{schema}\""))?;
                transaction.batch_execute(SCHEMA.0)?;
                let version = SCHEMA.1;
                transaction.batch_execute(&format!("comment on schema \"{schema}\" is 'fleet {version}'"))?;
            }
            transaction.commit()?;
        }
        // Whether this user may write there, and the database takes it. It waits for nobody who works.
        client.batch_execute(&format!("select from \"{schema}\".job where false for update"))?;
        Ok(client)
    }

    /// Asks on the connection, or on a new one. One on which something went wrong is not used again.
    fn ask<T>(&self, ask: impl FnMut(&mut Client) -> Result<T, Error>) -> Result<T, BrokerError> {
        self.ask_by(self.client.lock(), ask)
    }

    /// The same, before others who wait.
    fn ask_soon<T>(&self, ask: impl FnMut(&mut Client) -> Result<T, Error>) -> Result<T, BrokerError> {
        self.ask_by(self.client.lock_soon(), ask)
    }

    fn ask_by<T>(
        &self,
        mut place: MutexGuard<'_, Option<Client>>,
        mut ask: impl FnMut(&mut Client) -> Result<T, Error>,
    ) -> Result<T, BrokerError> {
        for attempt in 1.. {
            let mut client = match place.take() {
                Some(client) if !client.is_closed() => client,
                _ => self.connect().map_err(BrokerError::while_connecting)?,
            };
            match ask(&mut client) {
                Ok(answer) => {
                    *place = Some(client);
                    return Ok(answer);
                }
                Err(error) if attempt < ATTEMPTS && has_met_another(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: &[&(dyn postgres::types::ToSql + Sync)],
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, BrokerError> {
        self.ask(|client| client.query(sql, values)?.iter().map(&read).collect())
    }

    /// Ends a job in one transaction with what `effect` does to the database: both happen, or neither. Returns `false`, and does nothing, if
    /// the lease was lost. If `effect` fails, so does this, and the job is not settled; also if it returns no error of a statement that
    /// failed. Within a [`Worker`](crate::Worker) the job counts as lost, since it is settled when the worker comes to that.
    ///
    /// The schema of the queue comes first in the search path, so name the schema of your tables, or set the path in `effect`, for which it
    /// holds.
    pub fn done_with<T>(
        &self,
        lease: &Lease,
        completion: Completion,
        mut effect: impl FnMut(&mut Transaction<'_>) -> Result<T, Error>,
    ) -> Result<bool, BrokerError> {
        let done = Settlement::new(*lease, Verdict::Done(completion));
        check_settlements(std::slice::from_ref(&done))?;
        let settlements = json!([settlement(&done)]);
        let (id, token) = (lease.id as i64, lease.token as i64);
        self.ask(|client| {
            let mut transaction = client.transaction()?;
            let mine = "select from job where id = $1 and token = $2 and state = 1 for update";
            let held = transaction.query_opt(mine, &[&id, &token])?.is_some();
            if held {
                effect(&mut transaction)?;
                // An effect may have set another one. If it has failed and says nothing, this fails, where a commit would only roll back.
                transaction.batch_execute(&format!("set search_path to \"{}\"", self.schema))?;
                // Last, since a sequence counts what is done, and is not rolled back.
                settle(&mut transaction, &settlements)?;
                transaction.commit()?;
            }
            Ok(held)
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not where: there may be a password in it.
        formatter.debug_struct("Postgres").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Broker for Postgres {
    fn queue(&self) -> &str {
        self.schema.trim_start_matches("fleet_")
    }

    fn push(&self, jobs: &[NewJob]) -> Result<usize, BrokerError> {
        check_jobs(jobs)?;
        let jobs = Value::from_iter(jobs.iter().map(job));
        let added: i64 = self.ask(|client| client.query_one("select push($1)", &[&jobs])?.try_get(0))?;
        Ok(added as usize)
    }

    fn submit(&self, job: &NewJob) -> Result<Option<u64>, BrokerError> {
        let jobs = std::slice::from_ref(job);
        check_jobs(jobs)?;
        let jobs = Value::from_iter(jobs.iter().map(self::job));
        // The number that this connection has given last.
        let sql = "select case when push($1) > 0 then currval('number') end";
        let number: Option<i64> = self.ask(|client| client.query_one(sql, &[&jobs])?.try_get(0))?;
        Ok(number.map(|number| number as u64))
    }

    fn take(&self, most: usize, lease: Duration) -> Result<Vec<Job>, BrokerError> {
        let sql = "select * from take($1, $2, $3)";
        self.ask_soon(|client| {
            let start = Instant::now();
            let rows = client.query(sql, &[&count(most), &count(TAKEN_BYTES), &milliseconds(lease)])?;
            let job = |row: &Row| {
                let (id, token, payload, attempt): (i64, i64, _, i32) =
                    (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
                let term = Term::new(start, lease);
                Ok(Job { id: id as u64, token: token as u64, payload, attempt: attempt as u32, term })
            };
            rows.iter().map(job).collect()
        })
    }

    fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, BrokerError> {
        let ids: Vec<_> = leases.iter().map(|lease| lease.id as i64).collect();
        let tokens: Vec<_> = leases.iter().map(|lease| lease.token as i64).collect();
        let lost: Vec<i64> = self.ask_soon(|client| {
            client.query_one("select renew($1, $2, $3)", &[&ids, &tokens, &milliseconds(lease)])?.try_get(0)
        })?;
        Ok(leases.iter().filter(|lease| lost.contains(&(lease.token as i64))).copied().collect())
    }

    fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, BrokerError> {
        check_settlements(settlements)?;
        let settlements = Value::from_iter(settlements.iter().map(settlement));
        self.ask(|client| settle(client, &settlements))
    }

    fn result(&self, job: u64) -> Result<Option<String>, BrokerError> {
        let sql = "select text from result where job = $1 and until > clock_timestamp()";
        Ok(self.rows(sql, &[&(job as i64)], |row| row.try_get(0))?.pop())
    }

    fn keep(&self, name: &str, text: &str, kept: Duration) -> Result<(), BrokerError> {
        check([("what is kept", text.len())].into_iter())?;
        let sql = "select keep($1, $2, $3)";
        self.ask(|client| client.execute(sql, &[&name, &text, &milliseconds(kept)]).map(drop))
    }

    fn kept(&self, name: &str) -> Result<Option<String>, BrokerError> {
        let sql = "select text from kept where name = $1 and until > clock_timestamp()";
        Ok(self.rows(sql, &[&name], |row| row.try_get(0))?.pop())
    }

    fn records(&self, after: u64, most: usize) -> Result<Vec<Record>, BrokerError> {
        let sql = "select number, job, text from record where number > $1 order by number limit $2";
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.rows(sql, &[&after, &count(most)], |row| {
            let (number, job): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Record { number: number as u64, job: job as u64, text: row.try_get(2)? })
        })
    }

    fn dead_jobs(&self, most: usize) -> Result<Vec<DeadJob>, BrokerError> {
        let sql =
            "select id, payload, attempt, coalesce(error, '') from job where state = 2 order by id limit $1";
        self.rows(sql, &[&count(most)], |row| {
            let (id, attempts): (i64, i32) = (row.try_get(0)?, row.try_get(2)?);
            let (payload, error) = (row.try_get(1)?, row.try_get(3)?);
            Ok(DeadJob { id: id as u64, payload, attempts: attempts as u32, error })
        })
    }

    fn requeue_dead(&self) -> Result<u64, BrokerError> {
        let risen: i64 = self.ask(|client| client.query_one("select requeue_dead()", &[])?.try_get(0))?;
        Ok(risen as u64)
    }

    fn purge(&self) -> Result<(), BrokerError> {
        // Ids and tokens go on, so that a lease of before is never taken for one of after.
        self.ask(|client| {
            client
                .batch_execute("truncate job, lane, seen, record, result, kept; alter sequence done restart")
        })
    }

    fn status(&self) -> Result<Status, BrokerError> {
        let sql = "select count(*) filter (where state = 0 and due <= clock_timestamp()),
                count(*) filter (where state = 0 and due > clock_timestamp()),
                count(*) filter (where state = 1), count(*) filter (where state = 2),
                (select case when is_called then last_value else 0 end from done),
                (select count(*) from record)
            from job";
        let statuses = self.rows(sql, &[], |row| {
            let count = |index: usize| Ok::<_, Error>(row.try_get::<_, i64>(index)? as u64);
            let (ready, later, leased) = (count(0)?, count(1)?, count(2)?);
            Ok(Status { ready, later, leased, dead: count(3)?, done: count(4)?, records: count(5)? })
        })?;
        Ok(statuses.first().copied().unwrap_or_default())
    }
}

/// The version of a queue's tables and functions, 0 if there are none. To make again what is there would wait for all who work.
fn version_of(client: &mut impl GenericClient, schema: &str) -> Result<u32, BrokerError> {
    let sql = "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = $1";
    let said: Option<String> = client.query_opt(sql, &[&schema])?.and_then(|row| row.get(0));
    let version = said.and_then(|said| said.strip_prefix("fleet ")?.parse().ok()).unwrap_or(0);
    match version > SCHEMA.1 {
        true => Err(BrokerError::Unreadable("the queue is of a later version of this program".to_owned())),
        false => Ok(version),
    }
}

fn settle(client: &mut impl GenericClient, settlements: &Value) -> Result<Vec<bool>, Error> {
    client.query_one("select settle($1)", &[settlements])?.try_get(0)
}

fn count(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn milliseconds(duration: Duration) -> f64 {
    // 30,000 years: what a time of PostgreSQL's has left, and a double can count.
    duration.as_millis().min(1 << 50) as f64
}

fn job(job: &NewJob) -> Value {
    let lane = job.lane.as_ref();
    let mut value = json!({
        "payload": job.payload,
        "priority": job.priority.number(),
        "delay": milliseconds(job.delay),
        "lane": lane.map(|lane| &lane.name),
        "spacing": lane.map_or(0, |lane| milliseconds(lane.spacing) as i64),
        "exclusive": lane.is_some_and(|lane| lane.exclusive),
    });
    if let Some(key) = &job.unique {
        value["seen"] = hexadecimal(&fingerprint(key)).into();
    }
    value
}

fn settlement(settlement: &Settlement) -> Value {
    let mut value = json!({ "id": settlement.lease.id, "token": settlement.lease.token });
    match &settlement.verdict {
        Verdict::Done(completion) => {
            value["verdict"] = "done".into();
            value["jobs"] = Value::from_iter(completion.jobs.iter().map(job));
            if let Some(record) = &completion.record {
                value["record"] = record.as_str().into();
            }
            if let Some((text, kept)) = &completion.result {
                value["result"] = text.as_str().into();
                value["kept"] = milliseconds(*kept).into();
            }
        }
        Verdict::Retry { after, error } => {
            value["verdict"] = "retry".into();
            value["after"] = milliseconds(*after).into();
            value["error"] = error.as_str().into();
        }
        Verdict::Dead { error } => {
            value["verdict"] = "dead".into();
            value["error"] = error.as_str().into();
        }
        Verdict::GivenBack => value["verdict"] = "back".into(),
    }
    value
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // To a string it cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether it is to be done again, since it was rolled back for somebody else's sake.
fn has_met_another(error: &Error) -> bool {
    matches!(error.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE))
}

impl From<Error> for BrokerError {
    fn from(error: Error) -> BrokerError {
        let Some(database) = error.as_db_error() else {
            // What it says of the connection is behind it.
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            return BrokerError::unreachable(format!("{error}{}", source.unwrap_or_default()));
        };
        let said = database.message().to_owned();
        match database.code().code() {
            "25006" | "53100" => BrokerError::ReadOnly(said),
            "53200" => BrokerError::OutOfMemory(said),
            // A zero character in JSON or in an argument, or one that the database's encoding lacks.
            "22P05" | "22021" => {
                let detail = database.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
                BrokerError::Other(format!("PostgreSQL keeps no such text: {said}{detail}"))
            }
            code if code.starts_with("28") || code == "42501" => BrokerError::Refused(said),
            // The connection, a deadlock, too many of them, a lock, the server's end or a time limit, its disk.
            code if ["08", "40", "53", "55", "57", "58"].contains(&&code[..2]) => {
                BrokerError::Unreachable(said)
            }
            _ => BrokerError::Other(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SCHEMA, hexadecimal};

    /// Who finds a number of before in a database makes what this number stands for.
    #[test]
    fn another_schema_has_another_number() {
        let fingerprint = hexadecimal(&crate::fingerprint(SCHEMA.0));
        assert_eq!((SCHEMA.1, fingerprint.as_str()), (4, "b197a4337bf044f6b5cb0482a3a261a9"));
    }
}
