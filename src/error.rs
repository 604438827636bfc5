//! All public error types: one small type for each way to fail.
//!
//! Functions that work on a file descriptor return [`std::io::Result`] with std's kinds instead, so that they can take the place
//! of std's.
//!
//! Each error is `Send`, `Sync` and `'static`, if the value that it brings back is.
//!
//! So `?` makes of it a `Box<dyn Error + Send + Sync>`, and the error types of other crates.

mod channel;
mod manager;
mod process;
mod queue;
mod select;
mod supervisor;

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

pub use channel::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
pub use manager::ManagerError;
pub use process::{ProcessError, StartError, WorkError};
pub use queue::{GetError, PutError};
pub use select::{ReadyTimeoutError, SelectTimeoutError, TryReadyError, TrySelectError};
pub use supervisor::SupervisorError;

/// The payload with which a kill unwinds a green thread. It is also what a greenlet that exits leaves to its parent.
///
/// It travels by [`std::panic::resume_unwind`], so the panic hook never sees it. You can catch it with
/// [`std::panic::catch_unwind`]. Cleanup after that may wait.
///
/// # Examples
///
/// ```
/// use greenloop::{GreenletExit, spawn, yield_now};
/// use std::panic::catch_unwind;
///
/// let stubborn = spawn(|| catch_unwind(|| loop { yield_now() }).unwrap_err().is::<GreenletExit>());
/// yield_now();
/// stubborn.kill();
/// assert!(stubborn.join().unwrap()); // it caught the exit, and returned
/// ```
#[doc(alias = "CancelledError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Error)]
#[error("the green thread was killed")]
pub struct GreenletExit;

/// The payload that is raised in a greenlet that waits in the hub, if another one switches to it by hand.
///
/// It travels by [`std::panic::resume_unwind`], so the panic hook never sees it. In a green thread
/// [`join`](crate::JoinHandle::join) brings it. In the main greenlet nobody may be there who looks, so a line tells of it when it is
/// raised there.
#[doc(alias = "InvalidSwitchError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("switched by hand into a greenlet that waits in the hub")]
pub struct InvalidSwitch;

/// The error of a [`switch`](crate::greenlet::Greenlet::switch) or a throw that brought no value back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// The greenlet whose result would have been the value was ended by a [`GreenletExit`].
    #[error("the greenlet exited")]
    Exit(GreenletExit),
    /// The target waits for a value of another type. It contains the value that was sent.
    #[error("the target greenlet waits for a value of another type")]
    WrongType(Undelivered),
    /// The target has not started and there is no stack for it. It stays startable.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The OS thread ends: the switch was in a destructor of one of its thread-locals, or of a
    /// [greenlet-local](crate::greenlet_local) of main. No greenlet goes on there any more. The value that was sent is dropped.
    #[error("this OS thread ends: nothing is switched to any more")]
    Ending,
}

/// A value that was sent to a greenlet that waits for another type. It is in [`SwitchError::WrongType`].
///
/// The error may go to other OS threads, but the value need not be `Send`: it stays on the OS thread where it was sent, and only
/// that thread can take it. If you drop the error there, the value is dropped too. If you drop it elsewhere, the value is dropped
/// when that OS thread next refuses one, or ends, in a [hub callback](crate::hub#callbacks).
///
/// With the feature `monkey`, a green thread that is isolated counts as an OS thread of its own.
///
/// # Examples
///
/// ```
/// use greenloop::error::SwitchError;
/// use greenloop::greenlet::{AnyGreenlet, Greenlet};
///
/// let adds_one = AnyGreenlet::from(Greenlet::new(|number: u32| number + 1));
/// let Err(SwitchError::WrongType(refused)) = adds_one.switch("text".to_owned()) else { unreachable!("it takes a number") };
/// assert_eq!(*refused.into_inner().unwrap().downcast::<String>().unwrap(), "text");
/// ```
pub struct Undelivered(Arc<()>);

/// A refused value.
struct Refused {
    /// What its [`Undelivered`] holds too.
    key: Arc<()>,
    /// `None` once it was taken.
    value: Option<Box<dyn Any>>,
    /// Drops a value that nobody has taken.
    discard: fn(Box<dyn Any>),
}

impl Drop for Refused {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            (self.discard)(value);
        }
    }
}

thread_local! {
    /// What was sent on this OS thread and refused.
    static REFUSED: RefCell<Vec<Refused>> = const { RefCell::new(Vec::new()) };
}

impl Undelivered {
    /// Of `value`, which `discard` drops if nobody takes it.
    #[cold]
    pub(crate) fn new(value: Box<dyn Any>, discard: fn(Box<dyn Any>)) -> Undelivered {
        let key = Arc::new(());
        let forsaken: Vec<_> = REFUSED.with_borrow_mut(|refused| {
            let forsaken = refused.extract_if(.., |refused| Arc::strong_count(&refused.key) == 1).collect();
            refused.push(Refused { key: key.clone(), value: Some(value), discard });
            forsaken
        });
        // With nothing borrowed: their destructors are others' code.
        drop(forsaken);
        Undelivered(key)
    }

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// Returns the error itself on an OS thread other than the one on which the value was sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::error::SwitchError;
    /// use greenloop::greenlet::{AnyGreenlet, Greenlet};
    ///
    /// let greenlet = Greenlet::new(|number: u32| number);
    /// let any: &AnyGreenlet = &greenlet;
    /// let Err(SwitchError::WrongType(refused)) = any.switch('a') else { unreachable!("it takes a number") };
    /// let refused = std::thread::spawn(move || refused.into_inner().unwrap_err()).join().unwrap();
    /// assert_eq!(*refused.into_inner().unwrap().downcast::<char>().unwrap(), 'a'); // here it was sent
    /// ```
    pub fn into_inner(self) -> Result<Box<dyn Any>, Undelivered> {
        self.take().ok_or(self)
    }

    fn take(&self) -> Option<Box<dyn Any>> {
        // Where the OS thread's variables are gone, so is the value.
        let taken = REFUSED.try_with(|refused| {
            let mut refused = refused.borrow_mut();
            let place = refused.iter().position(|refused| Arc::ptr_eq(&refused.key, &self.0))?;
            refused.swap_remove(place).value.take()
        });
        taken.ok().flatten()
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl fmt::Debug for Undelivered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Undelivered(..)")
    }
}

/// The error of [`set_parent`](crate::greenlet::AnyGreenlet::set_parent). The parent is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParentError {
    /// The new parent is the greenlet itself or one of its descendants.
    #[error("a greenlet cannot be its own ancestor")]
    Cycle,
    /// The main greenlet and green threads have no parent.
    #[error("the main greenlet and green threads have no parent")]
    Main,
}

/// The error of a green thread or a greenlet that got no stack; or, with the feature `monkey`, no thread-local variables of its own.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StackError {
    /// More was asked for than any stack has.
    #[error("a stack of {requested} bytes was asked for, but the largest has {limit}")]
    TooLarge {
        /// The bytes asked for.
        requested: usize,
        /// The bytes that the largest stack has.
        limit: usize,
    },
    /// The kernel allows the process no more memory mappings, and the guard of this stack would need two.
    ///
    /// From Linux 6.13 on guards need none, unless the memory is locked.
    #[error(
        "no memory mapping left for the guard of another stack: \
         raise vm.max_map_count, or use Linux 6.13 or later, where guards need none"
    )]
    MapLimit(#[source] io::Error),
    /// The kernel has no address space or no memory for another stack.
    #[error("no memory for another stack")]
    OutOfMemory(#[source] io::Error),
    /// There are no thread-local variables for another isolated green thread.
    #[cfg(feature = "monkey")]
    #[error("no thread-local variables for another isolated green thread")]
    Variables(#[source] io::Error),
}

// A value that nothing changes.
impl UnwindSafe for StackError {}
impl RefUnwindSafe for StackError {}

impl StackError {
    fn kind(&self) -> io::ErrorKind {
        match self {
            StackError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            StackError::MapLimit(_) | StackError::OutOfMemory(_) => io::ErrorKind::OutOfMemory,
            #[cfg(feature = "monkey")]
            StackError::Variables(error) => error.kind(),
        }
    }
}

impl From<StackError> for io::Error {
    fn from(error: StackError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

/// The error of a wait while the green thread unwinds.
///
/// While a green thread unwinds, [`std::thread::panicking`] is true for every green thread of its OS thread, so others should not
/// run. IO in its destructors that would have to wait fails with this error, as an [`io::Error`] of kind `Other`. A sleep returns
/// at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a green thread that unwinds cannot wait")]
pub struct Unwinding;

impl From<Unwinding> for io::Error {
    fn from(error: Unwinding) -> io::Error {
        io::Error::other(error)
    }
}

/// The error of a wait while the OS thread ends, in a destructor of a thread-local or of a
/// [greenlet-local](crate::greenlet_local) of main.
///
/// Nothing can wait there any more. IO that would have to wait fails with this error, as an [`io::Error`] of kind `Other`. A wait
/// that has no error to return panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this OS thread ends: nothing waits here any more")]
pub struct ThreadEnds;

impl From<ThreadEnds> for io::Error {
    fn from(error: ThreadEnds) -> io::Error {
        io::Error::other(error)
    }
}

/// The payload that [`signal::raise_in_main`](crate::signal::raise_in_main) raises in the main greenlet.
#[doc(alias = "KeyboardInterrupt")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("signal {signal} came")]
pub struct Interrupted {
    /// The signal's number.
    pub signal: i32,
}

/// The output of a process whose time was over.
///
/// It is in the [`io::Error`] of kind `TimedOut` of [`Command::output_timeout`](crate::process::Command::output_timeout) and its
/// siblings; [`io::Error::downcast`] finds it there.
#[doc(alias = "TimeoutExpired")]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the process was not done in time")]
pub struct PartialOutput {
    /// What came from its standard output, if that was piped.
    pub stdout: Vec<u8>,
    /// What came from its standard error, if that was piped.
    pub stderr: Vec<u8>,
}

impl From<PartialOutput> for io::Error {
    fn from(output: PartialOutput) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, output)
    }
}

/// The error of [`join`](crate::JoinHandle::join): a green thread, or a job of a pool, left no value.
///
/// Its text names the green thread and the place where it was spawned. An [`io::Error`] can be made of it, so `?` works in a
/// function that returns [`io::Result`].
///
/// # Examples
///
/// ```
/// use greenloop::Builder;
///
/// let worker = Builder::new().name("worker").spawn(|| -> u32 { std::panic::resume_unwind(Box::new("no ink")) })?;
/// let error = worker.join().unwrap_err();
/// assert!(error.to_string().starts_with("green thread 'worker', spawned at "));
/// assert!(error.to_string().ends_with(", panicked: no ink"));
/// assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "no ink");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct JoinError(Box<Unfinished>);

/// Who left no value, and why.
struct Unfinished {
    name: Option<Arc<str>>,
    /// `None` for a job of a pool of OS threads, and for an element of a pool's map that was killed.
    place: Option<&'static Location<'static>>,
    cause: Cause,
}

enum Cause {
    Killed,
    Panicked {
        text: String,
        /// Never locked: it makes what is only `Send` be `Sync` too, as nobody sees it who does not own it.
        payload: Mutex<Box<dyn Any + Send>>,
    },
    Stack(StackError),
}

/// How a green thread ended that did not return, as it is kept until somebody asks.
pub(crate) enum Failure {
    Killed,
    Panicked(Box<dyn Any + Send>),
    Stack(StackError),
}

impl Failure {
    pub(crate) fn from_payload(payload: Box<dyn Any + Send>) -> Failure {
        if payload.is::<GreenletExit>() { Failure::Killed } else { Failure::Panicked(payload) }
    }

    /// The error, of the green thread of that name which was spawned there.
    #[cold]
    pub(crate) fn of(self, name: Option<&Arc<str>>, place: &'static Location<'static>) -> JoinError {
        self.into_error(name.cloned(), Some(place))
    }

    /// The error, of a job that is no green thread.
    #[cold]
    pub(crate) fn of_job(self) -> JoinError {
        self.into_error(None, None)
    }

    fn into_error(self, name: Option<Arc<str>>, place: Option<&'static Location<'static>>) -> JoinError {
        let cause = match self {
            Failure::Killed => Cause::Killed,
            Failure::Panicked(payload) => {
                Cause::Panicked { text: payload_text(&*payload), payload: Mutex::new(payload) }
            }
            Failure::Stack(error) => Cause::Stack(error),
        };
        JoinError(Box::new(Unfinished { name, place, cause }))
    }
}

// A value that nothing changes.
impl UnwindSafe for JoinError {}
impl RefUnwindSafe for JoinError {}

impl JoinError {
    /// Returns `true` if a kill ended the green thread, or if its OS thread ended while it was parked.
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| ());
    /// task.kill();
    /// assert!(task.join().unwrap_err().is_killed());
    /// ```
    pub fn is_killed(&self) -> bool {
        matches!(self.0.cause, Cause::Killed)
    }

    /// Returns `true` if a panic, an uncaught timeout or another payload ended the green thread.
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| std::panic::resume_unwind(Box::new("broken")));
    /// assert!(task.join().unwrap_err().is_panic());
    /// ```
    pub fn is_panic(&self) -> bool {
        matches!(self.0.cause, Cause::Panicked { .. })
    }

    /// Returns the reason if there was no stack to run the green thread on.
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| ());
    /// task.kill();
    /// assert!(task.join().unwrap_err().stack_error().is_none()); // it was killed
    /// ```
    pub fn stack_error(&self) -> Option<&StackError> {
        match &self.0.cause {
            Cause::Stack(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the green thread's name, if it had one.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Builder;
    ///
    /// let worker = Builder::new().name("worker").spawn(|| ())?;
    /// worker.kill();
    /// assert_eq!(worker.join().unwrap_err().name(), Some("worker"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Returns the place in the source where the green thread was spawned.
    ///
    /// It is `None` for what was not a green thread, such as a job of a [`ThreadPool`](crate::threadpool::ThreadPool).
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| ());
    /// let place = task.spawned_at();
    /// task.kill();
    /// assert_eq!(task.join().unwrap_err().spawned_at(), Some(place));
    /// ```
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.0.place
    }

    /// Returns the payload of the panic.
    ///
    /// # Panics
    ///
    /// Panics if the green thread did not panic: see [`try_into_panic`](JoinError::try_into_panic).
    ///
    /// # Examples
    ///
    /// ```
    /// let task = greenloop::spawn(|| std::panic::resume_unwind(Box::new("broken")));
    /// let payload = task.join().unwrap_err().into_panic();
    /// assert_eq!(payload.downcast_ref(), Some(&"broken"));
    /// ```
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => panic!("there is no payload of a panic: {error}"),
        }
    }

    /// Returns the payload of the panic, if there was one.
    ///
    /// # Errors
    ///
    /// Returns the error itself if the green thread did not panic.
    ///
    /// # Examples
    ///
    /// ```
    /// let forever = greenloop::spawn(|| loop { greenloop::yield_now() });
    /// forever.kill();
    /// assert!(forever.join().unwrap_err().try_into_panic().unwrap_err().is_killed());
    /// ```
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, JoinError> {
        if self.is_panic() { Ok(self.into_payload()) } else { Err(self) }
    }

    /// Returns the payload, as [`std::thread::JoinHandle::join`] gives it. You can give it to [`std::panic::resume_unwind`].
    ///
    /// The payload of a kill is [`GreenletExit`]. If there was no stack, it is the [`StackError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{GreenletExit, spawn};
    ///
    /// let task = spawn(|| ());
    /// task.kill();
    /// assert!(task.join().unwrap_err().into_payload().is::<GreenletExit>());
    /// ```
    pub fn into_payload(self) -> Box<dyn Any + Send + 'static> {
        match self.0.cause {
            Cause::Killed => Box::new(GreenletExit),
            Cause::Panicked { payload, .. } => payload.into_inner().unwrap_or_else(PoisonError::into_inner),
            Cause::Stack(error) => Box::new(error),
        }
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => GreenThread { name: self.name.as_deref(), place }.fmt(formatter),
            None => formatter.write_str("a job"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.cause {
            Cause::Killed => write!(formatter, "{} was killed", self.0),
            Cause::Panicked { text, .. } => write!(formatter, "{} panicked: {text}", self.0),
            Cause::Stack(error) => write!(formatter, "{} could not begin: {error}", self.0),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.stack_error()?.source()
    }
}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        let kind = error.stack_error().map_or(io::ErrorKind::Other, StackError::kind);
        io::Error::new(kind, error)
    }
}

/// The words for a green thread, up to what it does.
pub(crate) struct GreenThread<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) place: &'static Location<'static>,
}

impl fmt::Display for GreenThread<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.unwrap_or("<unnamed>");
        write!(formatter, "green thread '{name}', spawned at {},", self.place)
    }
}

/// What a panic said, where its payload is text or an error of the crate's.
pub(crate) fn payload_text(payload: &(dyn Any + Send)) -> String {
    fn text<T: Any + fmt::Display>(payload: &(dyn Any + Send)) -> Option<String> {
        payload.downcast_ref::<T>().map(T::to_string)
    }
    text::<&'static str>(payload)
        .or_else(|| text::<String>(payload))
        .or_else(|| text::<Elapsed>(payload))
        .or_else(|| text::<LoopExit>(payload))
        .or_else(|| text::<InvalidSwitch>(payload))
        .or_else(|| text::<Interrupted>(payload))
        .unwrap_or_else(|| "Box<dyn Any>".to_owned())
}

/// The error of a [`with_timeout`](crate::with_timeout) whose time ran out.
///
/// It is also the payload with which a time limit, this or a [`Timeout`](crate::Timeout), unwinds what it interrupts. An [`io::Error`] of
/// kind `TimedOut` can be made of it, so `?` works in a function that returns [`io::Result`].
///
/// # Examples
///
/// ```
/// use greenloop::{Elapsed, Timeout, sleep};
/// use std::panic::catch_unwind;
/// use std::time::Duration;
///
/// let mut timeout = Timeout::new(Duration::from_millis(1));
/// timeout.start().unwrap();
/// let payload = catch_unwind(|| sleep(Duration::from_secs(60))).unwrap_err();
/// assert!(payload.is::<Elapsed>());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the time limit of {limit:?} is over")]
pub struct Elapsed {
    pub(crate) limit: std::time::Duration,
    pub(crate) id: u64,
}

impl From<Elapsed> for io::Error {
    fn from(error: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, error)
    }
}

impl Elapsed {
    /// Returns the limit that ran out.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{sleep, with_timeout};
    /// use std::time::Duration;
    ///
    /// let elapsed = with_timeout(Duration::from_millis(1), || sleep(Duration::from_secs(60))).unwrap_err();
    /// assert_eq!(elapsed.limit(), Duration::from_millis(1));
    /// ```
    pub fn limit(&self) -> std::time::Duration {
        self.limit
    }
}

/// The error of a wait whose own time limit ran out first.
///
/// # Examples
///
/// ```
/// use greenloop::sync::{Semaphore, TimedOut};
/// use std::time::Duration;
///
/// let semaphore = Semaphore::new(0);
/// assert_eq!(semaphore.acquire_timeout(Duration::from_millis(1)).unwrap_err(), TimedOut);
/// ```
#[doc(alias = "TimeoutError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Error)]
#[error("timed out")]
pub struct TimedOut;

impl From<TimedOut> for io::Error {
    fn from(error: TimedOut) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, error)
    }
}

/// A deadlock: nothing in the process can ever wake the main greenlet.
///
/// The hub raises it in the main greenlet, in place of sleeping for ever. The green threads that it names stay parked, and the
/// hub stays usable.
///
/// It is not raised while something could still wake a green thread: a timer, a descriptor, a job of a pool, or another OS thread of the
/// process, whatever that does. When the last of them is gone, it comes. While there is a listener of a [signal](crate::signal), it
/// never comes.
///
/// Whoever catches it, it is reported to the hook of [`set_uncaught_hook`](crate::hub::set_uncaught_hook), which is standard error unless it was
/// set, with a [dump](crate::inspect) of the hub: grouped, and of 10,000 greenlets at most.
///
/// In its text, a green thread that joins another one waits on `the end of green thread 4`. The number is the other's
/// [`id`](crate::JoinHandle::id).
///
/// # Examples
///
/// ```
/// use greenloop::{LoopExit, event::Event};
///
/// let deadlock = std::panic::catch_unwind(|| Event::new().wait()).unwrap_err();
/// assert!(deadlock.is::<LoopExit>());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct LoopExit {
    pub(crate) parked: Vec<Parked>,
}

impl LoopExit {
    /// Returns every parked green thread, with what it waits on. The main greenlet comes first, and last come those of
    /// [workers](crate::workers), which wait for ever too.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{LoopExit, event::Event};
    ///
    /// let deadlock = std::panic::catch_unwind(|| Event::new().wait()).unwrap_err();
    /// let deadlock = deadlock.downcast::<LoopExit>().unwrap();
    /// assert_eq!(deadlock.parked().len(), 1);
    /// assert_eq!(deadlock.parked()[0].name(), "main");
    /// ```
    pub fn parked(&self) -> &[Parked] {
        &self.parked
    }
}

impl fmt::Display for LoopExit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "this wait would block for ever: nothing can wake the hub")?;
        self.parked.iter().try_for_each(|parked| write!(formatter, "\n  {parked}"))
    }
}

/// A parked green thread, as a [`LoopExit`] names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub(crate) name: String,
    pub(crate) spawned_at: Option<&'static Location<'static>>,
    pub(crate) waits_on: String,
}

impl Parked {
    /// Returns the green thread's name. It is `main` for the main greenlet, and `<unnamed>` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{Builder, LoopExit, sync::Semaphore, yield_now};
    /// use std::panic::catch_unwind;
    ///
    /// static NEVER: Semaphore = Semaphore::new(0);
    /// let waiter = Builder::new().name("waiter").spawn(|| NEVER.wait())?;
    /// yield_now();
    /// let deadlock = catch_unwind(|| NEVER.wait()).unwrap_err().downcast::<LoopExit>().unwrap();
    /// let names: Vec<_> = deadlock.parked().iter().map(|parked| parked.name()).collect();
    /// assert_eq!(names, ["main", "waiter"]);
    /// # waiter.kill();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the place in the source where the green thread was spawned. It is `None` for the main greenlet.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{LoopExit, spawn, sync::Semaphore, yield_now};
    /// use std::panic::catch_unwind;
    ///
    /// static NEVER: Semaphore = Semaphore::new(0);
    /// let waiter = spawn(|| NEVER.wait());
    /// yield_now();
    /// let deadlock = catch_unwind(|| NEVER.wait()).unwrap_err().downcast::<LoopExit>().unwrap();
    /// assert_eq!(deadlock.parked()[0].spawned_at(), None);
    /// assert_eq!(deadlock.parked()[1].spawned_at(), Some(waiter.spawned_at()));
    /// # waiter.kill();
    /// ```
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.spawned_at
    }

    /// Returns what the green thread waits on, for instance `Mutex::lock` or `fd 7 to be readable`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{LoopExit, event::Event};
    ///
    /// let deadlock = std::panic::catch_unwind(|| Event::new().wait()).unwrap_err();
    /// let deadlock = deadlock.downcast::<LoopExit>().unwrap();
    /// assert_eq!(deadlock.parked()[0].waits_on(), "Event::wait");
    /// ```
    pub fn waits_on(&self) -> &str {
        &self.waits_on
    }
}

impl fmt::Display for Parked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "green thread '{}'", self.name)?;
        if let Some(place) = self.spawned_at {
            write!(formatter, ", spawned at {place},")?;
        }
        write!(formatter, " waits on {}", self.waits_on)
    }
}

/// An error that a [server](crate::server) gives to its `on_error` hook. The server goes on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError<A> {
    /// Accepting has failed, and is tried again after a while.
    #[error("cannot accept: {0}")]
    Accept(#[source] io::Error),
    /// The handler, or the wrapper, of what came from this peer has returned an error.
    #[error("a handler failed: {1}")]
    Handler(A, #[source] io::Error),
}

// A value that nothing changes.
impl<A: UnwindSafe> UnwindSafe for ServerError<A> {}
impl<A: RefUnwindSafe> RefUnwindSafe for ServerError<A> {}

/// The error of a [`Server`](crate::server::Server) that was stopped or has failed. It comes in an [`io::Error`] of kind
/// `NotConnected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Error)]
#[error("the server is closed")]
pub struct ServerClosed;

impl From<ServerClosed> for io::Error {
    fn from(error: ServerClosed) -> io::Error {
        io::Error::new(io::ErrorKind::NotConnected, error)
    }
}

/// The error of a [`Pool`](crate::pool::Pool) that had no room in the time allowed. It contains what was to run.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("the pool is full")]
pub struct PoolFull<F = ()>(pub F);

impl<F> PoolFull<F> {
    /// Returns what was to run.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(0);
    /// let refused = pool.try_spawn(|| 5).unwrap_err().into_inner();
    /// assert_eq!(refused(), 5);
    /// ```
    pub fn into_inner(self) -> F {
        self.0
    }
}

impl<F> fmt::Debug for PoolFull<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PoolFull(..)")
    }
}
