//! How values travel between processes.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};

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
            let before = into.bytes.len();
            value.put(into);
            if into.bytes.len() == before {
                // So that a number of them that cannot be true is seen from the length.
                into.bytes.push(0);
            }
        }
    }

    /// Reads so many values.
    #[doc(hidden)]
    fn take_all(count: usize, from: &mut Incoming<'_>) -> Option<Vec<Self>> {
        if count > from.bytes.len() {
            return None;
        }
        let mut values = Vec::with_capacity(count.min(4096));
        for _ in 0..count {
            let before = from.bytes.len();
            values.push(Self::take(from)?);
            if from.bytes.len() == before {
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
        Self::decode(std::mem::take(&mut from.bytes))
    }
}

/// The format of values that are [`Wire`], which channels have by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain(PhantomData<()>);

impl<T: Wire> Codec<T> for Plain {
    fn encode(value: &T, into: &mut Vec<u8>) -> io::Result<()> {
        let mut outgoing = Outgoing { bytes: std::mem::take(into), descriptors: Vec::new() };
        value.put(&mut outgoing);
        let Outgoing { bytes, descriptors } = outgoing;
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
        T::take(from).filter(|_| from.bytes.is_empty()).ok_or_else(undecodable)
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
}

impl<'a> Outgoing<'a> {
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
        self.bytes.extend_from_slice(bytes);
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
    pub(crate) fn length(&self) -> (usize, usize) {
        (self.bytes.len(), self.descriptors.len())
    }

    /// Takes back what was written after that.
    pub(crate) fn truncate(&mut self, (bytes, descriptors): (usize, usize)) {
        self.bytes.truncate(bytes);
        self.descriptors.truncate(descriptors);
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
        &self.bytes
    }
}

/// A message that is being read.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub(super) bytes: &'a [u8],
    /// In the order in which they come; what is left is closed.
    pub(super) descriptors: std::vec::IntoIter<OwnedFd>,
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
        Incoming { bytes, descriptors: Vec::new().into_iter() }
    }

    /// Whether all bytes have been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn with_descriptors(bytes: &'a [u8], descriptors: Vec<OwnedFd>) -> Incoming<'a> {
        Incoming { bytes, descriptors: descriptors.into_iter() }
    }

    /// Takes all that is left.
    pub(crate) fn clear(&mut self) {
        self.bytes = &[];
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
