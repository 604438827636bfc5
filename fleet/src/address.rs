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
/// assert!(matches!(open("host=127.0.0.1 password = secret", "queue"), Err(BrokerError::Address(_))));
/// ```
pub fn open(address: &str, queue: &str) -> Result<Arc<dyn Broker>, BrokerError> {
    match address.split_once("://").map(|(scheme, _)| scheme) {
        Some("redis" | "rediss") => Ok(Arc::new(Redis::open(address, queue)?)),
        Some("postgres" | "postgresql") => Ok(Arc::new(Postgres::open(address, queue)?)),
        None if !is_of_a_server(address) => Ok(Arc::new(Sqlite::open(address)?)),
        // Not what it says: there may be a password in it.
        _ => Err(BrokerError::Address("redis://… or postgres://… is expected, or a file".to_owned())),
    }
}

/// Whether it is one of a server, written otherwise: not a file, whose name would be told.
fn is_of_a_server(address: &str) -> bool {
    let address = address.trim_start().to_ascii_lowercase();
    let has_scheme =
        ["redis:", "rediss:", "postgres:", "postgresql:"].iter().any(|scheme| address.starts_with(scheme));
    let has_parameter = address.contains("password") && address.contains('=');
    has_scheme || has_parameter || address.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}
