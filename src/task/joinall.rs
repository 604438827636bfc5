//! Joining and killing many green threads: gevent's `joinall` and `killall`.

use std::time::Duration;

use super::join_handle::JoinHandle;
use super::wait::{iwait, wait, wait_timeout};
use crate::error::JoinError;
use crate::sys::clock::Time;

/// Waits until all green threads have ended, and returns them in the order in which they did. This is gevent's `joinall`.
///
/// The results stay in the handles: [`join`](JoinHandle::join) then returns each at once. Apart from that, it is like [`wait`].
///
/// # Examples
///
/// ```
/// let squares: Vec<_> = (1..=3).map(|number| greenloop::spawn(move || number * number)).collect();
/// assert_eq!(greenloop::joinall(&squares).len(), 3);
/// let squares: Vec<u32> = squares.into_iter().map(|task| task.join().unwrap()).collect();
/// assert_eq!(squares, [1, 4, 9]);
/// ```
#[doc(alias = "ALL_COMPLETED")]
pub fn joinall<'a, T: 'a>(tasks: impl IntoIterator<Item = &'a JoinHandle<T>>) -> Vec<&'a JoinHandle<T>> {
    wait(tasks)
}

/// Waits for at most `limit` until all green threads have ended, and returns those that have. The rest go on.
///
/// Apart from that, it is like [`joinall`].
///
/// # Examples
///
/// ```
/// use greenloop::{joinall_timeout, killall, sleep, spawn, yield_now};
/// use std::time::Duration;
///
/// let tasks = [spawn(|| ()), spawn(|| sleep(Duration::from_secs(60)))];
/// yield_now(); // the first ends
/// assert_eq!(joinall_timeout(&tasks, Duration::from_millis(1)).len(), 1);
/// killall(&tasks);
/// ```
pub fn joinall_timeout<'a, T: 'a>(
    tasks: impl IntoIterator<Item = &'a JoinHandle<T>>,
    limit: Duration,
) -> Vec<&'a JoinHandle<T>> {
    wait_timeout(tasks, limit)
}

/// Waits until all green threads have ended, and returns their values in the order given. This is gevent's
/// `joinall(raise_error=True)`.
///
/// If one of them fails, the call returns as soon as that happens, and the rest go on, detached. Apart from that, it is like [`wait`].
///
/// # Errors
///
/// Returns the [`JoinError`] of the first green thread that fails.
///
/// # Examples
///
/// ```
/// use greenloop::{spawn, try_joinall};
///
/// assert_eq!(try_joinall([spawn(|| 1), spawn(|| 2)]).unwrap(), [1, 2]);
/// let failing = [spawn(|| 1), spawn(|| std::panic::resume_unwind(Box::new("broken")))];
/// assert!(try_joinall(failing).unwrap_err().is_panic());
/// ```
#[doc(alias("FIRST_EXCEPTION", "gather"))]
pub fn try_joinall<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Result<Vec<T>, JoinError> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let failed = iwait(&tasks).find(|task| task.has_failed()).map(|task| task.id());
    let mut values = Vec::with_capacity(tasks.len());
    for task in tasks {
        match failed {
            None => values.push(task.join()?),
            Some(id) if id == task.id() => return task.join().map(|_| values),
            Some(_) => {}
        }
    }
    Ok(values)
}

/// Kills all green threads, then waits until all have ended. This is gevent's `killall`.
///
/// See [`JoinHandle::kill`].
///
/// # Examples
///
/// ```
/// let tasks: Vec<_> = (0..3).map(|_| greenloop::spawn(|| loop { greenloop::yield_now() })).collect();
/// greenloop::killall(&tasks);
/// assert!(tasks.iter().all(|task| task.is_finished()));
/// ```
pub fn killall<'a, T: 'a>(tasks: impl IntoIterator<Item = &'a JoinHandle<T>>) {
    let tasks: Vec<_> = tasks.into_iter().collect();
    for task in &tasks {
        task.try_kill();
    }
    tasks.iter().for_each(|task| task.wait());
}

/// Kills all green threads, then waits for at most `limit` until all have ended. Returns `true` if all have.
///
/// `limit` counts for all together. See [`JoinHandle::kill`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let tasks: Vec<_> = (0..3).map(|_| greenloop::spawn(|| greenloop::sleep(Duration::from_secs(60)))).collect();
/// greenloop::yield_now();
/// assert!(greenloop::killall_timeout(&tasks, Duration::from_secs(60)));
/// ```
pub fn killall_timeout<'a, T: 'a>(
    tasks: impl IntoIterator<Item = &'a JoinHandle<T>>,
    limit: Duration,
) -> bool {
    let deadline = Some(Time::after(limit));
    let tasks: Vec<_> = tasks.into_iter().collect();
    for task in &tasks {
        task.try_kill();
    }
    tasks.iter().all(|task| task.wait_until(deadline))
}
