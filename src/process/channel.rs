//! Channels between processes.

use std::io;

use super::line::Line;
use super::receiver::Receiver;
use super::sender::Sender;
use super::wire::{Codec, Wire};

/// Makes a channel whose ends may be in different processes.
///
/// Give an end to a child by moving it into the closure of [`Process::start`](super::Process::start): the parent's copy is closed then,
/// and the child closes all other ends. An end can also be sent over another channel. There may be any number of ends on both sides, in any
/// number of processes; each message goes to one receiver.
///
/// A message is in the channel whole or not at all, whoever is killed at whatever moment. The channel holds some 200 KB, a sender waits
/// for room.
///
/// # Errors
///
/// No descriptor is left.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Process, channel};
///
/// let (sender, receiver) = channel::<String>()?;
/// let child = Process::start(move || sender.send(&"from the child".to_owned()).is_ok())?;
/// assert_eq!(receiver.recv()?, "from the child");
/// assert!(receiver.recv().is_err()); // the child was the only sender
/// assert!(child.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel<T: Wire>() -> io::Result<(Sender<T>, Receiver<T>)> {
    channel_with()
}

/// Like [`channel`], with a format of your own.
///
/// # Errors
///
/// As [`channel`].
///
/// # Examples
///
/// See [`Codec`].
///
/// ```
/// use greenloop::process::{Plain, channel_with};
///
/// let (sender, receiver) = channel_with::<u8, Plain>()?; // the default
/// sender.send(&1)?;
/// assert_eq!(receiver.recv()?, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel_with<T, C: Codec<T>>() -> io::Result<(Sender<T, C>, Receiver<T, C>)> {
    let (left, right) = Line::pair()?;
    Ok((Sender::new(left), Receiver::new(right)))
}
