//! One server on all workers.

use std::io;
use std::sync::Arc;

use super::Workers;
use super::balance::Balance;
use super::deal::{Dealer, line};
use super::servers::{Beginning, Servers};
use crate::server::{Listener, Server, StreamServer};
use crate::sys::lock::Lock;

impl Workers {
    /// Serves the connections of `listener` on all workers: for each, `handler` runs in a green thread of its own, on the worker that
    /// `balance` says, and stays there.
    ///
    /// It gets the connection and the address of the peer. If it returns an error, that goes to the
    /// [hook for uncaught errors](crate::hub::set_uncaught_hook). For a limit, a hook, TLS or datagrams, use
    /// [`serve_with`](Workers::serve_with).
    ///
    /// Yields until all workers have begun; must not be called where nothing may wait. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and stops those that have begun.
    ///
    /// If the listener breaks, for instance because somebody else has shut it down, all of them accept no more, and
    /// [`Servers::wait`] returns. Workers that come later, by [`resize`](Workers::resize), do not serve.
    ///
    /// # Errors
    ///
    /// Of kind `Unsupported` for [`Balance::ReusePort`] with a listener that cannot be [beside](Listener::beside) another; of kind
    /// `NotConnected` if the workers have been stopped; those of the sockets.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::workers::{Balance, Workers};
    /// use std::{io, io::Write, time::Duration};
    ///
    /// let workers = Workers::new();
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let servers = workers.serve(listener, Balance::default(), |mut stream, _peer| stream.write_all(b"hello"))?;
    ///
    /// let stream = TcpStream::connect(servers.local_addr())?;
    /// assert_eq!(io::read_to_string(stream)?, "hello");
    /// servers.stop(Duration::from_secs(1));
    /// # Ok::<(), io::Error>(())
    /// ```
    #[doc(alias("prefork", "ReusePort"))]
    pub fn serve<L, H>(&self, listener: L, balance: Balance, handler: H) -> io::Result<Servers<L::Address>>
    where
        L: Listener<Stream: Send, Address: Send + Sync> + Send + Sync + 'static,
        H: Fn(L::Stream, L::Address) -> io::Result<()> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        match balance {
            Balance::Kernel => {
                let listener = Arc::new(listener);
                self.serve_with(move || {
                    let handler = handler.clone();
                    Ok(StreamServer::new(listener.clone()).handle(move |stream, peer| handler(stream, peer)))
                })
            }
            Balance::ReusePort => {
                let beginning = Beginning::on(self);
                let others = (1..beginning.number()).map(|_| listener.beside());
                let mut listeners = others.collect::<io::Result<Vec<L>>>()?;
                listeners.push(listener);
                let listeners = Lock::new(listeners);
                beginning.begin(move |_| {
                    let handler = handler.clone();
                    let listener = listeners.lock().pop().ok_or(io::ErrorKind::NotConnected)?;
                    Ok(StreamServer::new(listener).handle(move |stream, peer| handler(stream, peer)))
                })?;
                Ok(beginning.end())
            }
            Balance::LeastConnections | Balance::RoundRobin => self.deal(listener, balance, handler),
        }
    }

    /// Has each worker make a server of its own, and start it.
    ///
    /// `make` is called once on each worker. All may have the same listener or socket, in an [`Arc`]: then each connection or datagram goes
    /// to the worker that is quickest, as with [`Balance::Kernel`].
    ///
    /// Yields until all servers have started. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and
    /// stops those that have started.
    ///
    /// # Errors
    ///
    /// The first error of `make` or of [`Server::start`]: then none is left. Of kind `NotConnected` if the workers have been stopped.
    ///
    /// # Panics
    ///
    /// Panics with the payload of `make` if that panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{net::UdpSocket, server::DatagramServer, workers::Workers};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let workers = Workers::new();
    /// let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
    /// let servers = workers.serve_with(move || {
    ///     let server = DatagramServer::new(socket.clone());
    ///     Ok(server.handle(|socket, datagram, peer| socket.send_to(&datagram, peer).map(drop)))
    /// })?;
    ///
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"hello", servers.local_addr())?;
    /// assert_eq!(client.recv(&mut [0; 64])?, 5);
    /// servers.stop(Duration::from_secs(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serve_with<A, M>(&self, make: M) -> io::Result<Servers<A>>
    where
        A: Clone + Send + Sync + 'static,
        M: Fn() -> io::Result<Server<A>> + Send + Sync + 'static,
    {
        let beginning = Beginning::on(self);
        beginning.begin(move |_| make())?;
        Ok(beginning.end())
    }

    /// One worker accepts, and deals the connections out.
    fn deal<L, H>(&self, listener: L, balance: Balance, handler: Arc<H>) -> io::Result<Servers<L::Address>>
    where
        L: Listener<Stream: Send, Address: Send + Sync> + Send + Sync + 'static,
        H: Fn(L::Stream, L::Address) -> io::Result<()> + Send + Sync + 'static,
    {
        let mut beginning = Beginning::on(self);
        let number = beginning.number();
        let listener = Arc::new(listener);
        let (lines, dealt): (Vec<_>, Vec<_>) = (0..number).map(|_| line(&listener)).unzip();
        let dealt = Lock::new(dealt);
        beginning.begin(move |_| {
            let handler = handler.clone();
            let dealt = dealt.lock().pop().ok_or(io::ErrorKind::NotConnected)?;
            Ok(StreamServer::new(dealt).handle(move |(stream, _ticket), peer| handler(stream, peer)))
        })?;
        let accepts = self.crew().next_acceptor() % number;
        beginning.accept(accepts, move || {
            let dealer = Dealer::new(lines, balance);
            StreamServer::new(listener).handle(move |stream, peer| dealer.deal(stream, peer))
        })?;
        Ok(beginning.end())
    }
}
