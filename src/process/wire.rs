//! How values travel between processes.

use std::cell::OnceCell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::contents::{Contents, Unread};
use crate::sys::memory;

/// How many descriptors a message may carry.
const MOST_DESCRIPTORS: usize = 64;

/// A value that can travel to another process.
///
/// It is implemented for numbers, `bool`, `char`, text, paths, times, addresses, [`io::Error`], descriptors, the ends of
/// [channels](super::channel()), [shared memory](crate::processes::shared), and for options, results, boxes, ranges, tuples, arrays,
/// vectors and maps of such values. For a struct or an enum of your own the macro [`wire!`](crate::wire) implements it. For a format of
/// another crate, see [`Codec`].
///
/// References are none, since nobody would own what they refer to: a closure returns a `String` rather than a `&str`.
///
/// Both sides are the same program, so there are no versions. Bytes that no value has made are refused, never trusted.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Incoming, Outgoing, Wire};
///
/// #[derive(Debug, PartialEq)]
/// struct Celsius(f64);
///
/// impl Wire for Celsius {
///     fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
///         self.0.put(into);
///     }
///
///     fn take(from: &mut Incoming<'_>) -> Option<Celsius> {
///         f64::take(from).filter(|degrees| *degrees >= -273.15).map(Celsius)
///     }
/// }
///
/// let (sender, receiver) = greenloop::process::channel::<Celsius>()?;
/// sender.send(&Celsius(21.5))?;
/// assert_eq!(receiver.recv()?, Celsius(21.5));
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Wire: Sized {
    /// Writes the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Outgoing, Wire};
    ///
    /// let mut message = Outgoing::new();
    /// 7_u8.put(&mut message);
    /// assert_eq!(message.bytes(), [7]);
    /// ```
    fn put<'a>(&'a self, into: &mut Outgoing<'a>);

    /// Reads a value. `None` if what is there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Incoming, Wire};
    ///
    /// let mut message = Incoming::new(&[7, 2]);
    /// assert_eq!(u8::take(&mut message), Some(7));
    /// assert_eq!(bool::take(&mut message), None); // 2 is none
    /// ```
    fn take(from: &mut Incoming<'_>) -> Option<Self>;

    /// Writes many values, one after the other, without their number. Bytes have a faster way.
    #[doc(hidden)]
    fn put_all<'a>(values: &'a [Self], into: &mut Outgoing<'a>) {
        for value in values {
            let before = into.total();
            value.put(into);
            if into.total() == before {
                // So that a number of them that cannot be true is seen from the length.
                into.put_bytes(&[0]);
            }
        }
    }

    /// Reads so many values.
    #[doc(hidden)]
    fn take_all(count: usize, from: &mut Incoming<'_>) -> Option<Vec<Self>> {
        if count > from.length() {
            return None;
        }
        let mut values = Vec::with_capacity(count.min(4096));
        for _ in 0..count {
            let before = from.length();
            values.push(Self::take(from)?);
            if from.length() == before {
                from.take_bytes(1)?;
            }
        }
        Some(values)
    }
}

/// A format for values, of your own or of another crate.
///
/// # Examples
///
/// Serde's format postcard takes three lines:
///
/// ```text
/// struct Postcard;
/// impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
///     fn encode(value: &T, into: &mut Vec<u8>) -> io::Result<()> { /* postcard::to_io */ }
///     fn decode(bytes: &[u8]) -> io::Result<T> { postcard::from_bytes(bytes).map_err(io::Error::other) }
/// }
/// ```
///
/// And one by hand:
///
/// ```
/// use greenloop::process::{Codec, channel_with};
/// use std::io;
///
/// struct Decimal;
///
/// impl Codec<u64> for Decimal {
///     fn encode(value: &u64, into: &mut Vec<u8>) -> io::Result<()> {
///         into.extend(value.to_string().bytes());
///         Ok(())
///     }
///
///     fn decode(bytes: &[u8]) -> io::Result<u64> {
///         let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
///         text.parse().map_err(io::Error::other)
///     }
/// }
///
/// let (sender, receiver) = channel_with::<u64, Decimal>()?;
/// sender.send(&42)?;
/// assert_eq!(receiver.recv()?, 42);
/// # Ok::<(), io::Error>(())
/// ```
pub trait Codec<T> {
    /// Writes the value. An error goes to who sends it, and nothing is sent.
    ///
    /// # Errors
    ///
    /// Whatever keeps the value from being written.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Codec, Plain};
    ///
    /// let mut bytes = Vec::new();
    /// <Plain as Codec<u16>>::encode(&258, &mut bytes)?;
    /// assert_eq!(bytes, [2, 1]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn encode(value: &T, into: &mut Vec<u8>) -> io::Result<()>;

    /// Reads the value. An error goes to who receives it, and the next message is as good as ever.
    ///
    /// # Errors
    ///
    /// The bytes are no value.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Codec, Plain};
    ///
    /// assert_eq!(<Plain as Codec<u16>>::decode(&[2, 1])?, 258);
    /// assert!(<Plain as Codec<u16>>::decode(&[2]).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn decode(bytes: &[u8]) -> io::Result<T>;

    /// Writes the value with the descriptors in it.
    #[doc(hidden)]
    fn put<'a>(value: &'a T, into: &mut Outgoing<'a>) -> io::Result<()> {
        Self::encode(value, &mut into.bytes)
    }

    /// Reads the value with the descriptors in it.
    #[doc(hidden)]
    fn take(from: &mut Incoming<'_>) -> io::Result<T> {
        Self::decode(from.take_bytes(from.length()).ok_or_else(undecodable)?)
    }
}

/// The format of values that are [`Wire`], which channels have by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain(PhantomData<()>);

impl<T: Wire> Codec<T> for Plain {
    fn encode(value: &T, into: &mut Vec<u8>) -> io::Result<()> {
        let mut outgoing = Outgoing { bytes: std::mem::take(into), ..Outgoing::default() };
        value.put(&mut outgoing);
        let Outgoing { bytes, descriptors, .. } = outgoing;
        *into = bytes;
        match descriptors.is_empty() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "bytes alone carry no descriptor")),
        }
    }

    fn decode(bytes: &[u8]) -> io::Result<T> {
        <Plain as Codec<T>>::take(&mut Incoming::new(bytes))
    }

    fn put<'a>(value: &'a T, into: &mut Outgoing<'a>) -> io::Result<()> {
        value.put(into);
        Ok(())
    }

    fn take(from: &mut Incoming<'_>) -> io::Result<T> {
        // What is left over was put by no value either.
        T::take(from).filter(|_| from.is_empty()).ok_or_else(undecodable)
    }
}

/// The error of bytes that are no value.
#[cold]
pub(super) fn undecodable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the bytes are no value of that type")
}

/// A message that is being written.
#[derive(Debug, Default)]
pub struct Outgoing<'a> {
    pub(super) bytes: Vec<u8>,
    pub(super) descriptors: Vec<BorrowedFd<'a>>,
    /// Bytes that are not copied, and after how many of the others each comes.
    borrowed: Vec<(usize, &'a [u8])>,
    /// Whether it may have such.
    may_borrow: bool,
    /// All in one, if somebody has asked for that.
    whole: OnceCell<Vec<u8>>,
}

/// What is so long is not copied, if it need not be.
const LONG: usize = 256 * 1024;

impl<'a> Outgoing<'a> {
    /// One that is sent before anything changes of which it is made.
    pub(super) fn borrowing() -> Outgoing<'a> {
        Outgoing { may_borrow: true, ..Outgoing::default() }
    }

    /// How many bytes it has.
    pub(super) fn total(&self) -> usize {
        self.borrowed.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + self.bytes.len()
    }

    /// The bytes, piece by piece.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut done = 0;
        let with_what_is_before = self.borrowed.iter().flat_map(move |&(place, bytes)| {
            let before = &self.bytes[std::mem::replace(&mut done, place)..place];
            [before, bytes]
        });
        let last = self.borrowed.last().map_or(0, |&(place, _)| place);
        with_what_is_before.chain([&self.bytes[last..]])
    }

    /// Appends the bytes of a vector.
    pub(super) fn put_slice(&mut self, bytes: &'a [u8]) {
        if self.may_borrow && bytes.len() >= LONG {
            self.borrowed.push((self.bytes.len(), bytes));
            self.whole.take();
        } else {
            self.change(|own| memory::append(own, bytes));
        }
    }

    /// Changes the bytes that it has itself.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.bytes);
        if !self.borrowed.is_empty() {
            self.whole.take();
        }
    }

    /// An empty one.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::process::Outgoing::new().bytes(), [0; 0]);
    /// ```
    pub fn new() -> Outgoing<'a> {
        Outgoing::default()
    }

    /// Appends bytes as they are. Their number is yours to write, if it is not known.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = greenloop::process::Outgoing::new();
    /// message.put_bytes(&[1, 2]);
    /// assert_eq!(message.bytes(), [1, 2]);
    /// ```
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.change(|own| own.extend_from_slice(bytes));
    }

    /// Appends a descriptor, of which the receiver gets a copy.
    ///
    /// A message has room for 64.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    ///
    /// let file = std::fs::File::open("/dev/null")?;
    /// let mut message = greenloop::process::Outgoing::new();
    /// message.put_descriptor(file.as_fd());
    /// assert!(message.bytes().is_empty()); // it travels beside the bytes
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn put_descriptor(&mut self, descriptor: BorrowedFd<'a>) {
        self.descriptors.push(descriptor);
    }

    /// How much has been written.
    pub(crate) fn length(&self) -> Length {
        Length(self.bytes.len(), self.descriptors.len(), self.borrowed.len())
    }

    /// Takes back what was written after that.
    pub(crate) fn truncate(&mut self, Length(bytes, descriptors, borrowed): Length) {
        self.whole.take();
        self.bytes.truncate(bytes);
        self.descriptors.truncate(descriptors);
        self.borrowed.truncate(borrowed);
    }

    /// # Errors
    ///
    /// `InvalidInput` if it has more descriptors than a message of the program's may have.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.descriptors.len() > MOST_DESCRIPTORS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a message carries 64 descriptors at most",
            ));
        }
        Ok(())
    }

    /// The bytes, and the descriptors beside them.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<BorrowedFd<'a>>) {
        (self.bytes, self.descriptors)
    }

    /// What has been written so far.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Outgoing, Wire};
    ///
    /// let mut message = Outgoing::new();
    /// true.put(&mut message);
    /// assert_eq!(message.bytes(), [1]);
    /// ```
    pub fn bytes(&self) -> &[u8] {
        if self.borrowed.is_empty() {
            return &self.bytes;
        }
        self.whole.get_or_init(|| self.pieces().collect::<Vec<_>>().concat())
    }
}

/// How much of a message there is: bytes of its own, descriptors, and vectors that are borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length(usize, usize, usize);

/// A message that is being read.
#[derive(Debug)]
pub struct Incoming<'a> {
    bytes: &'a [u8],
    /// What comes after those.
    unread: Option<Unread<'a>>,
    /// In the order in which they come; what is left is closed.
    descriptors: std::vec::IntoIter<OwnedFd>,
}

impl<'a> Incoming<'a> {
    /// One of these bytes, without descriptors.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = greenloop::process::Incoming::new(b"abc");
    /// assert_eq!(message.take_bytes(2), Some(&b"ab"[..]));
    /// ```
    pub fn new(bytes: &'a [u8]) -> Incoming<'a> {
        Incoming::with_descriptors(bytes, Vec::new())
    }

    /// Whether all bytes have been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.length() == 0
    }

    /// How many bytes are left.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len() + self.unread.as_ref().map_or(0, Unread::length)
    }

    pub(crate) fn with_descriptors(bytes: &'a [u8], descriptors: Vec<OwnedFd>) -> Incoming<'a> {
        Incoming { bytes, unread: None, descriptors: descriptors.into_iter() }
    }

    /// A message that has come. To be read once.
    pub(crate) fn of(contents: &'a Contents, descriptors: Vec<OwnedFd>) -> Incoming<'a> {
        let (bytes, unread) = (contents.first(), contents.unread());
        Incoming { bytes, unread, descriptors: descriptors.into_iter() }
    }

    /// The next so many bytes, as a vector of their own.
    pub(super) fn take_vector(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        match &mut self.unread {
            Some(unread) if count > self.bytes.len() => {
                let later = count - self.bytes.len();
                if later > unread.length() {
                    return None;
                }
                bytes.try_reserve_exact(count).ok()?;
                bytes.extend_from_slice(std::mem::take(&mut self.bytes));
                unread.append_to(&mut bytes, later)?;
            }
            _ => memory::append(&mut bytes, self.take_bytes(count)?),
        }
        Some(bytes)
    }

    /// Takes all that is left.
    pub(crate) fn clear(&mut self) {
        self.bytes = &[];
        self.unread = None;
        self.descriptors = Vec::new().into_iter();
    }

    /// The next so many bytes. `None` if there are not as many.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut message = greenloop::process::Incoming::new(b"abc");
    /// assert_eq!(message.take_bytes(4), None);
    /// assert_eq!(message.take_bytes(3), Some(&b"abc"[..]));
    /// ```
    pub fn take_bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        if count > self.bytes.len()
            && let Some(unread) = self.unread.take_if(|unread| count <= self.bytes.len() + unread.length())
        {
            self.bytes = unread.read(self.bytes)?;
        }
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    /// The next descriptor. `None` if there is none left.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenloop::process::Incoming::new(b"abc").take_descriptor().is_none());
    /// ```
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.next()
    }
}
