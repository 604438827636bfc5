//! What a test can ask and tell its world.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::faults::Faults;
use super::host::Host;
use crate::sys::clock::instant_now;
use crate::sys::virtual_clock::{self, EPOCH, VirtualClock};
use crate::task::{idle, sleep};

/// The world in which a test runs, see [`run`](fn@super::run).
///
/// It is `Clone`, for green threads of the test.
#[derive(Clone)]
pub struct World {
    clock: Arc<VirtualClock>,
    /// It stays on its OS thread.
    _thread: PhantomData<*const ()>,
}

impl World {
    pub(super) fn new(clock: Arc<VirtualClock>) -> World {
        World { clock, _thread: PhantomData }
    }

    /// Returns how much time has passed in the world since its beginning.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing;
    /// use std::time::Duration;
    ///
    /// testing::run(|world| {
    ///     assert_eq!(world.elapsed(), Duration::ZERO);
    ///     greenloop::sleep(Duration::from_nanos(86_400_000_000_001));
    ///     assert_eq!(world.elapsed(), Duration::from_nanos(86_400_000_000_001));
    /// });
    /// ```
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Returns the present time, for deadlines.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{channel, testing};
    /// use std::time::Duration;
    ///
    /// testing::run(|world| {
    ///     let (_sender, receiver) = channel::bounded::<()>(0);
    ///     let start = world.now();
    ///     let deadline = start + Duration::from_secs(5);
    ///     assert!(receiver.recv_deadline(deadline).is_err());
    ///     assert_eq!(world.now(), deadline);
    /// });
    /// ```
    pub fn now(&self) -> Instant {
        instant_now()
    }

    /// Returns the date: a world begins with the year 2000, in UTC.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing;
    /// use std::time::{Duration, SystemTime};
    ///
    /// testing::run(|world| {
    ///     greenloop::sleep(Duration::from_secs(1));
    ///     let date = world.system_time().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    ///     assert_eq!(date, Duration::from_secs(946_684_801));
    /// });
    /// ```
    pub fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + EPOCH + self.elapsed()
    }

    /// Waits until nobody else can run without time passing: each other green thread has ended, or waits for somebody, for a time, or for
    /// a descriptor on which nothing comes. This is `synctest.Wait` of Go.
    ///
    /// Yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{spawn, testing, yield_now};
    /// use std::{cell::Cell, rc::Rc, time::Duration};
    ///
    /// testing::run(|world| {
    ///     let steps = Rc::new(Cell::new(0));
    ///     let task = spawn({
    ///         let steps = steps.clone();
    ///         move || {
    ///             (0..10).for_each(|_| yield_now());
    ///             steps.set(1);
    ///             greenloop::sleep(Duration::from_secs(1));
    ///             steps.set(2);
    ///         }
    ///     });
    ///     world.settle();
    ///     assert_eq!((steps.get(), world.elapsed()), (1, Duration::ZERO));
    ///     task.join().unwrap();
    /// });
    /// ```
    #[doc(alias = "Wait")]
    pub fn settle(&self) {
        idle();
    }

    /// Lets so much time pass, with all that falls due in it, and waits until the world has [settled](World::settle).
    ///
    /// Yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing;
    /// use std::time::Duration;
    ///
    /// testing::run(|world| {
    ///     let task = greenloop::spawn_later(Duration::from_secs(5), || ());
    ///     world.advance(Duration::from_millis(4_999));
    ///     assert!(!task.is_finished());
    ///     world.advance(Duration::from_millis(1));
    ///     assert!(task.is_finished());
    /// });
    /// ```
    pub fn advance(&self, duration: Duration) {
        sleep(duration);
        self.settle();
    }

    /// Has time stand until what this returns is dropped: meanwhile the world waits in real time for what other OS threads or processes do.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{channel, testing, with_timeout};
    /// use std::{thread, time::Duration};
    ///
    /// testing::run(|world| {
    ///     let (sender, receiver) = channel::bounded(1);
    ///     let other = thread::spawn(move || sender.send(thread::current().id()).unwrap());
    ///     let hold = world.hold();
    ///     let id = with_timeout(Duration::from_secs(1), || receiver.recv()).unwrap().unwrap();
    ///     drop(hold);
    ///     assert_eq!((id, world.elapsed()), (other.thread().id(), Duration::ZERO));
    ///     other.join().unwrap();
    /// });
    /// ```
    #[must_use = "time goes on when it is dropped"]
    pub fn hold(&self) -> Hold {
        Hold { _hold: self.clock.hold() }
    }

    /// Has OS threads that are to be made in this world be refused from now on, with EPERM.
    ///
    /// Those of [pools](crate::threadpool) are made all the same, and those for which `monkey` makes
    /// [green threads](crate::monkey#threads-as-green-threads).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing;
    /// use std::{io::ErrorKind, thread};
    ///
    /// testing::run(|world| {
    ///     world.deny_threads();
    ///     let refused = thread::Builder::new().spawn(|| ()).unwrap_err();
    ///     assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    /// });
    /// ```
    #[cfg(feature = "monkey")]
    pub fn deny_threads(&self) {
        self.clock.threads().deny();
    }

    /// Returns what is to go wrong here, to be set: at first nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing;
    /// use std::time::Duration;
    ///
    /// testing::run(|world| {
    ///     world.faults().refuse(0.01).reset(0.001).latency(Duration::ZERO..=Duration::from_millis(50));
    ///     // …
    /// #   let listener = greenloop::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// #   assert!(greenloop::net::TcpStream::connect(listener.local_addr().unwrap()).is_ok());
    /// });
    /// ```
    pub fn faults(&self) -> Faults {
        Faults::here()
    }

    /// Makes a host with this address, one of loopback.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing;
    ///
    /// testing::run(|world| {
    ///     let host = world.host([127, 0, 0, 7].into());
    ///     assert_eq!(host.spawn(|| 5).join().unwrap(), 5);
    /// });
    /// ```
    pub fn host(&self, address: IpAddr) -> Host {
        Host::new(address)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("World").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}

/// While it lives, the time of its world stands. Made by [`World::hold`].
#[derive(Debug)]
pub struct Hold {
    _hold: virtual_clock::Hold,
}
