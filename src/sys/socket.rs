//! Sockets: each call once, as a safe function that never waits.
//!
//! A call that would wait fails with `WouldBlock`, whether its socket is O_NONBLOCK or not: what a descriptor was set to
//! belongs to whoever made it. The exceptions are [`accept`] and [`connect`], for which the kernel has no such flag.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::Path;
use std::{fmt, fs, ptr, slice};

use super::{SystemCall, original};

/// How many buffers the kernel takes in one call (UIO_MAXIOV).
const MAX_BUFFERS: usize = 1024;

/// Whether what is received is taken out of the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taking {
    Consume,
    Peek,
}

impl Taking {
    fn flags(self) -> libc::c_int {
        match self {
            Taking::Consume => libc::MSG_DONTWAIT,
            Taking::Peek => libc::MSG_DONTWAIT | libc::MSG_PEEK,
        }
    }
}

/// No wait, and EPIPE as an error instead of a signal.
const SENDING: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// `recv`.
#[inline]
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8], taking: Taking) -> io::Result<usize> {
    // SAFETY: `buffer` is valid for writes of its length.
    let count =
        unsafe { original::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), taking.flags()) }
            .check()?;
    Ok(count as usize)
}

/// `send`.
#[inline]
pub(crate) fn send(fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
    // SAFETY: `buffer` is valid for reads of its length.
    let count =
        unsafe { original::send(fd.as_raw_fd(), buffer.as_ptr().cast(), buffer.len(), SENDING) }.check()?;
    Ok(count as usize)
}

/// `readv`, through `recvmsg`, which can be told not to wait.
pub(crate) fn receive_vectored(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let mut message = message();
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len().min(MAX_BUFFERS) as _;
    // SAFETY: an `IoSliceMut` is an iovec (std guarantees it) of memory that is valid for writes; `msg_iovlen` is at
    // most their number; no name and no control memory is given.
    let count =
        unsafe { original::recvmsg(fd.as_raw_fd(), &mut message, Taking::Consume.flags()) }.check()?;
    Ok(count as usize)
}

/// `writev`, through `sendmsg`, which can be told not to wait.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut message = message();
    message.msg_iov = buffers.as_ptr().cast_mut().cast();
    message.msg_iovlen = buffers.len().min(MAX_BUFFERS) as _;
    // SAFETY: an `IoSlice` is an iovec (std guarantees it) of memory that is valid for reads, and `sendmsg` writes to
    // none of it; `msg_iovlen` is at most their number; no name and no control memory is given.
    let count = unsafe { original::sendmsg(fd.as_raw_fd(), &message, SENDING) }.check()?;
    Ok(count as usize)
}

/// A message header that points to nothing.
fn message() -> libc::msghdr {
    // SAFETY: zeros are a valid msghdr: null pointers with no lengths.
    unsafe { mem::zeroed() }
}

/// `recvfrom`.
pub(crate) fn receive_from(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    taking: Taking,
) -> io::Result<(usize, Address)> {
    let mut address = Address::UNNAMED;
    let mut length = Address::CAPACITY;
    // SAFETY: `buffer` is valid for writes of its length, and `address.form` for writes of `length` bytes.
    let count = unsafe {
        original::recvfrom(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            taking.flags(),
            (&raw mut address.form).cast(),
            &mut length,
        )
    }
    .check()?;
    address.length = length;
    Ok((count as usize, address))
}

/// `sendto`.
pub(crate) fn send_to(fd: BorrowedFd<'_>, buffer: &[u8], address: &Address) -> io::Result<usize> {
    // SAFETY: `buffer` is valid for reads of its length, and `address.form` for reads of `address.length` bytes.
    let count = unsafe {
        original::sendto(
            fd.as_raw_fd(),
            buffer.as_ptr().cast(),
            buffer.len(),
            SENDING,
            address.as_pointer(),
            address.length,
        )
    }
    .check()?;
    Ok(count as usize)
}

/// `accept4`. It waits unless the listener is O_NONBLOCK. What it makes is not.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
    let mut address = Address::UNNAMED;
    let mut length = Address::CAPACITY;
    // SAFETY: `address.form` is valid for writes of `length` bytes.
    let accepted = unsafe {
        original::accept4(fd.as_raw_fd(), (&raw mut address.form).cast(), &mut length, libc::SOCK_CLOEXEC)
    }
    .check()?;
    address.length = length;
    // SAFETY: the kernel has just made `accepted`, and nothing else owns it.
    Ok((unsafe { OwnedFd::from_raw_fd(accepted) }, address))
}

/// `listen`, which may be called again to change how many connections wait at most to be accepted.
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: takes no pointers.
    unsafe { libc::listen(fd.as_raw_fd(), backlog) }.check()?;
    Ok(())
}

/// `bind`.
pub(super) fn bind(fd: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    // SAFETY: `address.form` is valid for reads of `address.length` bytes.
    unsafe { libc::bind(fd.as_raw_fd(), address.as_pointer(), address.length) }.check()?;
    Ok(())
}

/// What [`accept`] says of a socket that does not listen any more.
pub(crate) fn unusable() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// Whether an error of [`accept`] says that no later call can succeed: the descriptor is none, or does not listen.
pub(crate) fn is_unusable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK))
}

/// `connect`, on a socket that is O_NONBLOCK; called again until it says `Ok`.
///
/// On a stream of IP a first call starts the connection, and each further one tells where it stands: `WouldBlock` while it
/// is being made, its failure once. For a Unix socket `WouldBlock` means that the listener's backlog is full.
pub(crate) fn connect(fd: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
    // SAFETY: `address.form` is valid for reads of `address.length` bytes.
    match unsafe { original::connect(fd.as_raw_fd(), address.as_pointer(), address.length) }.check() {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            // EINTR: a signal ended the call, not the making of the connection.
            Some(libc::EINPROGRESS | libc::EALREADY | libc::EINTR) => Err(io::ErrorKind::WouldBlock.into()),
            Some(libc::EISCONN) => Ok(()),
            _ => Err(error),
        },
    }
}

/// A new stream socket of the family of `address`: close-on-exec and O_NONBLOCK, so that it can [`connect`].
pub(crate) fn stream(address: &Address) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::c_int::from(address.family()), kind, 0) }.check()?;
    // SAFETY: the kernel has just made `fd`, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether the socket has been shut down for reading, or its peer's end for writing.
pub(crate) fn is_shut_down(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: `poll` is valid for reads and writes as the one element that it is said to be.
    unsafe { original::poll(&mut poll, 1, 0) }.check()?;
    Ok(poll.revents & libc::POLLRDHUP != 0)
}

/// A socket address in the kernel's form: of IP, or of a Unix socket.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    form: Form,
    /// As the kernel gave it: of an address that did not fit, the length it had.
    length: libc::socklen_t,
}

/// # Invariant
///
/// Every byte that belongs to a field is initialised: a `Form` begins as `unix`, the largest, and is written over.
#[derive(Clone, Copy)]
#[repr(C)]
union Form {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
    unix: libc::sockaddr_un,
}

impl Address {
    const UNNAMED: Address = Address {
        form: Form {
            unix: libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] },
        },
        length: PATH_OFFSET as libc::socklen_t,
    };
    const CAPACITY: libc::socklen_t = mem::size_of::<Form>() as libc::socklen_t;

    /// For the kernel to put one in.
    pub(super) fn room() -> Address {
        Address { length: Address::CAPACITY, ..Address::UNNAMED }
    }

    /// For the kernel to read, or to put another in: the address and its length.
    pub(super) fn parts(address: &Cell<Address>) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        let place = |offset| address.as_ptr().wrapping_byte_add(offset);
        (place(mem::offset_of!(Address, form)).cast(), place(mem::offset_of!(Address, length)).cast())
    }

    /// The one in these bytes, as C hands them over; what does not fit is cut off.
    #[cfg(feature = "monkey")]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Address {
        let mut address = Address::room();
        let length = bytes.len().min(address.length as usize);
        // SAFETY: as many bytes are valid for reads there, and for writes here; any bytes are a valid form.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut address.form).cast::<u8>(), length) };
        address.length = length as libc::socklen_t;
        address
    }

    pub(super) fn length(&self) -> libc::socklen_t {
        self.length
    }

    fn as_pointer(&self) -> *const libc::sockaddr {
        ptr::from_ref(&self.form).cast()
    }

    fn family(&self) -> libc::sa_family_t {
        // SAFETY: all bytes are initialised (invariant), and every family's address begins with its number.
        unsafe { self.form.unix.sun_family }
    }

    /// The address as one of IP.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, as std has it, if it is of another family.
    pub(crate) fn to_ip(self) -> io::Result<SocketAddr> {
        match libc::c_int::from(self.family()) {
            libc::AF_INET => {
                // SAFETY: all bytes are initialised (invariant).
                let v4 = unsafe { self.form.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Ok(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: all bytes are initialised (invariant).
                let v6 = unsafe { self.form.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "invalid argument")),
        }
    }

    /// The address as one of a Unix socket.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, as std has it, if it is of another family.
    pub(crate) fn to_unix(self) -> io::Result<UnixAddress> {
        if libc::c_int::from(self.family()) != libc::AF_UNIX {
            let message = "file descriptor did not correspond to a Unix socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let length = (self.length as usize).saturating_sub(PATH_OFFSET);
        // SAFETY: all bytes are initialised (invariant).
        let path = unsafe { &self.form.unix.sun_path };
        // SAFETY: `c_char` and `u8` have one layout, and any byte is valid as either.
        let path = unsafe { slice::from_raw_parts(path.as_ptr().cast::<u8>(), length.min(path.len())) };
        match path {
            [0, name @ ..] => UnixAddress::from_abstract_name(name),
            // An empty path is what std knows as unnamed.
            _ => UnixAddress::from_pathname(Path::new(OsStr::from_bytes(
                path.split(|&byte| byte == 0).next().unwrap_or(path),
            ))),
        }
    }
}

/// Where the path begins in a `sockaddr_un`.
const PATH_OFFSET: usize = mem::offset_of!(libc::sockaddr_un, sun_path);

impl Default for Address {
    fn default() -> Address {
        Address::UNNAMED
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        let mut form = Address::UNNAMED.form;
        let length = match address {
            SocketAddr::V4(v4) => {
                form.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                mem::size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                form.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                mem::size_of::<libc::sockaddr_in6>()
            }
        };
        Address { form, length: length as libc::socklen_t }
    }
}

impl From<&UnixAddress> for Address {
    fn from(address: &UnixAddress) -> Address {
        // std has held both kinds of names to what `sun_path` takes, the byte before or after them included.
        let (start, name, end) = match (address.as_pathname(), address.as_abstract_name()) {
            (Some(path), _) => (0, path.as_os_str().as_bytes(), 1),
            (None, Some(name)) => (1, name, 0),
            (None, None) => (0, &[][..], 0),
        };
        let mut path = [0; 108];
        for (to, &from) in path[start..].iter_mut().zip(name) {
            *to = from as libc::c_char;
        }
        let unix = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: path };
        // A bound path may fill `sun_path` without a zero at its end.
        let length = start + name.len() + end;
        Address { form: Form { unix }, length: (PATH_OFFSET + length.min(108)) as libc::socklen_t }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.to_ip(), self.to_unix()) {
            (Ok(ip), _) => ip.fmt(formatter),
            (_, Ok(unix)) => unix.fmt(formatter),
            _ => formatter.debug_struct("Address").field("family", &self.family()).finish(),
        }
    }
}

/// Has a TCP connection acknowledge at once what has come. Whether it is one.
pub(crate) fn acknowledge(fd: RawFd) -> bool {
    let one: libc::c_int = 1;
    let length = size_of_val(&one) as libc::socklen_t;
    // SAFETY: the value is an int, as this option has it; any number may be given as a descriptor.
    unsafe {
        libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, (&raw const one).cast(), length) == 0
    }
}

/// How many bytes a TCP connection has sent, or is to send, that the other end has not acknowledged. What begins it counts as one.
pub(crate) fn unacknowledged(fd: RawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request, SIOCOUTQ, writes an int; any number may be given as a descriptor.
    let failed = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut bytes) };
    match usize::try_from(bytes).unwrap_or(0) {
        bytes if failed == 0 && bytes > 0 => bytes,
        _ => usize::from(begins(fd)),
    }
}

/// Whether it is a TCP connection whose other end has not answered yet.
fn begins(fd: RawFd) -> bool {
    const SYN_SENT: u8 = 2;
    let mut state = 0_u8;
    let mut length = size_of_val(&state) as libc::socklen_t;
    // SAFETY: `state` is valid for writes of `length` bytes, which is the first field of what the kernel tells; any number may be given as
    // a descriptor.
    let failed = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut state).cast(), &mut length)
    };
    failed == 0 && state == SYN_SENT
}

/// A datagram that is sent later, though its socket may be closed by then.
pub(crate) struct Datagram {
    socket: OwnedFd,
    bytes: Box<[u8]>,
    /// Where to, if not where the socket is connected to.
    to: Option<Address>,
}

impl Datagram {
    pub(crate) fn new(socket: BorrowedFd<'_>, bytes: &[u8], to: Option<Address>) -> io::Result<Datagram> {
        Ok(Datagram { socket: socket.try_clone_to_owned()?, bytes: bytes.into(), to })
    }

    /// Sends it, if the kernel takes it now.
    #[cold]
    pub(crate) fn send(self) {
        let socket = self.socket.as_fd();
        // What it fails with is nobody's: the sender has gone on.
        let _lost = match self.to {
            Some(to) => send_to(socket, &self.bytes, &to),
            None => send(socket, &self.bytes),
        };
    }
}

/// From where to where a datagram of UDP goes that is sent there, or where the socket is connected to. `None` for other sockets.
pub(crate) fn route(fd: BorrowedFd<'_>, to: Option<Address>) -> Option<(IpAddr, IpAddr)> {
    let own = name(fd, libc::getsockname)?;
    let to = match to {
        Some(to) => to.to_ip().ok()?,
        None => name(fd, libc::getpeername)?,
    };
    let is_datagram = kind(fd) == Some(libc::SOCK_DGRAM);
    is_datagram.then(|| (own.ip().to_canonical(), to.ip().to_canonical()))
}

/// Whether it is a socket whose bytes come as a stream.
pub(crate) fn is_stream(fd: BorrowedFd<'_>) -> bool {
    kind(fd) == Some(libc::SOCK_STREAM)
}

fn kind(fd: BorrowedFd<'_>) -> Option<libc::c_int> {
    let mut kind: libc::c_int = 0;
    let mut length = size_of_val(&kind) as libc::socklen_t;
    let place = (&raw mut kind).cast();
    // SAFETY: `kind` is valid for writes of `length` bytes.
    let failed =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TYPE, place, &mut length) };
    (failed == 0).then_some(kind)
}

/// The number by which the kernel tells a socket from all others that there are and were. `None` where it does not, and for what is no socket.
pub(crate) fn cookie(fd: RawFd) -> Option<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    let place = (&raw mut cookie).cast();
    // SAFETY: `cookie` is valid for writes of `length` bytes; any number may be given as a descriptor.
    let failed = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_COOKIE, place, &mut length) };
    (failed == 0).then_some(cookie)
}

/// The [cookies](cookie) of all sockets that this process has. `None` if it cannot find out.
pub(crate) fn open_cookies() -> Option<HashSet<u64>> {
    let open = fs::read_dir("/proc/self/fd").ok()?;
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Some(open.filter_map(number).filter_map(cookie).collect())
}

/// The addresses of a connection of IP: this end's and the other one's.
pub(crate) fn ends(fd: BorrowedFd<'_>) -> Option<(SocketAddr, SocketAddr)> {
    Some((name(fd, libc::getsockname)?, name(fd, libc::getpeername)?))
}

/// The address of IP that `ask` tells: getsockname(2) or getpeername(2).
fn name(
    fd: BorrowedFd<'_>,
    ask: unsafe extern "C" fn(RawFd, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int,
) -> Option<SocketAddr> {
    let mut address = Address::room();
    // SAFETY: `address.form` is valid for writes of `address.length` bytes.
    let failed = unsafe { ask(fd.as_raw_fd(), (&raw mut address.form).cast(), &mut address.length) };
    if failed == 0 { address.to_ip().ok() } else { None }
}

/// Where a connection to an address of this machine comes from, if nobody says so.
pub(crate) fn loopback(to: IpAddr) -> IpAddr {
    if to.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

/// Has a new socket of IP connect from there, by any port.
pub(crate) fn connect_from(fd: BorrowedFd<'_>, address: IpAddr) -> io::Result<()> {
    bind(fd, &SocketAddr::new(address, 0).into())
}

/// Ends a connection in both directions, as the other end hears of: by a reset where it is TCP. Nothing more can be done with it.
pub(crate) fn reset(fd: BorrowedFd<'_>) {
    let mut none = Address::UNNAMED;
    none.form.unix.sun_family = libc::AF_UNSPEC as libc::sa_family_t;
    // SAFETY: `none.form` is valid for reads of `none.length` bytes.
    let failed = unsafe { original::connect(fd.as_raw_fd(), none.as_pointer(), none.length) };
    if failed != 0 {
        // SAFETY: takes no pointers.
        unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ip_address_comes_back_as_it_went_in() {
        let scoped = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 7, 3);
        for address in [SocketAddr::from(([127, 1, 2, 3], 80)), scoped.into()] {
            assert_eq!(Address::from(address).to_ip().unwrap(), address);
            let error = Address::from(address).to_unix().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_unix_address_comes_back_as_it_went_in() {
        let path = UnixAddress::from_pathname("/a/path").unwrap();
        assert_eq!(Address::from(&path).to_unix().unwrap().as_pathname(), Some(Path::new("/a/path")));
        assert_eq!(Address::from(&path).length, 2 + 8);
        let name = UnixAddress::from_abstract_name(b"a\0name").unwrap();
        assert_eq!(Address::from(&name).to_unix().unwrap().as_abstract_name(), Some(&b"a\0name"[..]));
        assert_eq!(Address::from(&name).length, 2 + 7);
        assert!(Address::UNNAMED.to_unix().unwrap().is_unnamed());
        assert!(Address::UNNAMED.to_ip().is_err());
    }

    #[test]
    fn a_connection_that_begins_is_on_its_way() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listen(listener.as_fd(), 0).unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        let connecting = || {
            let stream = stream(&address).unwrap();
            if let Err(error) = connect(stream.as_fd(), &address) {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            }
            stream
        };
        // The kernel has room for a few that nobody has accepted.
        let streams: Vec<_> = (0..4).map(|_| connecting()).collect();
        assert_eq!(unacknowledged(streams[3].as_raw_fd()), 1);
        assert_eq!(unacknowledged(listener.as_raw_fd()), 0);
    }

    #[test]
    fn the_longest_names_fit() {
        let path = "p".repeat(107);
        let address = UnixAddress::from_pathname(&path).unwrap();
        assert_eq!(Address::from(&address).to_unix().unwrap().as_pathname(), Some(Path::new(&path)));
        let name = [b'n'; 107];
        let address = UnixAddress::from_abstract_name(name).unwrap();
        assert_eq!(Address::from(&address).to_unix().unwrap().as_abstract_name(), Some(&name[..]));
    }
}
