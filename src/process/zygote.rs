//! A process that was forked while that was safe, and forks others later.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::born;
use super::builder::ProcessBuilder;
use super::handle::Process;
use super::nursery::{Birth, Nursery};
use super::wire::{Incoming, Outgoing, Wire};
use crate::error::StartError;
use crate::sys::lock::Lock;
use crate::sys::portable::{self, Loaded, Portable};

/// What a child of a zygote ends with whose function it does not know: nobody has asked for that.
const UNKNOWN: i32 = 1;

/// A process that starts others, safely at any time.
///
/// Start it at the top of `main`, before any OS threads. It stays small and has one OS thread, so its children never find a lock held for
/// ever, and starting one takes under a millisecond, whatever the size of this process has become. In return it runs functions, not
/// closures, and their argument travels.
///
/// SIGINT, SIGTERM and SIGHUP, which may be sent to all processes of a terminal, do not end the zygote, but its children as ever. If it is
/// killed, its children run on, and the next start makes another, where a fork is safe. It ends when it is dropped and its children have
/// ended, and with this process; what the kernel keeps of it then is taken as of a [`Process`] that was dropped.
///
/// # Examples
///
/// ```
/// use greenloop::process::Zygote;
///
/// fn length(text: String) -> usize {
///     text.len()
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let zygote = Zygote::start()?;
///     let thread = std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_millis(20)));
///     let child = zygote.run(length, "four".to_owned())?; // though there is another OS thread
///     assert_eq!(child.join()?, 4);
///     thread.join().unwrap();
///     Ok(())
/// }
/// ```
#[doc(alias = "forkserver")]
pub struct Zygote {
    /// Another takes its place when it is killed.
    nursery: Lock<Arc<Nursery>>,
    /// What code there was when it was started.
    loaded: Loaded,
}

impl Zygote {
    /// Forks a zygote off this process.
    ///
    /// # Errors
    ///
    /// As [`Process::start`].
    ///
    /// # Examples
    ///
    /// ```
    /// let zygote = greenloop::process::Zygote::start()?;
    /// assert_ne!(zygote.id(), std::process::id());
    /// # Ok::<(), greenloop::error::StartError>(())
    /// ```
    pub fn start() -> Result<Zygote, StartError> {
        portable::prepare();
        let loaded = Loaded::now();
        Ok(Zygote { nursery: Lock::new(Arc::new(nursery()?)), loaded })
    }

    /// Returns the number of the zygote itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let zygote = greenloop::process::Zygote::start()?;
    /// assert_ne!(zygote.id(), std::process::id());
    /// # Ok::<(), greenloop::error::StartError>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.nursery.lock().id()
    }

    /// Starts a process that calls `function` with `argument`.
    ///
    /// Yields until the process is there.
    ///
    /// # Errors
    ///
    /// [`StartError::UnknownFunction`] if the function's code was loaded later than the zygote. Those of fork(2). If the zygote was killed,
    /// as [`Process::start`].
    ///
    /// # Examples
    ///
    /// ```
    /// let zygote = greenloop::process::Zygote::start()?;
    /// let child = zygote.run(|number: u32| number + 1, 1)?; // a closure that captures nothing is a function
    /// assert_eq!(child.join()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run<A: Wire + 'static, T: Wire + 'static>(
        &self,
        function: fn(A) -> T,
        argument: A,
    ) -> Result<Process<T>, StartError> {
        Process::builder().start_in(self, function, argument)
    }
}

impl ProcessBuilder {
    /// Starts it from a zygote: see [`Zygote::run`].
    ///
    /// # Errors
    ///
    /// As [`Zygote::run`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Process, Zygote, current};
    ///
    /// let zygote = Zygote::start()?;
    /// let child = Process::builder().name("indexer").start_in(&zygote, |()| current().name().to_owned(), ())?;
    /// assert_eq!(child.join()?, "indexer");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_in<A: Wire + 'static, T: Wire + 'static>(
        self,
        zygote: &Zygote,
        function: fn(A) -> T,
        argument: A,
    ) -> Result<Process<T>, StartError> {
        let life = Portable::new(live::<A, T> as fn(Birth) -> i32);
        let function = Portable::new(function);
        if !zygote.loaded.has(life) || !zygote.loaded.has(function) {
            return Err(StartError::UnknownFunction);
        }
        let mut message = Outgoing::new();
        for Portable { address, signature } in [life, function] {
            message.put_bytes(&address.to_le_bytes());
            message.put_bytes(&signature.to_le_bytes());
        }
        argument.put(&mut message);
        message.check()?;
        let (bytes, descriptors) = message.into_parts();
        let copies: io::Result<Vec<OwnedFd>> =
            descriptors.iter().map(|descriptor| descriptor.try_clone_to_owned()).collect();
        let copies = copies?;
        drop(argument);
        born::running();
        loop {
            let nursery = zygote.nursery.lock().clone();
            let copies = copies.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
            match nursery.bear(self.clone(), bytes.clone(), copies) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => zygote.replace(&nursery)?,
                born => {
                    let born = born?;
                    born::enlist(&born);
                    return Ok(Process::new(born));
                }
            }
        }
    }
}

impl Zygote {
    /// Puts another in the place of one that has ended.
    fn replace(&self, ended: &Arc<Nursery>) -> Result<(), StartError> {
        let next = Arc::new(nursery()?);
        let mut current = self.nursery.lock();
        // Somebody may have been here before.
        if Arc::ptr_eq(&current, ended) {
            *current = next;
        }
        Ok(())
    }
}

fn nursery() -> Result<Nursery, StartError> {
    Nursery::start("zygote", &[], |birth| {
        let mut bytes = Incoming::new(&birth.bytes);
        match portable_of(&mut bytes).and_then(Portable::function::<fn(Birth) -> i32>) {
            Some(live) => live(birth),
            None => UNKNOWN,
        }
    })
}

fn portable_of(from: &mut Incoming<'_>) -> Option<Portable> {
    Some(Portable { address: u64::take(from)?, signature: u64::take(from)? })
}

/// The life of a process that calls a function of these types.
fn live<A: Wire + 'static, T: Wire + 'static>(birth: Birth) -> i32 {
    birth.live(|bytes, descriptors| {
        let mut from = Incoming::with_descriptors(&bytes, descriptors);
        let _life = portable_of(&mut from);
        let function = portable_of(&mut from).and_then(Portable::function::<fn(A) -> T>);
        let function = function.expect("a zygote of the same program has signed it");
        let argument = A::take(&mut from).expect("the bytes of the argument are a value of its type");
        function(argument)
    })
}

impl fmt::Debug for Zygote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Zygote").field("id", &self.id()).finish_non_exhaustive()
    }
}
