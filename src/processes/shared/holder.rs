//! A word in shared memory that says which process holds a lock, and how it passes from one to the next.
//!
//! Of each process one green thread at a time waits for the word, see [`lock`](super::lock). It sets a mark in the word, so that the holder
//! rings the lock's bell when it gives the word back, and waits for the bell and for the holder's end. All who wait hear both. Who has
//! waited and got the word leaves the mark, since others may wait too.
//!
//! | killed | what is left | who goes on |
//! |---|---|---|
//! | the holder | its identity in the word | all who wait have its pidfd; so has who comes |
//! | between giving back and ringing | a free word | all who wait have its pidfd |
//! | one that was woken, before it took the word | a free word, and a bell that rings | the others hear it too |
//! | one that has stopped the bell, before it took the word | a free word | the others, within [`LOOK`] |
//! | the holder, which others did not see take the word | its identity in the word | they have another's pidfd: within [`LOOK`] |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::hub::in_world::looking;
use crate::io::park_until_readable;
use crate::sys::bell::Bell;
use crate::sys::clock::Time;
use crate::sys::identity::{self, Life};
use crate::sys::poll::check;
use crate::sys::readiness::Interest;

/// Nobody holds it.
pub(super) const FREE: u64 = 0;
/// Somebody waits, or did: the holder is to ring.
const AWAITED: u64 = 1;

/// How often those who wait look again, though nothing was heard.
const LOOK: Duration = Duration::from_millis(20);
/// How many processes are remembered that have held it.
const KNOWN: usize = 8;

/// How it was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    GivenBack,
    /// Its holder has ended, and left it.
    Left,
}

/// Takes it, if nobody holds it, for the process `own`.
#[inline]
pub(super) fn take_free(word: &AtomicU64, own: u64) -> bool {
    // Acquire: what the last holder wrote, published by the Release in `give_back`, is seen. Relaxed: nothing is seen.
    word.compare_exchange(FREE, own, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

/// Gives it back. In the child of a fork, which does not hold what its parent does, nothing happens. Returns whether somebody waits.
#[inline]
pub(super) fn give_back(word: &AtomicU64, own: u64, bell: &Bell) -> bool {
    // Release: publishes what was written to who takes it next. Relaxed: nothing is seen.
    if word.compare_exchange(own, FREE, Ordering::Release, Ordering::Relaxed).is_ok() {
        return false;
    }
    // As above. It has the mark, or is another's.
    if word.compare_exchange(own | AWAITED, FREE, Ordering::Release, Ordering::Relaxed).is_err() {
        return false;
    }
    bell.notify();
    true
}

/// The processes that have held it, each with what tells of its end.
#[derive(Debug, Default)]
pub(super) struct Holders {
    known: Vec<(u64, OwnedFd)>,
}

/// What is known of the one that holds it.
enum Holder<'a> {
    Ended,
    Told(BorrowedFd<'a>),
    /// This process, or nothing tells of its end.
    Untold,
}

impl Holders {
    fn look_at(&mut self, holder: u64, own: u64) -> Holder<'_> {
        if holder == own {
            return Holder::Untold;
        }
        let place = match self.known.iter().position(|(known, _)| *known == holder) {
            Some(place) => place,
            None => {
                let pidfd = match identity::life(holder) {
                    Life::Ended => return Holder::Ended,
                    Life::Untold => return Holder::Untold,
                    Life::Told(pidfd) => pidfd,
                };
                if self.known.len() == KNOWN {
                    self.known.remove(0);
                }
                self.known.push((holder, pidfd));
                self.known.len() - 1
            }
        };
        let pidfd = self.known[place].1.as_fd();
        // Not if that cannot be asked: then it is asked again.
        if check(pidfd, Interest::READABLE).is_ok_and(|ready| !ready.is_none()) {
            self.known.remove(place);
            return Holder::Ended;
        }
        Holder::Told(self.known[place].1.as_fd())
    }

    /// Takes it when it is free, or its holder has ended. `None` if the deadline has passed.
    ///
    /// A kill or an enclosing time limit ends the wait by unwinding, and takes nothing.
    pub(super) fn take(&mut self, word: &AtomicU64, own: u64, bell: &Bell, deadline: Time) -> Option<Taken> {
        let mut has_waited = false;
        loop {
            // Relaxed: looked at again when it is changed.
            let seen = word.load(Ordering::Relaxed);
            let holder = seen & !AWAITED;
            if holder == FREE {
                let taken = if has_waited { own | AWAITED } else { own };
                // Acquire: as in `take_free`. Relaxed: nothing is seen.
                if word.compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Some(Taken::GivenBack);
                }
                continue;
            }
            let ends = match self.look_at(holder, own) {
                Holder::Ended => {
                    // Others may wait, and have seen the end or not.
                    // Acquire: as above; a process that has ended has published all that it wrote.
                    if word
                        .compare_exchange(seen, own | AWAITED, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok()
                    {
                        return Some(Taken::Left);
                    }
                    continue;
                }
                Holder::Told(pidfd) => Some(pidfd),
                Holder::Untold => None,
            };
            let now = Time::now();
            if now >= deadline {
                return None;
            }
            // Relaxed: the mark orders nothing.
            if seen & AWAITED == 0
                && word
                    .compare_exchange(seen, holder | AWAITED, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            // It may ring of a time before. If it has been given back since, this was the ring of that, and the word shows it.
            let hears = bell.clear();
            if word.load(Ordering::SeqCst) != holder | AWAITED {
                continue;
            }
            has_waited = true;
            let bell = hears.then(|| bell.as_fd());
            let fds: Vec<_> = bell.into_iter().chain(ends).collect();
            let _looking = looking();
            park_until_readable(&fds, "a shared lock", deadline.min(now.plus(LOOK)));
        }
    }
}
