//! A connection to a server that will do, made anew when it is lost.

use crate::BrokerError;
use crate::tls::{Trusted, provide};
use crate::turns::Turns;
use ::redis::{
    Client, Cmd, Connection, ConnectionAddr, ErrorKind, FromRedisValue, InfoDict, IntoConnectionInfo,
    RedisError, TlsCertificates,
};
use std::sync::MutexGuard;
use std::time::Duration;

/// The oldest server that takes a script as a whole or not at all.
const OLDEST: (&str, u32) = ("7.0", 7);
/// How long a server may take to let somebody in, and to answer. A script takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the servers of a cluster may say that another one has a queue.
const REDIRECTIONS: u32 = 5;

/// What the keys of a queue are, which `queue.lua` writes down with the first number. A change that workers of before cannot work with is
/// another one.
const LAYOUT: u32 = 1;

pub(super) struct Line {
    /// As the address says.
    client: Client,
    /// What the names of the queue's keys begin with.
    prefix: String,
    open: Turns<Open>,
}

#[derive(Default)]
struct Open {
    /// And the name by which the server knows the script.
    connection: Option<(Connection, String)>,
    /// Which server of a cluster has the queue, or had it last.
    owner: Option<Client>,
}

impl Line {
    /// Connects, for a queue whose keys begin with this.
    pub(super) fn open(url: &str, prefix: String) -> Result<Line, BrokerError> {
        let (url, trusted) = Trusted::of(url)?;
        // Not what it says: there may be a password in it.
        let expected = || BrokerError::Address("redis://HOST:PORT/DATABASE is expected".to_owned());
        if url.contains('#') {
            return Err(expected());
        }
        if url.starts_with("rediss:") {
            provide();
        }
        let place = url.into_connection_info().map_err(|_| expected())?;
        let client = match trusted.pem() {
            Some(pem) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
                Client::build_with_tls(place, certificates)
            }
            None => Client::open(place),
        };
        let line = Line { client: client.map_err(|_| expected())?, prefix, open: Turns::default() };
        let mut open = line.open.lock();
        open.connection = Some(line.connect(&mut open.owner)?);
        drop(open);
        Ok(line)
    }

    /// Another one to the same queue, which connects when it is asked.
    pub(super) fn beside(&self) -> Line {
        Line { client: self.client.clone(), prefix: self.prefix.clone(), open: Turns::default() }
    }

    /// Connects to the server that has the queue, which is looked for where it was, and then where the address says.
    fn connect(&self, owner: &mut Option<Client>) -> Result<(Connection, String), BrokerError> {
        if let Some(client) = owner.take()
            && let Ok(Found::Here(connection, script)) = self.connect_to(&client)
        {
            *owner = Some(client);
            return Ok((connection, script));
        }
        let mut client = self.client.clone();
        for _ in 0..=REDIRECTIONS {
            match self.connect_to(&client)? {
                Found::Here(connection, script) => {
                    *owner = Some(client);
                    return Ok((connection, script));
                }
                Found::At(place) => client = elsewhere(&client, &place)?,
            }
        }
        Err(BrokerError::Unreachable("the servers of the cluster do not agree where the queue is".to_owned()))
    }

    fn connect_to(&self, client: &Client) -> Result<Found, BrokerError> {
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
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
        let layout: Option<u32> = match Cmd::get(format!("{}layout", self.prefix)).query(&mut connection) {
            Ok(layout) => layout,
            Err(error) => {
                return match error.redirect_node() {
                    Some((place, _)) if error.code() == Some("MOVED") => Ok(Found::At(place.to_owned())),
                    _ => Err(error.into()),
                };
            }
        };
        // The first ones were not written down.
        if layout.is_some_and(|layout| layout > LAYOUT) {
            return Err(BrokerError::Unreadable(
                "the queue is of a later version of this program".to_owned(),
            ));
        }
        if about.get("role").is_some_and(|role: String| role == "slave") {
            return Err(BrokerError::ReadOnly("it is the replica of another one".to_owned()));
        }
        let script =
            ::redis::cmd("SCRIPT").arg("LOAD").arg(include_str!("queue.lua")).query(&mut connection)?;
        Ok(Found::Here(connection, script))
    }

    /// Sends a command, which `make` gets the script's name for. A connection on which something went wrong is not used again, since the
    /// answer to the last question may still be on its way.
    pub(super) fn ask<T: FromRedisValue>(&self, make: impl Fn(&str) -> Cmd) -> Result<T, BrokerError> {
        self.ask_by(self.open.lock(), make)
    }

    /// The same, before others who wait.
    pub(super) fn ask_soon<T: FromRedisValue>(&self, make: impl Fn(&str) -> Cmd) -> Result<T, BrokerError> {
        self.ask_by(self.open.lock_soon(), make)
    }

    fn ask_by<T: FromRedisValue>(
        &self,
        mut open: MutexGuard<'_, Open>,
        make: impl Fn(&str) -> Cmd,
    ) -> Result<T, BrokerError> {
        // A second time if the server was restarted, was told to forget its scripts, or has given the queue to another one.
        for is_last in [false, true] {
            let (mut connection, script) = match open.connection.take() {
                Some(connected) => connected,
                None => self.connect(&mut open.owner).map_err(BrokerError::while_connecting)?,
            };
            match make(&script).query(&mut connection) {
                Ok(answer) => {
                    open.connection = Some((connection, script));
                    return Ok(answer);
                }
                Err(error) if !is_last && matches!(error.code(), Some("NOSCRIPT" | "MOVED")) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(BrokerError::Other("the server forgets its scripts".to_owned()))
    }
}

/// What is found at a server.
enum Found {
    /// The queue.
    Here(Connection, String),
    /// Where another one of its cluster is, which has it.
    At(String),
}

/// The same at another server, as a redirection says.
fn elsewhere(client: &Client, place: &str) -> Result<Client, BrokerError> {
    let info = client.get_connection_info();
    let (host, port) = place
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        .ok_or_else(|| BrokerError::Unreachable(format!("it says that the queue is at {place}")))?;
    // One that does not know its own name means that by which it was found.
    let named = |known: &str| if host.is_empty() { known.to_owned() } else { host.to_owned() };
    let addr = match info.addr() {
        ConnectionAddr::TcpTls { host, tls_params, .. } => ConnectionAddr::TcpTls {
            host: named(host),
            port,
            insecure: false,
            tls_params: tls_params.clone(),
        },
        ConnectionAddr::Tcp(host, _) => ConnectionAddr::Tcp(named(host), port),
        _ => return Err(BrokerError::Unreachable(format!("the queue is at {place}"))),
    };
    Ok(Client::open(info.clone().set_addr(addr))?)
}

impl From<RedisError> for BrokerError {
    fn from(error: RedisError) -> BrokerError {
        let said = error.to_string();
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _)
            | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED")) => BrokerError::Refused(said),
            (_, Some("READONLY" | "MISCONF")) => BrokerError::ReadOnly(said),
            (_, Some("OOM")) => BrokerError::OutOfMemory(said),
            (
                _,
                Some(
                    // `ASK` comes while a cluster moves the queue. It is not followed, since a script would find half of it there.
                    "LOADING" | "MASTERDOWN" | "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY"
                    | "NOREPLICAS" | "UNBLOCKED",
                ),
            ) => BrokerError::Unreachable(said),
            (ErrorKind::Io, _) => BrokerError::unreachable(said),
            (ErrorKind::UnexpectedReturnType | ErrorKind::Parse, _) => BrokerError::Unreadable(said),
            _ if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() => {
                BrokerError::Unreachable(said)
            }
            _ => BrokerError::Other(said),
        }
    }
}
