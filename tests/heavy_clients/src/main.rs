//! Clients that know nothing of greenloop, unmodified under `patch_all`: fifty calls of each at once on one OS thread, beside the same
//! calls one after another and on OS threads; and calls that a time limit or a kill interrupts. The times are printed, what is answered is
//! asserted, and that all calls at once have begun before the first has ended.
//!
//! Servers of Debian's are started by the tests themselves; `.ci/run` installs them.

mod diesel;
mod lettre;
mod mariadb;
mod memcache;
mod mysql;
mod native_tls;
mod rayon;
mod rumqttc;
mod ssh2;
mod tungstenite;

use std::time::Duration;

/// How many at once.
const MANY: u32 = 50;

/// What a call takes, by its server.
const DELAY: Duration = Duration::from_millis(100);
