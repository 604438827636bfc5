//! The values that can travel: std's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, Hash};
use std::io::{self, ErrorKind};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::wire::{Incoming, Outgoing, Wire};

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Wire for $number {
            fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
                into.put_bytes(&self.to_le_bytes());
            }

            fn take(from: &mut Incoming<'_>) -> Option<$number> {
                let bytes = from.take_bytes(size_of::<$number>())?;
                Some(<$number>::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )* };
}
numbers!(u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl Wire for u8 {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_bytes(&[*self]);
    }

    fn take(from: &mut Incoming<'_>) -> Option<u8> {
        from.take_bytes(1).map(|bytes| bytes[0])
    }

    fn put_all<'a>(values: &'a [u8], into: &mut Outgoing<'a>) {
        into.put_slice(values);
    }

    fn take_all(count: usize, from: &mut Incoming<'_>) -> Option<Vec<u8>> {
        from.take_vector(count)
    }
}

/// Implements it by way of another type: how one is made of the other, and back.
macro_rules! by_way_of {
    ($($type:ty: $other:ty, |$value:ident| $there:expr, |$back:ident| $here:expr;)*) => { $(
        impl Wire for $type {
            fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
                let $value = self;
                let other: $other = $there;
                put_plain(&other, into);
            }

            fn take(from: &mut Incoming<'_>) -> Option<$type> {
                let $back = <$other>::take(from)?;
                $here
            }
        }
    )* };
}

/// Writes what carries no descriptor, and need not live as long as the message.
fn put_plain<T: Wire>(value: &T, into: &mut Outgoing<'_>) {
    into.change(|own| {
        let mut outgoing = Outgoing::new();
        outgoing.bytes = std::mem::take(own);
        value.put(&mut outgoing);
        *own = outgoing.bytes;
    });
}

by_way_of! {
    usize: u64, |value| *value as u64, |other| usize::try_from(other).ok();
    isize: i64, |value| *value as i64, |other| isize::try_from(other).ok();
    bool: u8, |value| u8::from(*value), |other| (other < 2).then_some(other == 1);
    char: u32, |value| u32::from(*value), |other| char::from_u32(other);
    Duration: (u64, u32), |value| (value.as_secs(), value.subsec_nanos()),
        |other| (other.1 < 1_000_000_000).then(|| Duration::new(other.0, other.1));
    SystemTime: (bool, Duration), |value| match value.duration_since(UNIX_EPOCH) {
        Ok(since) => (true, since),
        Err(before) => (false, before.duration()),
    }, |other| if other.0 { UNIX_EPOCH.checked_add(other.1) } else { UNIX_EPOCH.checked_sub(other.1) };
    Ipv4Addr: [u8; 4], |value| value.octets(), |other| Some(other.into());
    Ipv6Addr: [u8; 16], |value| value.octets(), |other| Some(other.into());
    IpAddr: Result<Ipv4Addr, Ipv6Addr>, |value| match value {
        IpAddr::V4(address) => Ok(*address),
        IpAddr::V6(address) => Err(*address),
    }, |other| Some(other.map_or_else(IpAddr::V6, IpAddr::V4));
    SocketAddrV4: (Ipv4Addr, u16), |value| (*value.ip(), value.port()), |other| Some(SocketAddrV4::new(other.0, other.1));
    SocketAddrV6: (Ipv6Addr, u16, u32, u32), |value| (*value.ip(), value.port(), value.flowinfo(), value.scope_id()),
        |other| Some(SocketAddrV6::new(other.0, other.1, other.2, other.3));
    SocketAddr: Result<SocketAddrV4, SocketAddrV6>, |value| match value {
        SocketAddr::V4(address) => Ok(*address),
        SocketAddr::V6(address) => Err(*address),
    }, |other| Some(other.map_or_else(SocketAddr::V6, SocketAddr::V4));
    io::Error: Result<i32, (u8, String)>, |value| match value.raw_os_error() {
        Some(number) => Ok(number),
        None => Err((number_of(value.kind()), value.to_string())),
    }, |other| Some(match other {
        Ok(number) => io::Error::from_raw_os_error(number),
        Err((number, text)) => io::Error::new(*KINDS.get(usize::from(number))?, text),
    });
}

/// Those that have a name, in an order of our own.
#[rustfmt::skip]
const KINDS: [ErrorKind; 39] = [
    ErrorKind::Other, ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset,
    ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable, ErrorKind::ConnectionAborted, ErrorKind::NotConnected,
    ErrorKind::AddrInUse, ErrorKind::AddrNotAvailable, ErrorKind::NetworkDown, ErrorKind::BrokenPipe, ErrorKind::AlreadyExists,
    ErrorKind::WouldBlock, ErrorKind::NotADirectory, ErrorKind::IsADirectory, ErrorKind::DirectoryNotEmpty,
    ErrorKind::ReadOnlyFilesystem, ErrorKind::StaleNetworkFileHandle, ErrorKind::InvalidInput, ErrorKind::InvalidData,
    ErrorKind::TimedOut, ErrorKind::WriteZero, ErrorKind::StorageFull, ErrorKind::NotSeekable, ErrorKind::QuotaExceeded,
    ErrorKind::FileTooLarge, ErrorKind::ResourceBusy, ErrorKind::ExecutableFileBusy, ErrorKind::Deadlock,
    ErrorKind::CrossesDevices, ErrorKind::TooManyLinks, ErrorKind::InvalidFilename, ErrorKind::ArgumentListTooLong,
    ErrorKind::Interrupted, ErrorKind::Unsupported, ErrorKind::UnexpectedEof, ErrorKind::OutOfMemory,
];

/// A kind without a name is [`ErrorKind::Other`] where it comes to.
fn number_of(kind: ErrorKind) -> u8 {
    KINDS.iter().position(|known| *known == kind).unwrap_or_default() as u8
}

impl Wire for () {
    fn put<'a>(&'a self, _: &mut Outgoing<'a>) {}

    fn take(_: &mut Incoming<'_>) -> Option<()> {
        Some(())
    }
}

fn put_counted<'a, T: Wire>(values: &'a [T], into: &mut Outgoing<'a>) {
    into.put_bytes(&(values.len() as u64).to_le_bytes());
    T::put_all(values, into);
}

fn take_counted<T: Wire>(from: &mut Incoming<'_>) -> Option<Vec<T>> {
    let count = usize::take(from)?;
    T::take_all(count, from)
}

impl Wire for String {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        put_counted(self.as_bytes(), into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<String> {
        String::from_utf8(take_counted(from)?).ok()
    }
}

impl Wire for OsString {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        put_counted(self.as_bytes(), into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<OsString> {
        take_counted(from).map(OsString::from_vec)
    }
}

impl Wire for PathBuf {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        put_counted(self.as_os_str().as_bytes(), into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<PathBuf> {
        OsString::take(from).map(PathBuf::from)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        put_counted(self, into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Vec<T>> {
        take_counted(from)
    }
}

impl<T: Wire, const N: usize> Wire for [T; N] {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        T::put_all(self, into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<[T; N]> {
        T::take_all(N, from)?.try_into().ok()
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        T::put(self, into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Box<T>> {
        T::take(from).map(Box::new)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_bytes(&[u8::from(self.is_some())]);
        if let Some(value) = self {
            value.put(into);
        }
    }

    fn take(from: &mut Incoming<'_>) -> Option<Option<T>> {
        if bool::take(from)? { T::take(from).map(Some) } else { Some(None) }
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_bytes(&[u8::from(self.is_ok())]);
        match self {
            Ok(value) => value.put(into),
            Err(error) => error.put(into),
        }
    }

    fn take(from: &mut Incoming<'_>) -> Option<Result<T, E>> {
        if bool::take(from)? { T::take(from).map(Ok) } else { E::take(from).map(Err) }
    }
}

impl<T: Wire> Wire for Range<T> {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.start.put(into);
        self.end.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Range<T>> {
        Some(T::take(from)?..T::take(from)?)
    }
}

macro_rules! tuples {
    ($($($name:ident)+;)*) => { $(
        impl<$($name: Wire),+> Wire for ($($name,)+) {
            #[expect(non_snake_case, reason = "the values have the names of their types")]
            fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
                let ($($name,)+) = self;
                $($name.put(into);)+
            }

            fn take(from: &mut Incoming<'_>) -> Option<Self> {
                Some(($($name::take(from)?,)+))
            }
        }
    )* };
}
tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

/// Collections, as their items with the number of these before.
macro_rules! collections {
    ($([$($generics:tt)*] $type:ty, $item:ty, |$self:ident| $items:expr;)*) => { $(
        impl<$($generics)*> Wire for $type {
            fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
                let $self = self;
                into.put_bytes(&(self.len() as u64).to_le_bytes());
                $items
                    .for_each(|item| {
                        let before = into.total();
                        item(into);
                        if into.total() == before {
                            into.put_bytes(&[0]);
                        }
                    });
            }

            fn take(from: &mut Incoming<'_>) -> Option<Self> {
                take_counted::<$item>(from).map(|items| items.into_iter().collect())
            }
        }
    )* };
}

/// What puts one item.
type Put<'a> = Box<dyn FnOnce(&mut Outgoing<'a>) + 'a>;

fn one<'a, T: Wire>(value: &'a T) -> Put<'a> {
    Box::new(move |into| value.put(into))
}

fn both<'a, K: Wire, V: Wire>((key, value): (&'a K, &'a V)) -> Put<'a> {
    Box::new(move |into| {
        key.put(into);
        value.put(into);
    })
}

collections! {
    [T: Wire] VecDeque<T>, T, |items| items.iter().map(one);
    [T: Wire + Ord] BTreeSet<T>, T, |items| items.iter().map(one);
    [T: Wire + Eq + Hash, S: BuildHasher + Default] HashSet<T, S>, T, |items| items.iter().map(one);
    [K: Wire + Ord, V: Wire] BTreeMap<K, V>, (K, V), |items| items.iter().map(both);
    [K: Wire + Eq + Hash, V: Wire, S: BuildHasher + Default] HashMap<K, V, S>, (K, V), |items| items.iter().map(both);
}

/// What is a descriptor.
macro_rules! descriptors {
    ($($type:ty),*) => { $(
        /// The receiver gets a copy of the descriptor, of the same open file.
        impl Wire for $type {
            fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
                into.put_descriptor(self.as_fd());
            }

            fn take(from: &mut Incoming<'_>) -> Option<$type> {
                from.take_descriptor().map(<$type>::from)
            }
        }
    )* };
}
descriptors!(OwnedFd, File, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream);
