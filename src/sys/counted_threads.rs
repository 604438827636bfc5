//! OS threads that were made by one which has a clock of its own, and by those in turn: its time must not pass while they are at work.

use std::cell::Cell;
use std::ffi::c_void;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use libc::{c_int, c_long, pthread_t};

use super::lock::Lock;
use super::process::os_thread_id;
use super::section::Section;
use super::thread_start::Start;
use super::thread_state::{Activity, activity};

/// After so many looks in a row at which a thread waits for a descriptor, a millisecond from one to the next, nothing counts as on its
/// way to it.
const PATIENCE: u32 = 300;

/// Those of one clock that have not ended.
#[derive(Debug)]
pub(crate) struct CountedThreads {
    all: Lock<Vec<Arc<Counted>>>,
    /// Those of them that are waited for, by what the C library knows them by.
    joined: Lock<Vec<pthread_t>>,
    are_denied: AtomicBool,
    /// Whether they count no more.
    are_let_be: AtomicBool,
}

/// One of them.
#[derive(Debug, Default)]
struct Counted {
    /// What the C library knows it by; 0 until the call that makes it returns.
    handle: AtomicU64,
    /// What the kernel knows it by; 0 until it runs.
    number: AtomicU32,
    /// At how many looks in a row it was waiting for a descriptor.
    looks: AtomicU32,
}

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// For nothing, for a time, or /proc does not tell.
    None,
    /// For another thread.
    Thread,
    /// For a descriptor.
    Descriptor,
}

/// Counts a thread until dropped.
struct Life {
    threads: Arc<CountedThreads>,
    counted: Arc<Counted>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.threads.all.lock().retain(|other| !Arc::ptr_eq(other, &self.counted));
    }
}

/// While it lives, the end of a thread is waited for.
#[derive(Debug)]
pub(crate) struct Joining {
    threads: Arc<CountedThreads>,
    thread: pthread_t,
}

impl Drop for Joining {
    fn drop(&mut self) {
        let mut joined = self.threads.joined.lock();
        let place = joined.iter().position(|&other| other == self.thread);
        if let Some(place) = place {
            joined.swap_remove(place);
        }
    }
}

/// What a thread begins with.
struct Beginning {
    life: Life,
    start: Start,
    argument: *mut c_void,
}

thread_local! {
    /// Dropped when the thread ends, in whatever way: as the first that was registered, it is the last.
    static LIFE: Cell<Option<Life>> = const { Cell::new(None) };
}

/// Those of which the calling thread is one: what it makes is one too.
pub(crate) fn own() -> Option<Arc<CountedThreads>> {
    let threads = |cell: &Cell<Option<Life>>| {
        let life = cell.take();
        let threads = life.as_ref().map(|life| life.threads.clone());
        cell.set(life);
        threads
    };
    LIFE.try_with(threads).ok().flatten()
}

/// The first function of each.
unsafe extern "C-unwind" fn live(beginning: *mut c_void) -> *mut c_void {
    // SAFETY: made by `create`, and given to this call alone.
    let Beginning { life, start, argument } = *unsafe { Box::from_raw(beginning.cast::<Beginning>()) };
    // Relaxed: only the number counts.
    life.counted.number.store(os_thread_id(), Ordering::Relaxed);
    LIFE.set(Some(life));
    // SAFETY: as promised to `create`.
    unsafe { start(argument) }
}

impl CountedThreads {
    /// None yet.
    pub(crate) fn new() -> CountedThreads {
        CountedThreads {
            all: Lock::new(Vec::new()),
            joined: Lock::new(Vec::new()),
            are_denied: AtomicBool::new(false),
            are_let_be: AtomicBool::new(false),
        }
    }

    /// From now on none can be made.
    pub(crate) fn deny(&self) {
        // Relaxed: nothing is published with it. Another of them hears of it when it hears of anything that was done after it.
        self.are_denied.store(true, Ordering::Relaxed);
    }

    /// From now on they count no more, whatever they do.
    pub(crate) fn let_be(&self) {
        // Relaxed: as above.
        self.are_let_be.store(true, Ordering::Relaxed);
    }

    /// What those do that are at work, in words.
    pub(crate) fn work(&self) -> Vec<String> {
        let all = self.all.lock();
        let at_work = all.iter().filter(|counted| !counted.rests());
        // Relaxed: only the number counts.
        let numbers = at_work.map(|counted| counted.number.load(Ordering::Relaxed));
        numbers
            .map(|number| match activity(number) {
                Activity::Calls(call) => format!("OS thread {number} is in {call}"),
                Activity::Runs | Activity::Other => format!("OS thread {number} runs"),
            })
            .collect()
    }

    /// Has `make` make a thread, with what it is given as first function and argument, and counts it until it ends. Returns the error that
    /// `make` does beside what it is known by, 0 if there is none; EPERM if none can be made.
    ///
    /// # Safety
    ///
    /// A new thread may call `start` with `argument`, and `make` has a thread do with what it is given nothing but that.
    pub(crate) unsafe fn create(
        self: Arc<Self>,
        start: Start,
        argument: *mut c_void,
        make: impl FnOnce(Start, *mut c_void) -> (c_int, pthread_t),
    ) -> c_int {
        // Relaxed: as in `deny`.
        if self.are_denied.load(Ordering::Relaxed) {
            return libc::EPERM;
        }
        let counted = Arc::<Counted>::default();
        self.all.lock().push(counted.clone());
        let life = Life { threads: self, counted: counted.clone() };
        let beginning = Box::into_raw(Box::new(Beginning { life, start, argument }));
        let (error, handle) = make(live, beginning.cast());
        if error == 0 {
            // Relaxed: only the number counts.
            counted.handle.store(handle, Ordering::Relaxed);
        } else {
            // SAFETY: there is no thread that has got it.
            drop(unsafe { Box::from_raw(beginning) });
        }
        error
    }

    /// Whether this is one of them.
    fn contain(&self, thread: pthread_t) -> bool {
        // Relaxed: as above.
        self.all.lock().iter().any(|counted| counted.handle.load(Ordering::Relaxed) == thread)
    }

    /// If this is one of them, who waits for its end does so until what this returns is dropped.
    pub(crate) fn begin_join(self: &Arc<Self>, thread: pthread_t) -> Option<Joining> {
        self.contain(thread).then(|| {
            self.joined.lock().push(thread);
            Joining { threads: self.clone(), thread }
        })
    }

    /// Whether one of them does something, so that others may hear of it, or who waits for its end is about to.
    pub(crate) fn are_at_work(&self) -> bool {
        // Relaxed: asked by the OS thread that sets it.
        if self.are_let_be.load(Ordering::Relaxed) {
            return false;
        }
        if self.joined.lock().iter().any(|&thread| !self.contain(thread)) {
            return true;
        }
        let all = self.all.lock();
        let rest = |counted: &Arc<Counted>| counted.rests();
        // Twice: one may have woken another after that was looked at.
        !(all.iter().all(rest) && all.iter().all(rest))
    }
}

impl Counted {
    /// Whether it waits, and would for ever if nobody else did anything.
    fn rests(&self) -> bool {
        // Relaxed: 0 until it runs, and only this counts.
        let wait = match self.number.load(Ordering::Relaxed) {
            0 => Wait::None,
            number => wait_of(number),
        };
        // Relaxed: only who looks reads and sets it.
        let looks =
            if wait == Wait::Descriptor { self.looks.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        // Relaxed: as above.
        self.looks.store(looks, Ordering::Relaxed);
        // Each look looks twice.
        wait == Wait::Thread || looks > 2 * PATIENCE
    }
}

/// What the OS thread with this number waits for without a limit.
fn wait_of(number: u32) -> Wait {
    let _section = Section::open();
    let line = fs::read_to_string(format!("/proc/self/task/{number}/syscall")).unwrap_or_default();
    wait_in(&line)
}

/// The same by a line in /proc.
fn wait_in(line: &str) -> Wait {
    let mut words = line.split_whitespace();
    let Some(call) = words.next().and_then(|word| word.parse::<c_long>().ok()) else { return Wait::None };
    let arguments: Vec<u64> =
        words.filter_map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect();
    let argument = |place: usize| arguments.get(place).copied().unwrap_or(0);
    // Those with a limit in milliseconds, which is negative for none, or a pointer to it.
    let is_endless = |place: usize| (argument(place) as c_int) < 0;
    let none = |place: usize| argument(place) == 0;
    #[cfg(target_arch = "x86_64")]
    match call {
        libc::SYS_epoll_wait if is_endless(3) => return Wait::Descriptor,
        libc::SYS_poll if is_endless(2) => return Wait::Descriptor,
        libc::SYS_select if none(4) => return Wait::Descriptor,
        _ => {}
    }
    match call {
        libc::SYS_futex if none(3) => Wait::Thread,
        libc::SYS_epoll_pwait if is_endless(3) => Wait::Descriptor,
        libc::SYS_ppoll if none(2) => Wait::Descriptor,
        libc::SYS_pselect6 if none(4) => Wait::Descriptor,
        libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_connect
        | libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_rt_sigtimedwait
        | libc::SYS_sendmsg
        | libc::SYS_sendto
        | libc::SYS_wait4
        | libc::SYS_waitid
        | libc::SYS_write
        | libc::SYS_writev => Wait::Descriptor,
        _ => Wait::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::original;

    #[test]
    fn a_line_tells_what_is_waited_for() {
        let line =
            |call: c_long, fourth: u64| format!("{call} 0x7 0x80 0x2 {fourth:#x} 0x0 0x0 0x7ffd 0x7f00\n");
        assert_eq!(wait_in("running\n"), Wait::None);
        assert_eq!(wait_in(""), Wait::None);
        assert_eq!(wait_in("-1 0x7ffd 0x7f00"), Wait::None);
        assert_eq!(wait_in(&line(libc::SYS_futex, 0)), Wait::Thread);
        assert_eq!(wait_in(&line(libc::SYS_futex, 0x7ffd)), Wait::None);
        assert_eq!(wait_in(&line(libc::SYS_epoll_pwait, 0xffff_ffff)), Wait::Descriptor);
        assert_eq!(wait_in(&line(libc::SYS_epoll_pwait, 50)), Wait::None);
        assert_eq!(wait_in(&line(libc::SYS_recvfrom, 0)), Wait::Descriptor);
        assert_eq!(wait_in(&line(libc::SYS_clock_nanosleep, 0)), Wait::None);
    }
    /// A thread that ends when it may.
    unsafe extern "C-unwind" fn waits(may_end: *mut c_void) -> *mut c_void {
        // SAFETY: the flag of the test below, which joins the thread.
        while !unsafe { &*may_end.cast::<AtomicBool>() }.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        may_end
    }

    #[test]
    #[cfg_attr(miri, ignore = "there are no threads of C's")]
    fn who_waits_for_one_that_has_ended_is_about_to_go_on() {
        let threads = Arc::new(CountedThreads::new());
        let mut may_end = AtomicBool::new(false);
        let flag = &raw mut may_end;
        let mut thread = 0;
        let make = |start, argument| {
            // SAFETY: the place is valid for writes, and `create` gives a function with what it takes.
            let error =
                unsafe { original::pthread_create(&mut thread, std::ptr::null(), Some(start), argument) };
            (error, thread)
        };
        // SAFETY: `waits` reads the flag, which outlives the thread.
        assert_eq!(unsafe { threads.clone().create(waits, flag.cast(), make) }, 0);
        let joining = threads.begin_join(thread).unwrap();
        // SAFETY: as above; the thread only reads it.
        unsafe { &*flag }.store(true, Ordering::SeqCst);
        // SAFETY: a thread that nobody else joins; its result is not asked for.
        assert_eq!(unsafe { libc::pthread_join(thread, std::ptr::null_mut()) }, 0);
        assert!(threads.begin_join(thread).is_none(), "it has ended");
        assert!(threads.are_at_work());
        drop(joining);
        assert!(!threads.are_at_work());
    }
}
