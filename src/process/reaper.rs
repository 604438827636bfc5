//! Waiting for children that were killed and that nobody else waits for.

use std::process::Child;
use std::thread;
use std::time::Duration;

use crate::threadpool::ThreadPool;

/// One thread for all, which asks them in turn: a child that is stuck in the kernel keeps no other from being waited for.
static REAPER: ThreadPool = ThreadPool::new(1);

const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// Has a child that was killed waited for. If no thread can be made for that, its status stays in the kernel.
pub(super) fn reap(child: Child) {
    ask(child, FIRST);
}

fn ask(mut child: Child, pause: Duration) {
    let _ = REAPER.try_detach(move || {
        if let Ok(None) = child.try_wait() {
            thread::sleep(pause);
            ask(child, (pause * 2).min(LONGEST));
        }
    });
}
