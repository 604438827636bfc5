//! From names to addresses.

use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::{Arc, PoisonError, RwLock};
use std::{option, slice, vec};

use crate::threadpool::ThreadPool;

/// Types that stand for one or more socket addresses: [`std::net::ToSocketAddrs`], for the same types and with the same errors,
/// but with a lookup that does not block the OS thread.
///
/// The impls for addresses, and for strings that are numeric addresses, never yield. The others [look the name
/// up](lookup_host), for which the calling green thread yields.
///
/// # Examples
///
/// ```
/// use greenloop::net::{SocketAddr, ToSocketAddrs};
///
/// let mut addresses = "127.0.0.1:443".to_socket_addrs()?;
/// assert_eq!(addresses.next(), Some(SocketAddr::from(([127, 0, 0, 1], 443))));
/// assert_eq!(addresses.next(), None);
///
/// let error = "127.0.0.1".to_socket_addrs().unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs {
    /// The addresses.
    type Iter: Iterator<Item = SocketAddr>;

    /// Returns the addresses, in the order in which to try them.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a string that is no address with a port; otherwise those of the lookup.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{Ipv6Addr, ToSocketAddrs};
    ///
    /// let address = (Ipv6Addr::LOCALHOST, 80).to_socket_addrs()?.next();
    /// assert_eq!(address, Some("[::1]:80".parse().unwrap()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

/// A function from a host and a port to addresses, for [`set_lookup`].
pub type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

static LOOKUP: RwLock<Option<Arc<Lookup>>> = RwLock::new(None);

/// How many names are looked up at a time. The threads are apart from all others: a lookup ends when the resolver's own patience does.
const LOOKUPS: usize = 64;

static RESOLVERS: ThreadPool = ThreadPool::new(LOOKUPS);

/// Looks up a host with its port: `"localhost:80"`, `("localhost", 80)`, or anything else that [`ToSocketAddrs`] takes.
///
/// The calling green thread yields unless the address is numeric, and is ready again when the answer is there. A kill or an
/// enclosing [`with_timeout`](crate::with_timeout) ends the wait at once.
///
/// # Errors
///
/// As std has them: `InvalidInput` for a string that is no address with a port, the resolver's error for a name that it
/// does not find.
///
/// # Examples
///
/// ```
/// let addresses: Vec<_> = greenloop::net::lookup_host("localhost:80")?.collect();
/// assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gaierror", "herror"))]
pub fn lookup_host(host: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    host.to_socket_addrs()
}

/// Looks up `host` by the system's `getaddrinfo`, even if [`set_lookup`] has set something else.
///
/// The lookup runs on an OS thread while the calling green thread yields. Up to 64 run at a time; further ones wait in order of
/// arrival.
/// A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait at once; the system's lookup runs on, and its
/// answer is dropped.
///
/// # Errors
///
/// As [`std::net::ToSocketAddrs`] has them; also if no OS thread can be made.
///
/// # Examples
///
/// ```
/// let addresses = greenloop::net::system_lookup("127.0.0.1", 80)?;
/// assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn system_lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    let look_up = move || std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).map(Iterator::collect);
    RESOLVERS.try_unblock(look_up)?
}

/// Sets how every name of the process is looked up: by `lookup`, or with `None` by [`system_lookup`]. Returns the earlier setting.
///
/// Use it for a cache, for names of your own, or for a resolver that speaks DNS itself.
///
/// `lookup` runs on the green thread that needs the addresses, and may wait. It is not called for numeric addresses.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use greenloop::net::{lookup_host, set_lookup, system_lookup};
///
/// let known = Mutex::new(HashMap::from([("printer".to_owned(), vec!["127.0.0.9:0".parse().unwrap()])]));
/// set_lookup(Some(Arc::new(move |host, port| {
///     let cached = known.lock().unwrap().get(host).cloned();
///     let mut addresses = match cached {
///         Some(addresses) => addresses,
///         None => {
///             let found = system_lookup(host, port)?;
///             known.lock().unwrap().insert(host.to_owned(), found.clone());
///             found
///         }
///     };
///     addresses.iter_mut().for_each(|address| address.set_port(port));
///     Ok(addresses)
/// })));
///
/// let addresses: Vec<_> = lookup_host("printer:631")?.collect();
/// assert_eq!(addresses, ["127.0.0.9:631".parse().unwrap()]);
/// # set_lookup(None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "resolver")]
pub fn set_lookup(lookup: Option<Arc<Lookup>>) -> Option<Arc<Lookup>> {
    std::mem::replace(&mut *LOOKUP.write().unwrap_or_else(PoisonError::into_inner), lookup)
}

fn look_up(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    let lookup = LOOKUP.read().unwrap_or_else(PoisonError::into_inner).clone();
    let addresses = match lookup {
        Some(lookup) => lookup(host, port),
        None => system_lookup(host, port),
    };
    addresses.map(Vec::into_iter)
}

impl ToSocketAddrs for SocketAddr {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(Some(*self).into_iter())
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::V4(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::V6(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (IpAddr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        SocketAddr::from(*self).to_socket_addrs()
    }
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::new(ip, port)].into_iter()),
            Err(_) => look_up(host, port),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.0.as_str(), self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        if let Ok(address) = self.parse() {
            return Ok(vec![address].into_iter());
        }
        let invalid = |message| io::Error::new(io::ErrorKind::InvalidInput, message);
        let (host, port) = self.rsplit_once(':').ok_or_else(|| invalid("invalid socket address"))?;
        let port = port.parse().map_err(|_| invalid("invalid port value"))?;
        look_up(host, port)
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.as_str().to_socket_addrs()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Copied<slice::Iter<'a, SocketAddr>>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().copied())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
}
