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
    pub(crate) fn contain(&self, thread: pthread_t) -> bool {
        // Relaxed: as above.
        self.all.lock().iter().any(|counted| counted.handle.load(Ordering::Relaxed) == thread)
    }

    /// Whether one of them does something, so that others may hear of it.
    pub(crate) fn are_at_work(&self) -> bool {
        // Relaxed: asked by the OS thread that sets it.
        if self.are_let_be.load(Ordering::Relaxed) {
            return false;
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
}
