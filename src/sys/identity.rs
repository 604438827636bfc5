//! Which process it is: its number and when it began, since numbers are given again.

use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::memory::page_size;
use super::process;

/// The lowest bit is never set, so that a word with an identity has room for a mark.
const NUMBER_AT: u32 = 1;
/// No kernel gives greater numbers (PID_MAX_LIMIT).
const NUMBER_BITS: u32 = 22;
const BEGAN_AT: u32 = NUMBER_AT + NUMBER_BITS;

/// A page that the kernel empties in the child of a fork, of whatever kind.
static OWN: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// That of this process. Never zero, and even.
#[inline]
pub(crate) fn own() -> u64 {
    // Acquire: the page was mapped before its address was stored.
    let page = OWN.load(Ordering::Acquire);
    if page.is_null() {
        return find_own();
    }
    // SAFETY: mapped for ever, and zero or written as such a word.
    let word = unsafe { &*page };
    // Relaxed: one word, which orders nothing.
    match word.load(Ordering::Relaxed) {
        0 => {
            let own = compute();
            // Relaxed: as above.
            word.store(own, Ordering::Relaxed);
            own
        }
        own => own,
    }
}

/// Makes the page, where the kernel can; else it is computed each time.
#[cold]
fn find_own() -> u64 {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: without MAP_FIXED the kernel chooses a place that is free, so no memory in use is touched.
    let page = unsafe { libc::mmap(ptr::null_mut(), page_size(), access, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return compute();
    }
    // SAFETY: the page was just mapped, and nothing is in it.
    let is_emptied = unsafe { libc::madvise(page, page_size(), libc::MADV_WIPEONFORK) } == 0;
    // Release: as in `own`. Relaxed: nothing is seen.
    if !is_emptied
        || OWN.compare_exchange(ptr::null_mut(), page.cast(), Ordering::Release, Ordering::Relaxed).is_err()
    {
        // SAFETY: mapped above, and nobody knows of it.
        unsafe { libc::munmap(page, page_size()) };
        return compute();
    }
    own()
}

fn compute() -> u64 {
    let number = std::process::id();
    pack(number, stat(number).map_or(0, |(began, _)| began))
}

/// Clock ticks beyond 41 bits, which is seven hundred years, are left out.
fn pack(number: u32, began: u64) -> u64 {
    (began << BEGAN_AT) | (u64::from(number) << NUMBER_AT)
}

/// The process's number.
pub(crate) fn number(identity: u64) -> u32 {
    ((identity >> NUMBER_AT) & ((1 << NUMBER_BITS) - 1)) as u32
}

/// When the process began, in clock ticks since the machine did, and whether it has ended and is yet to be waited for. `None` if there is
/// none, or /proc does not tell.
fn stat(number: u32) -> Option<(u64, bool)> {
    let text = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name, in parentheses, may have anything in it.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    Some((fields.nth(18)?.parse().ok()?, has_ended))
}

/// What can be known of a process.
#[derive(Debug)]
pub(crate) enum Life {
    /// It has ended.
    Ended,
    /// It lives, or has just ended: the descriptor is readable then.
    Told(OwnedFd),
    /// It lives, and nothing tells of its end.
    Untold,
}

/// Whether a process lives. One that has its number now and began at another time is not the same.
pub(crate) fn life(identity: u64) -> Life {
    let number = number(identity);
    let opened = process::open_pidfd(number);
    let same = stat(number).map(|(began, has_ended)| (pack(number, began) == identity, has_ended));
    match (opened, same) {
        (_, Some((false, _))) => Life::Ended,
        (Ok(pidfd), _) => Life::Told(pidfd),
        (Err(_), Some((true, has_ended))) => {
            if has_ended {
                Life::Ended
            } else {
                Life::Untold
            }
        }
        (Err(error), None) => {
            if error.raw_os_error() == Some(libc::ESRCH) {
                Life::Ended
            } else {
                Life::Untold
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_another_of_its_number_does_not() {
        assert_eq!(number(own()), std::process::id());
        assert!(matches!(life(own()), Life::Told(_)));
        let before = pack(std::process::id(), stat(std::process::id()).unwrap().0 - 1);
        assert!(matches!(life(before), Life::Ended));
        assert!(matches!(life(pack((1 << NUMBER_BITS) - 1, 5)), Life::Ended));
    }

    #[test]
    fn a_child_is_another() {
        let parent = own();
        // SAFETY: the child asks for its number and ends.
        let child = unsafe { process::fork() }.unwrap();
        if child == 0 {
            let is_another = own() != parent && number(own()) == std::process::id();
            // SAFETY: takes no pointers.
            unsafe { libc::_exit(libc::c_int::from(!is_another)) };
        }
        process::block_until_ended(child).unwrap();
        assert_eq!(process::try_wait(child).unwrap(), Some(0));
        assert_eq!(own(), parent);
    }
}
