//! Datagrams of UDP.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::resolve::ToSocketAddrs;
use crate::io::socket::{Receive, ReceiveFrom, Send, SendTo, Short};
use crate::io::{Direction, Source};
use crate::sys::socket::Taking;

/// A socket of UDP: [`std::net::UdpSocket`], whose calls let other green threads run while they wait.
///
/// It is closed when it is dropped. [Waiting](crate::net#waiting) is the same for all sockets.
///
/// # Examples
///
/// ```
/// use greenloop::net::UdpSocket;
///
/// let one = UdpSocket::bind("127.0.0.1:0")?;
/// let other = UdpSocket::bind("127.0.0.1:0")?;
/// one.send_to(b"ping", other.local_addr()?)?;
/// let mut buffer = [0; 16];
/// assert_eq!(other.recv_from(&mut buffer)?, (4, one.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "socket")]
pub struct UdpSocket {
    source: Source<std::net::UdpSocket>,
}

impl UdpSocket {
    /// Makes a socket with an address of its own; port 0 is a free one.
    ///
    /// If `addr` stands for several addresses, each is tried in turn until one can be bound. The calling green thread
    /// yields for the lookup of a name only.
    ///
    /// # Errors
    ///
    /// The error of the lookup, or of the last address; `InvalidInput` if there was none.
    ///
    /// # Examples
    ///
    /// ```
    /// let socket = greenloop::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        let addresses: Vec<_> = addr.to_socket_addrs()?.collect();
        let inner = std::net::UdpSocket::bind(addresses.as_slice())?;
        Ok(UdpSocket { source: Source::new(inner) })
    }

    /// Receives a datagram. Returns its length and the sender's address. Bytes that do not fit into `buf` are lost.
    ///
    /// The calling green thread yields until there is one. A kill or an enclosing [`with_timeout`](crate::with_timeout)
    /// ends the wait, and no datagram is lost by it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the read timeout is over, or at once if the socket is non-blocking; those of `recvfrom`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let sender = UdpSocket::bind("127.0.0.1:0")?;
    /// sender.send_to(&[7; 10], socket.local_addr()?)?;
    /// let mut buffer = [0; 16];
    /// assert_eq!(socket.recv_from(&mut buffer)?, (10, sender.local_addr()?));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("recvfrom", "recvfrom_into"))]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (count, address) = self.source.run(ReceiveFrom { buffer: buf, taking: Taking::Consume })?;
        Ok((count, address.to_ip()?))
    }

    /// Receives a datagram without taking it, and tells whom it is from: the next call gets it again.
    ///
    /// The calling green thread yields as in [`recv_from`](UdpSocket::recv_from).
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UdpSocket::recv_from).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.send_to(&[7; 10], socket.local_addr()?)?;
    /// let mut buffer = [0; 16];
    /// assert_eq!(socket.peek_from(&mut buffer)?, (10, socket.local_addr()?));
    /// assert_eq!(socket.recv_from(&mut buffer)?, (10, socket.local_addr()?));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (count, address) = self.source.run(ReceiveFrom { buffer: buf, taking: Taking::Peek })?;
        Ok((count, address.to_ip()?))
    }

    /// Sends a datagram to the first address that `addr` stands for.
    ///
    /// The calling green thread yields for the lookup of a name, and while the socket's buffer is full. A kill or an
    /// enclosing [`with_timeout`](crate::with_timeout) ends the wait, and nothing is sent.
    ///
    /// # Errors
    ///
    /// The error of the lookup; `InvalidInput` if there is no address; `WouldBlock` when the write timeout is over, or at
    /// once if the socket is non-blocking; those of `sendto`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.send_to(b"to myself", socket.local_addr()?)?, 9);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "sendto")]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(address) = addr.to_socket_addrs()?.next() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to"));
        };
        self.source.run(SendTo { buffer: buf, address: address.into() })
    }

    /// Returns the address to which the socket is [connected](UdpSocket::connect). Does not yield.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.peer_addr().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "getpeername")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().peer_addr()
    }

    /// Returns the socket's own address. Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert!(socket.local_addr()?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "getsockname")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Sets the address to which [`send`](UdpSocket::send) sends, and from which alone datagrams are received.
    ///
    /// If `addr` stands for several addresses, each is tried in turn. The calling green thread yields for the lookup of a
    /// name only.
    ///
    /// # Errors
    ///
    /// The error of the lookup, or of the last address; `InvalidInput` if there was none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let peer = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(peer.local_addr()?)?;
    /// assert_eq!(socket.peer_addr()?, peer.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        let addresses: Vec<_> = addr.to_socket_addrs()?.collect();
        self.source.get_ref().connect(addresses.as_slice())
    }

    /// Sends a datagram to the [connected](UdpSocket::connect) address.
    ///
    /// The calling green thread yields while the socket's buffer is full. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait, and nothing is sent.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](UdpSocket::send_to); also the answer to an earlier datagram, for instance `ConnectionRefused`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// assert_eq!(socket.send(b"to myself")?, 9);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.source.run(Send { buffer: buf, short: Short::Usual })
    }

    /// Receives a datagram, from the [connected](UdpSocket::connect) address if there is one. What does not fit into `buf` is
    /// lost.
    ///
    /// The calling green thread yields as in [`recv_from`](UdpSocket::recv_from).
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UdpSocket::recv_from); also the answer to an earlier datagram, for instance
    /// `ConnectionRefused`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// socket.send(b"to myself")?;
    /// let mut buffer = [0; 4];
    /// assert_eq!(socket.recv(&mut buffer)?, 4);
    /// assert_eq!(&buffer, b"to m");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "recv_into")]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.run(Receive { buffer: buf, taking: Taking::Consume, short: Short::Usual })
    }

    /// Receives a datagram without taking it: the next call gets it again.
    ///
    /// The calling green thread yields as in [`recv_from`](UdpSocket::recv_from).
    ///
    /// # Errors
    ///
    /// Those of [`recv`](UdpSocket::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// socket.send(b"x")?;
    /// assert_eq!(socket.peek(&mut [0; 4])?, 1);
    /// assert_eq!(socket.recv(&mut [0; 4])?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.run(Receive { buffer: buf, taking: Taking::Peek, short: Short::Usual })
    }

    // set_broadcast, broadcast.
    option!(
        set_broadcast,
        broadcast,
        bool,
        true,
        "whether it may send to broadcast addresses (SO_BROADCAST)",
        "let socket = greenloop::net::UdpSocket::bind(\"127.0.0.1:0\")?;"
    );
    // set_multicast_loop_v4, multicast_loop_v4.
    option!(
        set_multicast_loop_v4,
        multicast_loop_v4,
        bool,
        false,
        "whether it receives what it sends to a group of IPv4 (IP_MULTICAST_LOOP)",
        "let socket = greenloop::net::UdpSocket::bind(\"127.0.0.1:0\")?;"
    );
    // set_multicast_ttl_v4, multicast_ttl_v4.
    option!(
        set_multicast_ttl_v4,
        multicast_ttl_v4,
        u32,
        3,
        "how many hops a datagram to a group of IPv4 may make (IP_MULTICAST_TTL)",
        "let socket = greenloop::net::UdpSocket::bind(\"127.0.0.1:0\")?;"
    );
    // set_multicast_loop_v6, multicast_loop_v6.
    option!(
        set_multicast_loop_v6,
        multicast_loop_v6,
        bool,
        false,
        "whether it receives what it sends to a group of IPv6 (IPV6_MULTICAST_LOOP)",
        "let socket = greenloop::net::UdpSocket::bind(\"[::1]:0\")?;"
    );
    // set_ttl, ttl.
    option!(
        set_ttl,
        ttl,
        u32,
        42,
        "how many hops a datagram may make (IP_TTL)",
        "let socket = greenloop::net::UdpSocket::bind(\"127.0.0.1:0\")?;"
    );

    /// Joins a group of IPv4, on the interface with the given address (IP_ADD_MEMBERSHIP). Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`, for instance `InvalidInput` if `multiaddr` is no group.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{Ipv4Addr, UdpSocket};
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let error = socket.join_multicast_v4(&Ipv4Addr::LOCALHOST, &Ipv4Addr::LOCALHOST).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.source.get_ref().join_multicast_v4(multiaddr, interface)
    }

    /// Joins a group of IPv6, on the interface with the given index (IPV6_ADD_MEMBERSHIP). Does not yield.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt`, for instance `InvalidInput` if `multiaddr` is no group.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{Ipv6Addr, UdpSocket};
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert!(socket.join_multicast_v6(&Ipv6Addr::LOCALHOST, 0).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.source.get_ref().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a group of IPv4 (IP_DROP_MEMBERSHIP). Does not yield.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if the socket is not in that group.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{Ipv4Addr, UdpSocket};
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let group = Ipv4Addr::new(224, 0, 0, 251);
    /// let error = socket.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.source.get_ref().leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a group of IPv6 (IPV6_DROP_MEMBERSHIP). Does not yield.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if the socket is not in that group.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{Ipv6Addr, UdpSocket};
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert!(socket.leave_multicast_v6(&Ipv6Addr::LOCALHOST, 0).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.source.get_ref().leave_multicast_v6(multiaddr, interface)
    }

    // adopt, release, try_clone, set_nonblocking, set_read_timeout, set_write_timeout, read_timeout, write_timeout.
    transfer!(
        UdpSocket,
        std::net::UdpSocket,
        "let socket = greenloop::net::UdpSocket::bind(\"127.0.0.1:0\")?;",
        "socket.recv(&mut [0; 1])"
    );
    // take_error, close.
    common!("let socket = greenloop::net::UdpSocket::bind(\"127.0.0.1:0\")?;");
}

// From and into std::net::UdpSocket and OwnedFd, IntoRawFd, AsFd, AsRawFd, Debug.
convert!(UdpSocket, std::net::UdpSocket);
