//! A connection to a server that will do, made anew when it is lost.

use crate::BrokerError;
use ::redis::{Client, Cmd, Connection, ErrorKind, FromRedisValue, InfoDict, RedisError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The oldest server that takes a script as a whole or not at all.
const OLDEST: (&str, u32) = ("7.0", 7);
/// How long a server may take to let somebody in, and to answer. A script takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Line {
    client: Client,
    /// And the name by which the server knows the script.
    open: Mutex<Option<(Connection, String)>>,
}

impl Line {
    /// Connects.
    pub(super) fn open(url: &str) -> Result<Line, BrokerError> {
        // Not what it says: there may be a password in it.
        let client = Client::open(url)
            .map_err(|_| BrokerError::Address("redis://HOST:PORT/DATABASE is expected".to_owned()))?;
        let line = Line { client, open: Mutex::new(None) };
        *line.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.connect()?);
        Ok(line)
    }

    fn connect(&self) -> Result<(Connection, String), BrokerError> {
        let mut connection = self.client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let about: InfoDict = ::redis::cmd("INFO").query(&mut connection)?;
        let version: String = about.get("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        if major.is_none_or(|major: u32| major < OLDEST.1) {
            return Err(BrokerError::TooOld { found: version, needed: OLDEST.0 });
        }
        let (limit, policy): (Option<u64>, Option<String>) =
            (about.get("maxmemory"), about.get("maxmemory_policy"));
        if let (Some(1..), Some(policy)) = (limit, policy)
            && policy != "noeviction"
        {
            return Err(BrokerError::Evicts(policy));
        }
        let script =
            ::redis::cmd("SCRIPT").arg("LOAD").arg(include_str!("queue.lua")).query(&mut connection)?;
        Ok((connection, script))
    }

    /// Sends a command, which `make` gets the script's name for. A connection on which something went wrong is not used again, since the
    /// answer to the last question may still be on its way.
    pub(super) fn ask<T: FromRedisValue>(&self, make: impl Fn(&str) -> Cmd) -> Result<T, BrokerError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // A second time if the server was restarted, or told to forget its scripts.
        for is_last in [false, true] {
            let (mut connection, script) = match open.take() {
                Some(connected) => connected,
                None => self.connect().map_err(BrokerError::while_connecting)?,
            };
            match make(&script).query(&mut connection) {
                Ok(answer) => {
                    *open = Some((connection, script));
                    return Ok(answer);
                }
                Err(error) if !is_last && error.code() == Some("NOSCRIPT") => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(BrokerError::Other("the server forgets its scripts".to_owned()))
    }
}

impl From<RedisError> for BrokerError {
    fn from(error: RedisError) -> BrokerError {
        let said = error.to_string();
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _)
            | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED")) => BrokerError::Refused(said),
            (_, Some("READONLY" | "MISCONF")) => BrokerError::ReadOnly(said),
            (_, Some("OOM")) => BrokerError::OutOfMemory(said),
            (_, Some("LOADING" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" | "NOREPLICAS")) => {
                BrokerError::Unreachable(said)
            }
            (ErrorKind::Io, _) => BrokerError::Unreachable(said),
            (ErrorKind::UnexpectedReturnType | ErrorKind::Parse, _) => BrokerError::Unreadable(said),
            _ if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() => {
                BrokerError::Unreachable(said)
            }
            _ => BrokerError::Other(said),
        }
    }
}
