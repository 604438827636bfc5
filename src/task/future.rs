//! Futures, waited for in the blocking way.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake as TaskWake, Waker};

use crate::hub::waiter::{Notify, Waiter, WaitingOn, Wakeup};
use crate::sys::lock::Lock;

/// Runs `future` to its end, and returns its output.
///
/// While the future is pending, the calling green thread is parked and others run. The future's wakers may be used from any OS
/// thread. The future must not need a particular runtime: one that waits for tokio's timers or sockets waits in vain here. A kill
/// or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, which drops the future.
///
/// # Examples
///
/// ```
/// use greenloop::{block_on, spawn};
///
/// let sum = block_on(async { spawn(|| 1).await.unwrap() + spawn(|| 2).await.unwrap() });
/// assert_eq!(sum, 3);
/// ```
#[doc(alias("run", "wrap_future"))]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(signal.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        signal.wait();
    }
}

/// Whether the future is to be polled, and who polls it.
#[derive(Default)]
struct Signal {
    state: Lock<Polling>,
}

#[derive(Default)]
enum Polling {
    #[default]
    Quiet,
    Given,
    Waiting(Notify),
}

impl Default for Lock<Polling> {
    fn default() -> Lock<Polling> {
        Lock::new(Polling::Quiet)
    }
}

impl Signal {
    fn wait(&self) {
        let waiter = Waiter::new(WaitingOn::Other("block_on"));
        loop {
            {
                let mut state = self.state.lock();
                if let Polling::Given = *state {
                    *state = Polling::Quiet;
                    return;
                }
                *state = Polling::Waiting(waiter.notify());
            }
            if let Wakeup::Interrupted(interrupt) = waiter.park(None) {
                interrupt.raise();
            }
        }
    }
}

impl TaskWake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let former = std::mem::replace(&mut *self.state.lock(), Polling::Given);
        if let Polling::Waiting(notify) = former {
            notify.notify();
        }
    }
}
