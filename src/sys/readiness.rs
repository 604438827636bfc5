//! What a file descriptor is asked for, and what it answers: the words that all drivers share.

use std::fmt;
use std::ops::BitOr;
use std::time::Duration;

/// How long a wait lasts at most: then its hub looks whether what would end it is still there. Long enough that an idle hub costs nothing.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What to wait for on a file descriptor, and what it turned out to be ready for.
///
/// # Examples
///
/// ```
/// use greenloop::io::Interest;
///
/// assert_eq!(Interest::READABLE | Interest::WRITABLE, Interest::BOTH);
/// assert!(Interest::BOTH.is_writable());
/// assert!(!Interest::READABLE.is_writable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Nothing: not asked for by users, so that a wait always waits for something.
    pub(crate) const NONE: Interest = Interest(0);
    /// A read would not block: there are bytes, a connection to accept, the end of the stream, or an error.
    #[doc(alias = "EVENT_READ")]
    pub const READABLE: Interest = Interest(1);
    /// A write would not block: there is room, or an error.
    #[doc(alias = "EVENT_WRITE")]
    pub const WRITABLE: Interest = Interest(2);
    /// Either of the two.
    pub const BOTH: Interest = Interest(3);

    /// Returns `true` if [`READABLE`](Interest::READABLE) is part of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    ///
    /// assert!(Interest::BOTH.is_readable());
    /// assert!(!Interest::WRITABLE.is_readable());
    /// ```
    #[inline]
    pub const fn is_readable(self) -> bool {
        self.0 & Interest::READABLE.0 != 0
    }

    /// Returns `true` if [`WRITABLE`](Interest::WRITABLE) is part of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::io::Interest;
    ///
    /// assert!(Interest::BOTH.is_writable());
    /// assert!(!Interest::READABLE.is_writable());
    /// ```
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.0 & Interest::WRITABLE.0 != 0
    }

    #[inline]
    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    #[inline]
    pub(crate) const fn common(self, other: Interest) -> Interest {
        Interest(self.0 & other.0)
    }

    /// `self` if `condition`, else nothing.
    #[inline]
    pub(crate) const fn when(self, condition: bool) -> Interest {
        if condition { self } else { Interest::NONE }
    }
}

impl BitOr for Interest {
    type Output = Interest;

    #[inline]
    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.is_readable(), self.is_writable()) {
            (true, true) => "Interest::BOTH",
            (true, false) => "Interest::READABLE",
            (false, true) => "Interest::WRITABLE",
            (false, false) => "Interest::NONE",
        })
    }
}

/// What the kernel tells about one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Readiness {
    /// The word that was given with the descriptor.
    pub(crate) token: u64,
    pub(crate) ready: Interest,
    /// The end of the stream, an error or urgent data is there: a short read or write does not show that nothing is left.
    pub(crate) marked: bool,
}

/// `duration` for the kernel; what does not fit is for ever.
pub(crate) fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
