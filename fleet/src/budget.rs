//! How often a server may fail before its pages are given up.

use crate::Shared;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long.
const REST: Duration = Duration::from_secs(600);

/// Of all servers. What one process finds out all others know after their next failure.
pub struct Budgets {
    broker: Shared,
    most: u32,
    servers: RefCell<HashMap<String, Server>>,
}

/// One that has failed the last time.
#[derive(Default)]
struct Server {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Budgets {
    /// Of so many failures in a row.
    pub fn new(broker: Shared, most: u32) -> Budgets {
        Budgets { broker, most, servers: RefCell::default() }
    }

    /// Why its pages are given up, if they are.
    pub fn objection(&self, server: &str) -> Option<String> {
        let mut servers = self.servers.borrow_mut();
        let until = servers.get(server)?.rests_until?;
        if Instant::now() >= until {
            servers.remove(server);
            return None;
        }
        Some(format!("its server has failed {} times in a row (see --host-failures)", self.most))
    }

    pub fn answered(&self, server: &str) {
        self.servers.borrow_mut().remove(server);
    }

    pub fn failed(&self, server: &str) {
        let name = format!("failing:{server}");
        let is_over = {
            let mut servers = self.servers.borrow_mut();
            let failures = &mut servers.entry(server.to_owned()).or_default().failures;
            *failures += 1;
            *failures >= self.most
        };
        // A broker that is away keeps nothing, and knows of nothing.
        let is_over = if is_over {
            let _ = self.broker.keep(&name, "", REST);
            true
        } else {
            matches!(self.broker.kept(&name), Ok(Some(_)))
        };
        if is_over && let Some(server) = self.servers.borrow_mut().get_mut(server) {
            server.rests_until = Some(Instant::now() + REST);
        }
    }
}
