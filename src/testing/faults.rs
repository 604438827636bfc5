//! What is to go wrong in a world.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::guide::Guide;
use super::schedule::Schedule;
use crate::hub::faults::{self, Fault};
use crate::hub::hub;
use crate::sys::random::Random;

/// What is to go wrong in a [world](super::World), made by [`World::faults`](super::World::faults).
///
/// A chance is that of one operation, from 0 to 1; at first all are 0. Whether it does is a choice of the world's schedule: the same seed has
/// the same go wrong, a `GREENLOOP_SCHEDULE` contains it, [`explore`](fn@super::explore) takes out what a failure does not need, and a
/// [depth-first search](super::Search::depth_first) tries each fault that has a chance at each place. In a [`run`](fn@super::run)
/// without a seed it comes from a seed of its own, and who is ready runs in order of arrival.
///
/// They reach what waits by this crate: [`net`](crate::net) and [`fs`](crate::fs), on the world's OS thread.
#[cfg_attr(
    feature = "monkey",
    doc = "What is patched too: `connect`, `recv`, `send`, `read`, `write` and their siblings, so std's sockets and those of C. Datagrams: what `send`, `sendto` and `sendmsg` send."
)]
/// Not what asks not to wait, such as a socket in nonblocking mode that is connected, nor pipes. Of datagrams those of UDP: a Unix socket
/// loses none on Linux.
///
/// # Examples
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream};
/// use greenloop::testing::{Search, explore};
/// use std::io::{Read, Write};
///
/// // Who asks again when the connection fails gets the answer, whatever goes wrong when.
/// explore(Search::random(20), |world| {
///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
///     let server = listener.local_addr().unwrap();
///     let serving = greenloop::spawn(move || {
///         while let Ok((mut stream, _)) = listener.accept() {
///             greenloop::spawn(move || stream.write_all(b"the answer"));
///         }
///     });
///     world.faults().refuse(0.1).reset(0.1).short(0.3);
///     let ask = || {
///         let mut answer = String::new();
///         TcpStream::connect(server)?.read_to_string(&mut answer)?;
///         if answer == "the answer" { Ok(answer) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
///     };
///     let answer = std::iter::repeat_with(ask).find_map(|answer: std::io::Result<_>| answer.ok());
///     assert_eq!(answer.as_deref(), Some("the answer"));
///     serving.kill();
/// });
/// ```
#[derive(Clone, Copy)]
pub struct Faults {
    /// It stays on its OS thread.
    _thread: PhantomData<*const ()>,
}

impl Faults {
    /// Those of the calling thread's world.
    pub(super) fn here() -> Faults {
        hub().begin_faults(|| Schedule::boxed(Guide::Arrival(Random::new(0))).0);
        Faults { _thread: PhantomData }
    }

    fn with<R>(self, use_them: impl FnOnce(&faults::Faults) -> R) -> Option<R> {
        hub().faults().map(use_them)
    }

    fn chance(self, fault: Fault, chance: f64) -> Faults {
        assert!((0.0..=1.0).contains(&chance), "a chance is from 0 to 1, not {chance}");
        self.with(|faults| faults.set_chance(fault, chance));
        self
    }

    /// Has so many connections be refused, as where nobody listens.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::testing;
    ///
    /// testing::run(|world| {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     world.faults().refuse(1.0);
    ///     let error = TcpStream::connect(listener.local_addr().unwrap()).unwrap_err();
    ///     assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    /// });
    /// ```
    pub fn refuse(self, chance: f64) -> Faults {
        self.chance(Fault::Refusal, chance)
    }

    /// Has so many reads and writes on streams find that the connection has been reset, which the other end finds then too.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::testing;
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// testing::run(|world| {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ///     let (mut other, _) = listener.accept().unwrap();
    ///     world.faults().reset(1.0);
    ///     assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    ///     world.faults().reset(0.0);
    ///     assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    /// });
    /// ```
    pub fn reset(self, chance: f64) -> Faults {
        self.chance(Fault::Reset, chance)
    }

    /// Has so many reads and writes on streams move three bytes at most.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::unix::UnixStream;
    /// use greenloop::testing;
    /// use std::io::{Read, Write};
    ///
    /// testing::run(|world| {
    ///     let (mut one, mut other) = UnixStream::pair().unwrap();
    ///     world.faults().short(1.0);
    ///     assert_eq!(one.write(b"hello").unwrap(), 3);
    ///     one.write_all(b"lo").unwrap();
    ///     assert_eq!(other.read(&mut [0; 8]).unwrap(), 3);
    /// });
    /// ```
    pub fn short(self, chance: f64) -> Faults {
        self.chance(Fault::Short, chance)
    }

    /// Has so many datagrams of UDP not arrive. Who sends one is told that it is sent.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use greenloop::testing;
    ///
    /// testing::run(|world| {
    ///     let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    ///     world.faults().lose(1.0);
    ///     assert_eq!(one.send_to(b"lost", other.local_addr().unwrap()).unwrap(), 4);
    ///     world.faults().lose(0.0);
    ///     one.send_to(b"there", other.local_addr().unwrap()).unwrap();
    ///     assert_eq!(other.recv(&mut [0; 8]).unwrap(), 5);
    /// });
    /// ```
    pub fn lose(self, chance: f64) -> Faults {
        self.chance(Fault::Loss, chance)
    }

    /// Has so many datagrams of UDP arrive twice, each time with a [latency](Faults::latency) of its own.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use greenloop::testing;
    ///
    /// testing::run(|world| {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     world.faults().duplicate(1.0);
    ///     socket.send_to(b"once", socket.local_addr().unwrap()).unwrap();
    ///     assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4);
    ///     assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4);
    /// });
    /// ```
    pub fn duplicate(self, chance: f64) -> Faults {
        self.chance(Fault::Duplication, chance)
    }

    /// Has so many datagrams of UDP arrive a millisecond later, so that those sent meanwhile overtake them.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use greenloop::testing;
    ///
    /// testing::run(|world| {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     world.faults().reorder(1.0);
    ///     socket.send_to(b"first", socket.local_addr().unwrap()).unwrap();
    ///     world.faults().reorder(0.0);
    ///     socket.send_to(b"next", socket.local_addr().unwrap()).unwrap();
    ///     assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4);
    ///     assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 5);
    /// });
    /// ```
    pub fn reorder(self, chance: f64) -> Faults {
        self.chance(Fault::Reordering, chance)
    }

    /// Has so many operations on files and folders fail with EIO.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{fs, testing};
    ///
    /// testing::run(|world| {
    ///     world.faults().disk_error(1.0);
    ///     assert_eq!(fs::read("/proc/self/comm").unwrap_err().raw_os_error(), Some(5));
    ///     world.faults().disk_error(0.0);
    ///     assert!(fs::read("/proc/self/comm").is_ok());
    /// });
    /// ```
    pub fn disk_error(self, chance: f64) -> Faults {
        self.chance(Fault::Disk, chance)
    }

    /// Kills a green thread of the world before so many of the turns in which somebody runs: any that waits or is ready, with the same
    /// chance, but not the test's main greenlet.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::sync::Mutex;
    /// use greenloop::testing::{Search, explore};
    /// use greenloop::{joinall, spawn, yield_now};
    /// use std::rc::Rc;
    ///
    /// // Whoever is killed where: a lock is free in the end.
    /// explore(Search::random(20), |world| {
    ///     world.faults().kill(0.1);
    ///     let lock = Rc::new(Mutex::new(()));
    ///     let tasks = [(); 5].map(|()| {
    ///         let lock = lock.clone();
    ///         spawn(move || {
    ///             let _held = lock.lock();
    ///             yield_now();
    ///         })
    ///     });
    ///     joinall(&tasks);
    ///     assert!(!matches!(lock.try_lock(), Err(std::sync::TryLockError::WouldBlock)));
    /// });
    /// ```
    pub fn kill(self, chance: f64) -> Faults {
        self.chance(Fault::Kill, chance)
    }

    /// Has so many calls that are [patched](crate::monkey) and would be interrupted by a signal fail with EINTR.
    ///
    /// This crate's own types begin such a call again, and never show it.
    ///
    /// # Panics
    ///
    /// If `chance` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{monkey, testing};
    /// use std::io::{ErrorKind, Read};
    /// use std::os::unix::net::UnixStream;
    ///
    /// monkey::patch_all();
    /// testing::run(|world| {
    ///     let (mut one, _other) = UnixStream::pair().unwrap();
    ///     world.faults().interrupt(1.0);
    ///     assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::Interrupted);
    /// });
    /// ```
    #[cfg(feature = "monkey")]
    pub fn interrupt(self, chance: f64) -> Faults {
        self.chance(Fault::Interruption, chance)
    }

    /// Has what is sent from now on over connections of IP and in datagrams of UDP arrive that much later, and connections be made that much
    /// later. Of a range nine times are possible, its ends among them. The bytes of a connection stay in order; of datagrams the one with
    /// less latency overtakes.
    ///
    /// The bytes of a connection are in the kernel meanwhile, so poll(2) tells of them before they have arrived. A datagram is given to the
    /// kernel when it arrives: until then its sender's port is taken, though the socket be closed, and a refusal is told only afterwards.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::testing;
    /// use std::io::{Read, Write};
    /// use std::time::Duration;
    ///
    /// testing::run(|world| {
    ///     let latency = Duration::from_millis(20);
    ///     world.faults().latency(latency..=latency);
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ///     assert_eq!(world.elapsed(), latency);
    ///     let (mut other, _) = listener.accept().unwrap();
    ///     one.write_all(b"ping").unwrap();
    ///     other.read_exact(&mut [0; 4]).unwrap();
    ///     assert_eq!(world.elapsed(), latency * 2);
    /// });
    /// ```
    pub fn latency(self, range: RangeInclusive<Duration>) -> Faults {
        assert!(!range.is_empty(), "a range without a time in it");
        let (least, most) = range.into_inner();
        self.with(|faults| faults.set_latency((!most.is_zero()).then_some((least, most))));
        self
    }

    /// Cuts two addresses off from each other until what this returns is dropped. Meanwhile nothing arrives that they send over
    /// connections, and a new connection waits: for its time limit, or for 127 seconds, as on Linux. What was sent arrives afterwards.
    /// Datagrams of UDP that they send to each other meanwhile are lost.
    ///
    /// All addresses from 127.0.0.1 to 127.255.255.254 are this machine's, so each server may have one; who connects has 127.0.0.1, if it
    /// is on no other [`Host`](super::Host). The two may be the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::{testing, with_timeout};
    /// use std::io::{Read, Write};
    /// use std::net::IpAddr;
    /// use std::time::Duration;
    ///
    /// testing::run(|world| {
    ///     let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    ///     let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ///     let (mut other, _) = listener.accept().unwrap();
    ///     let cut = world.faults().cut(IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
    ///     one.write_all(b"x").unwrap();
    ///     assert!(with_timeout(Duration::from_secs(9), || other.read(&mut [0])).is_err());
    ///     drop(cut);
    ///     assert_eq!(other.read(&mut [0]).unwrap(), 1);
    ///     assert_eq!(world.elapsed(), Duration::from_secs(9));
    /// });
    /// ```
    #[must_use = "the cut ends when it is dropped"]
    pub fn cut(self, one: IpAddr, other: IpAddr) -> Cut {
        self.with(|faults| faults.cut(one, other));
        Cut { faults: self, between: (one, other) }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Faults").finish_non_exhaustive()
    }
}

/// While it lives, two addresses are cut off from each other. Made by [`Faults::cut`].
#[derive(Debug)]
pub struct Cut {
    faults: Faults,
    between: (IpAddr, IpAddr),
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.faults.with(|faults| faults.mend(self.between.0, self.between.1));
    }
}
