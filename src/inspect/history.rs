//! What hubs keep for dumps to come.

use crate::hub::history::note_on_all_hubs;
use crate::task::duties::remember_spawners;

/// Has all hubs of the process keep, from now on or no more, since when each greenlet waits, and who spawns whom: for
/// [`GreenThread::waited`](super::GreenThread::waited) and [`GreenThread::spawned_by`](super::GreenThread::spawned_by).
///
/// A hub notes the time whenever it looks about, which is before it blocks and after 128 switches, so no switch costs more. What is told is
/// too little by the time that others ran before that look, by a millisecond more, and by an eighth where it is long: a hub keeps 4 KiB of
/// notes. Who waits already counts from this call on. A spawn allocates some words more. Nothing of it costs anything while it is off.
///
/// [`dump_on`](super::dump_on) and [`listen`](fn@super::listen) do this by themselves. Does not yield. Other hubs begin when they next look
/// for letters. A hub in a [world](crate::testing) of a test notes no times.
///
/// # Examples
///
/// ```
/// use greenloop::{inspect, sleep, spawn};
/// use std::time::Duration;
///
/// inspect::keep_history(true);
/// let sleeper = spawn(|| sleep(Duration::from_secs(60)));
/// (0..5).for_each(|_| sleep(Duration::from_millis(10)));
/// assert!(inspect::dump().to_string().contains("ms so far"));
///
/// inspect::keep_history(false);
/// assert!(!inspect::dump().to_string().contains("so far"));
/// # sleeper.kill();
/// ```
pub fn keep_history(keeps: bool) {
    remember_spawners(keeps);
    note_on_all_hubs(keeps);
}
