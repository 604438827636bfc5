//! How a worker serves.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::worker::Worker;
use crate::net::{TcpListener, TcpStream};
use crate::pool::Group;
use crate::sys::socket::is_unusable;
use crate::task::{self, Waitable};

/// How long to wait after accepting has failed for the first time; then twice as long each time.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

impl Worker {
    /// Serves the connections of the supervisor's first listener until the worker is to stop: says that it is ready, and runs `handler` in
    /// a green thread for each. Then it accepts no more, gives the handlers [`grace`](Worker::grace) to end, and kills those that need
    /// longer.
    ///
    /// What a handler returns is dropped. When accepting fails, for instance because no descriptor is left, it is tried again after 10 ms,
    /// then after 20 ms, and so on up to a second. For more, such as a limit or TLS, give a [`listener`](Worker::listener) to a
    /// [server](crate::server).
    ///
    /// The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends it by unwinding, and leaves the
    /// handlers alone.
    ///
    /// # Errors
    ///
    /// As [`listener`](Worker::listener), and that it is no listener for TCP.
    ///
    /// # Examples
    ///
    /// See [`request_served`](Worker::request_served) and [`Supervisor`](super::Supervisor).
    ///
    /// ```
    /// use greenloop::processes::Supervisor;
    /// use std::io::Write;
    ///
    /// let supervisor = Supervisor::new().bind("127.0.0.1:0")?;
    /// supervisor.run(|worker| {
    /// #     let stop = std::os::unix::process::parent_id().to_string();
    /// #     greenloop::spawn(|| greenloop::process::Command::new("kill").arg(stop).status());
    ///     worker.serve(|mut stream, _peer| stream.write_all(b"hello"))?;
    ///     assert!(worker.is_stopping());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serve(
        &self,
        handler: impl Fn(TcpStream, SocketAddr) -> io::Result<()> + 'static,
    ) -> io::Result<()> {
        let listener: TcpListener = self.listener(0)?;
        // It is O_NONBLOCK for all who have it, and that is no wish of anybody's here.
        listener.set_nonblocking(false)?;
        let handlers = Rc::new(Group::new());
        let accepting = task::spawn({
            let handlers = Rc::clone(&handlers);
            move || accept(&listener, &handlers, &Rc::new(handler))
        });
        self.ready();
        let (failed, stopping): (&dyn Waitable, &dyn Waitable) = (&accepting, self.stopping());
        task::wait_any([failed, stopping]);
        if accepting.is_finished() {
            return accepting.join().map_err(io::Error::other)?;
        }
        accepting.kill();
        if !handlers.join_timeout(self.grace()) {
            handlers.kill();
        }
        Ok(())
    }
}

/// Accepts until that cannot be done any more.
fn accept<H: Fn(TcpStream, SocketAddr) -> io::Result<()> + 'static>(
    listener: &TcpListener,
    handlers: &Group,
    handler: &Rc<H>,
) -> io::Result<()> {
    let mut delay = FIRST_DELAY;
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                delay = FIRST_DELAY;
                let handler = Rc::clone(handler);
                // What it returns is its own affair.
                drop(handlers.spawn(move || drop(handler(stream, peer))));
            }
            Err(error) if is_unusable(&error) => return Err(error),
            Err(_) => {
                task::sleep(delay);
                delay = (2 * delay).min(LONGEST_DELAY);
            }
        }
    }
}
