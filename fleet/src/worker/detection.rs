//! Who keeps the OS threads of this process's workers, as the detector of the library sees it. A process has one of these.

use greenloop::TaskId;
use greenloop::inspect::{Detector, HubBlocked, detect};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After which time it is seen that somebody keeps an OS thread: sooner than a worker is taken for one that does not run.
const LIMIT: Duration = Duration::from_millis(100);

/// What was seen last on each OS thread, by the kernel's numbers, and when.
type Seen = Mutex<HashMap<u32, (Instant, HubBlocked)>>;

struct Shared {
    process: u32,
    users: usize,
    detector: Detector,
    seen: Arc<Seen>,
}

/// That of this process, or of its parent's before a fork.
static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

/// A share of the detector, which goes with the last one.
pub(super) struct Detection(Arc<Seen>);

impl Detection {
    /// `None` if the program has a detector of its own, as a process can have one only.
    pub(super) fn begin() -> Option<Detection> {
        let mut shared = lock(&SHARED);
        let process = std::process::id();
        if let Some(shared) = shared.as_mut().filter(|shared| shared.process == process) {
            shared.users += 1;
            return Some(Detection(shared.seen.clone()));
        }
        let seen = Arc::new(Seen::default());
        let sees = seen.clone();
        let report = move |blocked: &HubBlocked| {
            lock(&sees).insert(blocked.thread_id(), (Instant::now(), blocked.clone()));
        };
        let detector = detect(LIMIT).most_per_minute(u32::MAX).on_report(report).start().ok()?;
        *shared = Some(Shared { process, users: 1, detector, seen: seen.clone() });
        Some(Detection(seen))
    }

    /// What was seen since a time of the one among these green threads that keeps its OS thread, and what goes with it.
    pub(super) fn of<T>(
        &self,
        tasks: impl Iterator<Item = (TaskId, T)>,
        since: Instant,
    ) -> Option<(T, HubBlocked)> {
        let seen = lock(&self.0);
        let recent: Vec<_> = seen.values().filter(|(when, _)| *when >= since).collect();
        let number = |blocked: &HubBlocked| blocked.id().map(|id| id.to_string());
        let mut found = tasks.filter_map(|(task, what)| {
            let task = Some(task.to_string());
            let (_, blocked) = recent.iter().find(|(_, blocked)| number(blocked) == task)?;
            Some((what, blocked.clone()))
        });
        found.next()
    }
}

impl Drop for Detection {
    fn drop(&mut self) {
        let mut shared = lock(&SHARED);
        if let Some(users) = shared.as_mut().map(|shared| {
            shared.users -= 1;
            shared.users
        }) && users == 0
            && let Some(shared) = shared.take()
        {
            shared.detector.stop();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
