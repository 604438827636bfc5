//! Whether the C library's names lead here.

use std::fmt;

use super::parts::{Parts, patched};
use crate::sys::original;

/// What [`patch_all`](super::patch_all) and [`patch`](super::patch) have found: which of the C library's functions lead to
/// greenloop.
///
/// Its [`Display`](fmt::Display) form tells it at a glance.
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
}

#[derive(Clone, Debug)]
struct Name {
    name: &'static str,
    program: bool,
    libraries: bool,
}

impl Coverage {
    pub(super) fn look(identity: bool) -> Coverage {
        let names = original::linked().into_iter().map(|(name, address)| Name {
            name: name.to_str().unwrap_or_default(),
            program: original::is_ours(address),
            libraries: original::is_ours(original::found_by_libraries(name)),
        });
        Coverage { parts: patched(), names: names.collect(), identity }
    }

    /// The parts that are patched.
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// Whether every name leads here, from the program's own code and from shared libraries.
    pub fn is_complete(&self) -> bool {
        self.names.iter().all(|name| name.program && name.libraries)
    }

    /// Whether each green thread has its own [`std::thread::current`] and its own [`std::thread::panicking`]: with
    /// [`Parts::THREADS`], if std keeps these where they were looked for.
    pub fn has_identities(&self) -> bool {
        self.identity
    }

    /// The functions that the program's own code, std and C code that is compiled into it included, finds in the C library.
    pub fn missed_by_program(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().filter(|name| !name.program).map(|name| name.name)
    }

    /// The functions that shared libraries find in the C library: all, where greenloop is itself in a library that was loaded
    /// while the program ran.
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
        write!(formatter, "never: system calls without the C library, calls inside it")
    }
}
