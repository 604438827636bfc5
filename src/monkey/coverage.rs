//! Whether the C library's names lead here.

use std::fmt;

use super::parts::{Parts, patched};
use crate::sys::original;

/// Which of the C library's functions lead to greenloop, as [`patch_all`](super::patch_all) and [`patch`](super::patch) have found.
///
/// Its [`Display`](fmt::Display) form is a report of six lines.
///
/// # Examples
///
/// ```
/// let coverage = greenloop::monkey::patch_all();
/// assert!(coverage.is_complete(), "{coverage}");
/// ```
#[doc(alias = "MonkeyPatchWarning")]
#[derive(Clone, Debug)]
pub struct Coverage {
    parts: Parts,
    names: Vec<Name>,
    identity: bool,
    /// Why green threads cannot have thread-local variables of their own, if they were to.
    shared: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Name {
    name: &'static str,
    program: bool,
    libraries: bool,
}

impl Coverage {
    pub(super) fn look(identity: bool, shared: Option<&'static str>) -> Coverage {
        let names = original::linked().into_iter().map(|(name, address)| Name {
            name: name.to_str().unwrap_or_default(),
            program: original::is_ours(address),
            libraries: original::is_ours(original::found_by_libraries(name)),
        });
        Coverage { parts: patched(), names: names.collect(), identity, shared }
    }

    /// Returns the parts that are patched.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::monkey::{Parts, patch};
    ///
    /// assert_eq!(patch(Parts::TIME).parts(), Parts::TIME);
    /// assert_eq!(patch(Parts::DNS).parts(), Parts::TIME | Parts::DNS);
    /// ```
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// Returns `true` if every name leads to greenloop, from the program's own code and from shared libraries.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenloop::monkey::patch_all().is_complete());
    /// ```
    pub fn is_complete(&self) -> bool {
        self.names.iter().all(|name| name.program && name.libraries)
    }

    /// Returns `true` if each green thread has its own [`std::thread::current`] and its own [`std::thread::panicking`].
    ///
    /// This takes [`Parts::THREADS`], and a std that keeps these where greenloop looks for them.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::monkey::{Parts, patch};
    /// use std::thread;
    ///
    /// assert!(!patch(Parts::SOCKET).has_identities());
    /// assert!(patch(Parts::THREADS).has_identities());
    /// let id = greenloop::spawn(|| thread::current().id()).join().unwrap();
    /// assert_ne!(id, thread::current().id());
    /// ```
    pub fn has_identities(&self) -> bool {
        self.identity
    }

    /// Returns `true` if each green thread that is spawned from now on has thread-local variables of its own.
    ///
    /// This takes [`Parts::THREAD_LOCALS`], glibc, and x86_64 with Linux 5.9 or aarch64. Where it does not work, that part is not
    /// among [`parts`](Coverage::parts), nor is [`Parts::SPAWN`], the report says why, and all else is patched.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::monkey::{Parts, patch};
    /// use std::cell::Cell;
    ///
    /// thread_local! {
    ///     static COUNT: Cell<u32> = const { Cell::new(0) };
    /// }
    ///
    /// COUNT.set(7);
    /// assert!(!patch(Parts::SOCKET).has_thread_locals());
    /// assert_eq!(greenloop::spawn(|| COUNT.get()).join().unwrap(), 7);
    /// assert!(patch(Parts::THREAD_LOCALS).has_thread_locals());
    /// assert_eq!(greenloop::spawn(|| COUNT.get()).join().unwrap(), 0);
    /// ```
    pub fn has_thread_locals(&self) -> bool {
        self.parts.contains(Parts::THREAD_LOCALS)
    }

    /// Returns the functions that the program's own code finds in the C library, not in greenloop. Its own code includes std, and C
    /// code that is compiled into it.
    ///
    /// # Examples
    ///
    /// ```
    /// let coverage = greenloop::monkey::patch_all();
    /// assert_eq!(coverage.missed_by_program().count(), 0);
    /// ```
    pub fn missed_by_program(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().filter(|name| !name.program).map(|name| name.name)
    }

    /// Returns the functions that shared libraries find in the C library, not in greenloop. These are all functions if greenloop is
    /// itself in a library that was loaded while the program ran.
    ///
    /// # Examples
    ///
    /// ```
    /// let coverage = greenloop::monkey::patch_all();
    /// assert_eq!(coverage.missed_by_libraries().count(), 0);
    /// ```
    pub fn missed_by_libraries(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().filter(|name| !name.libraries).map(|name| name.name)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.names.len();
        let (program, libraries): (Vec<_>, Vec<_>) =
            (self.missed_by_program().collect(), self.missed_by_libraries().collect());
        writeln!(formatter, "patched: {:?}", self.parts)?;
        for (whose, missed) in [("the program", program), ("shared libraries", libraries)] {
            write!(formatter, "calls of {whose}: {} of {all} functions", all - missed.len())?;
            if !missed.is_empty() {
                write!(formatter, ", not {}", missed.join(", "))?;
            }
            writeln!(formatter)?;
        }
        let identity = if self.identity { "each green thread's own" } else { "the OS thread's" };
        writeln!(formatter, "std::thread::current: {identity}")?;
        write!(formatter, "thread-local variables: ")?;
        match self.shared {
            _ if self.has_thread_locals() => writeln!(formatter, "each green thread's own")?,
            None => writeln!(formatter, "the OS thread's")?,
            Some(reason) => writeln!(formatter, "the OS thread's, since {reason}")?,
        }
        write!(formatter, "never: system calls without the C library, calls inside it")
    }
}
