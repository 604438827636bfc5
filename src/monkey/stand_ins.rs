//! Green threads that stand in for OS threads: which there are, by the numbers that pthread_create(3) gives out, and what becomes of
//! each.
//!
//! The number is the address of the thread-control block that the green thread runs with, as pthread_self(3) has it. So the block is
//! kept until nobody may use the number any more: the thread has ended, and was joined or detached.

use std::ffi::c_void;
use std::io;
use std::mem;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use libc::{c_int, pthread_t};

use crate::fiber::isolation::{Hold, Variables};
use crate::fiber::{SizeClass, existing_thread};
use crate::hub::no_unwind::{hub_of_greenlet, in_handler};
use crate::hub::waiter::{Notify, Waiter, WaitingOn};
use crate::sys::clock::Time;
use crate::sys::lock::Lock;
use crate::sys::thread_attributes::Wishes;
use crate::sys::thread_start::{self, Start};
use crate::sys::{control_block, futex, process};
use crate::task::stand_in::spawn;
use crate::task::{JoinHandle, Outcome};

/// TASK_COMM_LEN, with the zero byte.
pub(super) const NAME_LENGTH: usize = 16;

/// What a join gives of a thread that was cancelled.
pub(super) const PTHREAD_CANCELED: *mut c_void = ptr::without_provenance_mut(usize::MAX);

const BUCKETS: usize = 256;

static TABLE: [Lock<Vec<Arc<StandIn>>>; BUCKETS] = [const { Lock::new(Vec::new()) }; BUCKETS];

/// How many are in the table.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// One that stands in.
pub(super) struct StandIn {
    hold: Hold,
    fate: Lock<Fate>,
    /// What it returned, or gave to pthread_exit(3).
    value: AtomicPtr<c_void>,
    /// Not 0 once it has ended, with the destructors of its variables.
    ended: AtomicU32,
    task: OnceLock<JoinHandle<()>>,
}

/// What is known of it that changes.
#[derive(Default)]
struct Fate {
    detached: bool,
    /// Who joins it, by its number; 0 for nobody.
    joiner: pthread_t,
    /// How that one is told, if it is a greenlet.
    notice: Option<Notify>,
    cancelled: bool,
    /// Where it runs, once it has begun.
    stack: Option<Range<usize>>,
    name: Option<[u8; NAME_LENGTH]>,
}

/// How long a join lasts at most.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// Not at all.
    None,
    /// Until then, if ever.
    Until(Option<Time>),
}

fn bucket(thread: pthread_t) -> &'static Lock<Vec<Arc<StandIn>>> {
    // Blocks lie in slots, of a size that is nearly a power of two.
    let hash = (thread as usize / 64).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize);
    &TABLE[hash >> (usize::BITS - BUCKETS.ilog2())]
}

/// The one with this number; `None` in the handler of a signal, which may have interrupted who holds a lock of the table.
pub(super) fn find(thread: pthread_t) -> Option<Arc<StandIn>> {
    // Relaxed: who has a number of one has it from somebody who saw it there.
    if COUNT.load(Ordering::Relaxed) == 0 || in_handler() {
        return None;
    }
    bucket(thread).lock().iter().find(|stand_in| stand_in.number() == thread).cloned()
}

/// Whether the caller stands in, was cancelled, and has not forbidden that. So it ends by that, as a join tells.
pub(super) fn ends_cancelled() -> bool {
    // SAFETY: takes nothing.
    let own = find(unsafe { libc::pthread_self() });
    let ends = own.as_ref().is_some_and(|own| own.fate.lock().cancelled) && thread_start::is_cancel_allowed();
    if ends && let Some(own) = own {
        own.set_value(PTHREAD_CANCELED);
    }
    ends
}

/// Whether this is the number of one that [`find`] does not give, as the handler of a signal asks.
pub(super) fn is_out_of_reach(thread: pthread_t) -> bool {
    // Relaxed: as above.
    COUNT.load(Ordering::Relaxed) != 0 && in_handler() && control_block::is_one(thread as usize)
}

fn add(stand_in: Arc<StandIn>) {
    let bucket = bucket(stand_in.number());
    // Relaxed: see `find`.
    COUNT.fetch_add(1, Ordering::Relaxed);
    loop {
        let mut list = bucket.lock();
        if list.len() < list.capacity() {
            list.push(stand_in);
            return;
        }
        let room = 2 * list.len() + 4;
        drop(list);
        // Not under the lock, which an allocator's may lead back to.
        let mut larger = Vec::with_capacity(room);
        let mut list = bucket.lock();
        if list.len() < larger.capacity() {
            larger.append(&mut list);
            mem::swap(&mut *list, &mut larger);
        }
        drop(list);
    }
}

fn remove(thread: pthread_t) {
    let mut list = bucket(thread).lock();
    let place = list.iter().position(|stand_in| stand_in.number() == thread);
    let removed = place.map(|place| list.swap_remove(place));
    drop(list);
    if removed.is_some() {
        // Relaxed: see `find`.
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// From now on a fork finds the table's locks free. In the child all of them have ended, but for the one that goes on there, which
/// nobody is left to wait for.
fn look_after_forks() {
    static ONCE: Once = Once::new();
    extern "C" fn before() {
        TABLE.iter().for_each(Lock::hold);
    }
    extern "C" fn in_parent() {
        // SAFETY: held by `before`, which this thread ran.
        TABLE.iter().for_each(|bucket| unsafe { bucket.release() });
    }
    extern "C" fn in_child() {
        in_parent();
        let end = |stand_in: &Arc<StandIn>| stand_in.ended.store(1, Ordering::Release);
        TABLE.iter().for_each(|bucket| bucket.lock().iter().for_each(end));
    }
    // SAFETY: they lock and unlock, and change words of what is in the table.
    ONCE.call_once(|| unsafe { process::at_fork(before, in_parent, in_child) });
}

/// Makes one, which begins when its turn comes, and returns its number.
///
/// # Errors
///
/// Why there is no block for it, or no such stack.
///
/// # Safety
///
/// `start` may be called with `argument`, once.
pub(super) unsafe fn begin(start: Start, argument: *mut c_void, wishes: Wishes) -> io::Result<pthread_t> {
    look_after_forks();
    let stack = SizeClass::fitting(wishes.stack)?;
    let (variables, hold) = Variables::take_and_hold()?;
    let stand_in = Arc::new(StandIn {
        hold,
        fate: Lock::new(Fate { detached: wishes.detached, ..Fate::default() }),
        value: AtomicPtr::new(ptr::null_mut()),
        ended: AtomicU32::new(0),
        task: OnceLock::new(),
    });
    let life = {
        let stand_in = stand_in.clone();
        // SAFETY: the caller's contract; it runs with variables of its own on a green thread's stack.
        move || unsafe { stand_in.live(start, argument) }
    };
    let ended = {
        let stand_in = stand_in.clone();
        move |outcome| stand_in.end(outcome)
    };
    let task = spawn(variables, stack, life, ended);
    let number = stand_in.number();
    stand_in.task.set(task).expect("it is set once");
    add(stand_in);
    Ok(number)
}

impl StandIn {
    fn number(&self) -> pthread_t {
        self.hold.thread() as pthread_t
    }

    pub(super) fn has_ended(&self) -> bool {
        // Acquire: sees what the thread has done.
        self.ended.load(Ordering::Acquire) != 0
    }

    /// # Safety
    ///
    /// As for [`begin`], on its own green thread.
    unsafe fn live(&self, start: Start, argument: *mut c_void) {
        let stack = existing_thread().and_then(|thread| thread.current().stack_bounds());
        let mut fate = self.fate.lock();
        fate.stack = stack;
        let cancelled = fate.cancelled;
        drop(fate);
        if cancelled {
            self.kill();
        }
        // Who ran with the block before may have forbidden it.
        thread_start::allow_cancel();
        // SAFETY: the caller's contract.
        if let Some(value) = unsafe { thread_start::run(start, argument) } {
            self.set_value(value);
        }
    }

    /// Sets what a join gives.
    pub(super) fn set_value(&self, value: *mut c_void) {
        // Relaxed: the end publishes it.
        self.value.store(value, Ordering::Relaxed);
    }

    /// The green thread has ended, or never will begin.
    fn end(&self, outcome: Outcome) {
        if outcome != Outcome::Returned {
            self.set_value(PTHREAD_CANCELED);
        }
        let mut fate = self.fate.lock();
        // Release: publishes the value and all else. Under the lock, so that who detaches it, or stands in line, sees it or is seen.
        self.ended.store(1, Ordering::Release);
        let (detached, notice) = (fate.detached, fate.notice.take());
        drop(fate);
        if let Some(notice) = notice {
            notice.notify();
        }
        futex::wake(&self.ended);
        if detached {
            remove(self.number());
        }
    }

    fn kill(&self) {
        if let Some(task) = self.task.get() {
            task.try_kill();
        }
    }

    /// pthread_cancel(3): a kill, from its beginning on.
    pub(super) fn cancel(&self) {
        let mut fate = self.fate.lock();
        fate.cancelled = true;
        let has_begun = fate.stack.is_some();
        drop(fate);
        if has_begun {
            self.kill();
        }
    }

    /// pthread_detach(3).
    pub(super) fn detach(&self) -> c_int {
        let mut fate = self.fate.lock();
        if fate.detached {
            return libc::EINVAL;
        }
        // Who joins it takes it down.
        fate.detached = fate.joiner == 0;
        let over = fate.detached && self.has_ended();
        drop(fate);
        if over {
            remove(self.number());
        }
        0
    }

    /// Waits for its end, and returns what it left.
    ///
    /// # Errors
    ///
    /// As pthread_join(3) and its siblings have them.
    pub(super) fn join(&self, caller: pthread_t, patience: Patience) -> Result<*mut c_void, c_int> {
        if matches!(patience, Patience::None) && !self.has_ended() {
            return Err(libc::EBUSY);
        }
        let is_awaited_by_it = || find(caller).is_some_and(|own| own.fate.lock().joiner == self.number());
        let detached = self.fate.lock().detached;
        if !detached && (caller == self.number() || is_awaited_by_it()) {
            return Err(libc::EDEADLK);
        }
        let mut fate = self.fate.lock();
        if fate.detached || fate.joiner != 0 {
            return Err(libc::EINVAL);
        }
        fate.joiner = caller;
        drop(fate);
        if let Patience::Until(deadline) = patience
            && !self.wait_until(deadline)
        {
            self.fate.lock().joiner = 0;
            return Err(libc::ETIMEDOUT);
        }
        // Relaxed: the end was seen, which publishes it.
        let value = self.value.load(Ordering::Relaxed);
        remove(self.number());
        Ok(value)
    }

    /// Whether it has ended by then. A kill of the caller waits, as the call has no errno for it.
    fn wait_until(&self, deadline: Option<Time>) -> bool {
        if self.has_ended() {
            return true;
        }
        if hub_of_greenlet().is_none() {
            return self.stop_until(deadline);
        }
        let waiter = Waiter::new(WaitingOn::Other("pthread_join"));
        let mut fate = self.fate.lock();
        if !self.has_ended() {
            fate.notice = Some(waiter.notify());
        }
        drop(fate);
        let mut in_time = true;
        while in_time && !self.has_ended() {
            in_time = waiter.park_in_infallible_call(deadline);
        }
        let notice = self.fate.lock().notice.take();
        drop(notice);
        self.has_ended()
    }

    /// The same for an OS thread without a hub.
    fn stop_until(&self, deadline: Option<Time>) -> bool {
        while !self.has_ended() {
            let left = deadline.map(|deadline| Time::now().until(deadline));
            if left == Some(Duration::ZERO) {
                return false;
            }
            futex::wait(&self.ended, 0, left);
        }
        true
    }

    pub(super) fn set_name(&self, name: [u8; NAME_LENGTH]) {
        self.fate.lock().name = Some(name);
    }

    pub(super) fn name(&self) -> Option<[u8; NAME_LENGTH]> {
        self.fate.lock().name
    }

    /// Its stack, once it has begun, and whether it is detached.
    pub(super) fn extent(&self) -> Option<(Range<usize>, bool)> {
        let fate = self.fate.lock();
        fate.stack.clone().map(|stack| (stack, fate.detached))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::hub::hub;
    use crate::hub::no_unwind::interrupted;
    use crate::sys::handler;

    unsafe extern "C" {
        fn pthread_cancel(thread: pthread_t) -> c_int;
    }

    extern "C-unwind" fn returns(argument: *mut c_void) -> *mut c_void {
        argument
    }

    /// As a signal finds it that has come amid a search.
    #[test]
    fn a_handler_waits_for_no_lock_of_the_table() {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            hub();
            let wishes = Wishes { stack: 0, detached: false };
            // SAFETY: it takes any argument.
            let thread = unsafe { begin(returns, ptr::null_mut(), wishes) }.unwrap();
            let held = bucket(thread).lock();
            // SAFETY: numbers of threads that have not been joined, here and below.
            let kill = |thread, signal| unsafe { libc::pthread_kill(thread, signal) };
            handler::run(interrupted(), || {
                assert_eq!(kill(thread, 0), 0);
                assert_eq!(kill(thread, libc::SIGUSR1), libc::ESRCH);
                // SAFETY: takes nothing.
                assert_eq!(kill(unsafe { libc::pthread_self() }, 0), 0);
                // SAFETY: as above.
                assert_eq!(unsafe { pthread_cancel(thread) }, libc::ESRCH);
                // SAFETY: as above.
                assert_eq!(unsafe { libc::pthread_detach(thread) }, libc::EINVAL);
            });
            drop(held);
            // SAFETY: as above; nothing is to be written.
            tell.send(unsafe { libc::pthread_join(thread, ptr::null_mut()) }).unwrap();
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(0));
    }
}
