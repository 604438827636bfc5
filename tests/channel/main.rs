//! Channels: order, disconnection, kill and time limit at every moment of a wait, several hubs at once.

#[path = "../support/mod.rs"]
mod support;

/// What holds for a channel that holds values, with a bound and without.
mod buffered;
/// Channels of times.
mod clock;
mod disconnection;
/// Two hubs and plain threads at once, with kills and time limits at random.
mod hammer;
/// Kill and time limit between the moment a value comes or goes and the moment the one who waits runs.
mod interruption;
/// A channel that holds none.
mod rendezvous;
/// What is `Send`, `Sync` and unwind-safe; what is shown.
mod traits;

use std::time::Duration;

use greenloop::JoinHandle;
use greenloop::channel::{Receiver, Sender};
use support::{Counted, Log, spawn_parked};

const LIMIT: Duration = Duration::from_secs(120);

/// A green thread that waits for a value, and tells `log` its name with what it got.
fn receiving<T: ToString + 'static>(receiver: &Receiver<T>, log: &Log, name: &'static str) -> JoinHandle<()> {
    let (receiver, log) = (receiver.clone(), log.clone());
    spawn_parked(move || match receiver.recv() {
        Ok(value) => log.add(format!("{name} {}", value.to_string())),
        Err(error) => log.add(format!("{name}: {error}")),
    })
}

/// A green thread that waits for room for a value, and tells `log` when it was sent.
fn sending<T: ToString + 'static>(sender: &Sender<T>, log: &Log, value: T) -> JoinHandle<()> {
    let (sender, log) = (sender.clone(), log.clone());
    spawn_parked(move || {
        let text = value.to_string();
        match sender.send(value) {
            Ok(()) => log.add(format!("sent {text}")),
            Err(error) => log.add(format!("kept {}", error.into_inner().to_string())),
        }
    })
}
