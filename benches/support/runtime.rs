//! What a workload needs of a kind of thread.

use std::io::{Read, Write};
use std::time::Duration;

use super::output::Output;

/// A kind of thread, with the primitives that go with it. Everything is generic, so a workload compiles to direct calls.
pub(crate) trait Runtime: 'static {
    type Handle: 'static;
    fn spawn<F: FnOnce() + Send + 'static>(body: F) -> Self::Handle;
    fn join(handle: Self::Handle);
    fn yield_now();
    fn sleep(duration: Duration);

    /// Wakes all waiters, and stays set.
    type Event: Send + Sync + 'static;
    fn event() -> Self::Event;
    fn wait(event: &Self::Event);
    fn set(event: &Self::Event);

    /// The usual bounded channel.
    type Sender: Send + 'static;
    type Receiver: Send + 'static;
    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver);
    fn send(sender: &Self::Sender, value: u64);
    fn receive(receiver: &Self::Receiver) -> u64;

    type Mutex: Send + Sync + 'static;
    fn mutex() -> Self::Mutex;
    fn with_lock(mutex: &Self::Mutex, body: impl FnOnce(&mut u64));

    type Listener: Send + 'static;
    type Stream: Read + Write + Send + 'static;
    /// On 127.0.0.1; port 0 is any.
    fn listen(port: u16) -> Self::Listener;
    fn port(listener: &Self::Listener) -> u16;
    /// The next connection, without Nagle's delay.
    fn accept(listener: &Self::Listener) -> Self::Stream;
    /// To 127.0.0.1, without Nagle's delay.
    fn connect(port: u16) -> Self::Stream;

    /// Does `iterations` direct switches between two tasks, without a scheduler; `false` where that does not exist.
    fn pingpong(_iterations: usize) -> bool {
        false
    }

    /// Lines of `info`.
    fn info(output: &Output);
}
