//! Buffers for ureq that are as large as what is in them.
//!
//! ureq parses the head of a response where it lies, as a whole. Its own buffers would have to be as large as the largest head, in each
//! connection, from the start: a few thousand servers that take their time would fill the memory.

use std::io::{self, ErrorKind};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// How much is received at a time. ureq's own input buffers have this size.
pub const PART: usize = 8 << 10;
/// The longest request, and how much of it is sent at a time: the size of ureq's own output buffers.
const REQUEST: usize = 16 << 10;
pub const OUTPUT: usize = 2 << 10;
/// The most that may wait for its end: more than the longest head. Other pieces of a response are to be short, and ureq has no limit for them.
const LONGEST: usize = 288 << 10;

/// Puts buffers that grow before those of the transports below.
#[derive(Debug)]
pub struct GrowingConnector;

impl<T: Transport> Connector<T> for GrowingConnector {
    type Out = GrowingTransport<T>;

    fn connect(
        &self,
        _details: &ConnectionDetails,
        chained: Option<T>,
    ) -> Result<Option<GrowingTransport<T>>, Error> {
        Ok(chained.map(|inner| GrowingTransport { inner, buffers: GrowingBuffers::default() }))
    }
}

/// One connection of ureq's.
#[derive(Debug)]
pub struct GrowingTransport<T> {
    inner: T,
    buffers: GrowingBuffers,
}

impl<T: Transport> Transport for GrowingTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        // It is not needed while the answer is waited for.
        let output = std::mem::take(&mut self.buffers.output);
        let mut left = &output[..amount];
        while !left.is_empty() {
            let part = self.inner.buffers().output();
            let length = part.len().min(left.len());
            part[..length].copy_from_slice(&left[..length]);
            self.inner.transmit_output(length, timeout)?;
            left = &left[length..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if self.buffers.input().len() > LONGEST {
            let problem = "a piece of the response has no end";
            return Err(Error::Io(io::Error::new(ErrorKind::InvalidData, problem)));
        }
        let is_open = self.inner.await_input(timeout)?;
        let below = self.inner.buffers();
        let length = below.input().len();
        self.buffers.append(below.input());
        below.input_consume(length);
        Ok(is_open)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// They take no memory while there is nothing in them.
#[derive(Debug, Default)]
struct GrowingBuffers {
    input: Vec<u8>,
    consumed: usize,
    filled: usize,
    /// Whether the last look at the input has consumed some of it.
    progress: bool,
    output: Vec<u8>,
}

impl GrowingBuffers {
    fn append(&mut self, mut received: &[u8]) {
        while !received.is_empty() {
            let place = self.input_append_buf();
            let length = place.len().min(received.len());
            place[..length].copy_from_slice(&received[..length]);
            self.input_appended(length);
            received = &received[length..];
        }
    }
}

impl Buffers for GrowingBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.output.resize(REQUEST, 0);
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        &self.input[self.consumed..self.filled]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        if self.filled == self.input.len() {
            self.input.drain(..self.consumed);
            self.filled -= self.consumed;
            self.consumed = 0;
            self.input.resize(self.filled + PART, 0);
        }
        &mut self.input[self.filled..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.filled += amount;
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.consumed += amount;
        if self.consumed == self.filled {
            *self = GrowingBuffers {
                progress: self.progress,
                output: std::mem::take(&mut self.output),
                ..GrowingBuffers::default()
            };
        }
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.input_append_buf();
        self.output.resize(REQUEST, 0);
        (&mut self.input[self.filled..], &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        !self.input().is_empty() && self.progress
    }
}
