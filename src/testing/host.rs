//! Machines of a world, which crash.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use super::faults::Faults;
use crate::hub::hub;
use crate::task::{JoinHandle, spawn};

/// A machine of a [world](super::World), with an address of its own and green threads that run there. It may crash. Made by
/// [`World::host`](super::World::host).
///
/// On it are those that [`spawn`](Host::spawn) makes, and those that they spawn in turn. Connections that they open come from its address;
/// what they bind, they bind to that by themselves.
///
/// # Examples
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream};
/// use greenloop::testing;
/// use std::io::{Read, Write};
/// use std::net::IpAddr;
///
/// fn serve() {
///     let listener = TcpListener::bind("127.0.0.2:0").unwrap();
///     # ADDRESS.set(listener.local_addr().unwrap()).unwrap();
///     while let Ok((mut stream, _)) = listener.accept() {
///         greenloop::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
///     }
/// }
/// # static ADDRESS: std::sync::OnceLock<std::net::SocketAddr> = std::sync::OnceLock::new();
///
/// testing::run(|world| {
///     let host = world.host(IpAddr::from([127, 0, 0, 2]));
///     host.spawn(serve);
///     world.settle();
///     # let address = *ADDRESS.get().unwrap();
///     let mut stream = TcpStream::connect(address).unwrap();
///     stream.write_all(b"x").unwrap();
///     stream.read_exact(&mut [0]).unwrap();
///     host.crash(); // the listener and the echo are gone, so nobody is left when the test ends
///     assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
/// });
/// ```
#[derive(Clone)]
pub struct Host {
    number: usize,
    address: IpAddr,
    /// It stays on its OS thread.
    _thread: PhantomData<*const ()>,
}

impl Host {
    pub(super) fn new(address: IpAddr) -> Host {
        Faults::here();
        let hub = hub();
        let number = hub.faults().map_or(0, |faults| hub.add_host(faults, address));
        Host { number, address, _thread: PhantomData }
    }

    /// Returns its address.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testing;
    /// use std::net::IpAddr;
    ///
    /// let address = IpAddr::from([127, 0, 0, 2]);
    /// testing::run(|world| assert_eq!(world.host(address).address(), address));
    /// ```
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Spawns a green thread there, also after a crash. Does not yield.
    ///
    /// # Panics
    ///
    /// As [`spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::testing;
    /// use std::net::IpAddr;
    ///
    /// testing::run(|world| {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let to = listener.local_addr().unwrap();
    ///     let host = world.host(IpAddr::from([127, 0, 0, 2]));
    ///     let client = host.spawn(move || TcpStream::connect(to).unwrap());
    ///     let (_, from) = listener.accept().unwrap();
    ///     assert_eq!(from.ip(), host.address());
    ///     client.join().unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, function: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let handle = spawn(function);
        let hub = hub();
        if let Some(faults) = hub.faults() {
            hub.put_on_host(faults, handle.id().number(), self.number);
        }
        handle
    }

    /// Ends all that runs there: those that have not begun never do, and the others are killed where they wait. What they do while they
    /// unwind has no effect on others: connections fail with `ConnectionReset`, files with EIO, and what they spawn never begins. Does not
    /// yield.
    ///
    /// Their connections end, as those of a process that is killed, when they have unwound: in their next turn.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{sleep, testing};
    /// use std::net::IpAddr;
    /// use std::time::Duration;
    ///
    /// testing::run(|world| {
    ///     let host = world.host(IpAddr::from([127, 0, 0, 2]));
    ///     let task = host.spawn(|| sleep(Duration::MAX));
    ///     world.settle();
    ///     host.crash();
    ///     assert!(task.join().unwrap_err().is_killed());
    ///     assert_eq!(host.spawn(|| 1).join().unwrap(), 1);
    /// });
    /// ```
    pub fn crash(&self) {
        let hub = hub();
        if let Some(faults) = hub.faults() {
            hub.crash_host(faults, self.number);
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Host").field("address", &self.address).finish_non_exhaustive()
    }
}
