//! Which broker a text means.

use crate::{Broker, BrokerError, Postgres, Redis, Sqlite};
use std::sync::Arc;

/// Opens the queue `queue` of the broker at `address`: `redis://…`, `postgres://…` or `postgresql://…`, or else a file of SQLite, which is
/// one queue, whatever its name.
///
/// # Errors
///
/// Those of [`Redis::open`], [`Postgres::open`] and [`Sqlite::open`].
///
/// ```
/// use fleet::{BrokerError, open};
///
/// assert!(matches!(open("amqp://127.0.0.1/", "queue"), Err(BrokerError::Address(_))));
/// assert!(matches!(open("redis:/:secret@127.0.0.1/", "queue"), Err(BrokerError::Address(_))));
/// assert!(matches!(open("me:secret@127.0.0.1/shop", "queue"), Err(BrokerError::Address(_))));
/// ```
pub fn open(address: &str, queue: &str) -> Result<Arc<dyn Broker>, BrokerError> {
    match address.split_once("://").map(|(scheme, _)| scheme) {
        Some("redis" | "rediss") => Ok(Arc::new(Redis::open(address, queue)?)),
        Some("postgres" | "postgresql") => Ok(Arc::new(Postgres::open(address, queue)?)),
        // One of a server, written otherwise: not a file, whose name would be told.
        None if ["redis:", "rediss:", "postgres:", "postgresql:"]
            .iter()
            .any(|scheme| address.starts_with(scheme))
            || address.contains("password=")
            || address.split('/').next().is_some_and(|first| first.contains(':') && first.contains('@')) =>
        {
            Err(BrokerError::Address("redis://… or postgres://… is expected, or a file".to_owned()))
        }
        None => Ok(Arc::new(Sqlite::open(address)?)),
        Some(scheme) => Err(BrokerError::Address(format!("there is no engine for {scheme}://"))),
    }
}
