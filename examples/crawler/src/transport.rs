//! ureq's sockets and name lookups, over greenloop: whatever an HTTP exchange waits for parks its green thread only.
//!
//! ureq's own timeouts stay unset. The caller runs the whole exchange inside `greenloop::with_timeout`, which ends
//! any wait in here, in ureq and in rustls.

use greenloop::net::TcpStream;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// Opens greenloop's TCP streams for ureq.
#[derive(Debug)]
pub struct GreenConnector;

impl Connector for GreenConnector {
    type Out = GreenTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<()>,
    ) -> Result<Option<GreenTransport>, Error> {
        let stream = TcpStream::connect(&details.addrs[..])?;
        stream.set_nodelay(details.config.no_delay())?;
        let sizes = (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(GreenTransport { stream, buffers: LazyBuffers::new(sizes.0, sizes.1) }))
    }
}

/// One connection of ureq's.
#[derive(Debug)]
pub struct GreenTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for GreenTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _timeout: NextTimeout) -> Result<(), Error> {
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, _timeout: NextTimeout) -> Result<bool, Error> {
        let count = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // ureq asks while it holds the lock of its pool, a std mutex, so nothing in here may yield. A second handle on
        // the socket, std's own, never does. An idle connection with something to read is closed, or out of step.
        let Ok(socket) = self.stream.as_fd().try_clone_to_owned().map(std::net::TcpStream::from) else {
            return false;
        };
        let silent = socket.set_nonblocking(true).is_ok()
            && socket.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        silent && socket.set_nonblocking(false).is_ok()
    }
}

/// Looks names up without stopping the other green threads.
#[derive(Debug)]
pub struct GreenResolver;

impl Resolver for GreenResolver {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let parts = uri.scheme().zip(uri.authority());
        let address = parts.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let address = address.ok_or_else(|| Error::BadUri(uri.to_string()))?;
        let mut found = self.empty();
        for address in greenloop::net::lookup_host(address.as_str())?.take(16) {
            found.push(address);
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}
