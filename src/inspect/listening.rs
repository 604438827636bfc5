//! An OS thread that answers who connects.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::channel::{self, Sender};
use crate::fiber::catch;
use crate::hub::bystander::Bystander;
use crate::hub::make_own_hub;
use crate::pool::Pool;
use crate::sys::os_thread::real;
use crate::task::{sleep, spawn};

/// Connections that are served at a time. More wait in the kernel's backlog.
const MOST_CONNECTIONS: usize = 16;
/// After an accept that fails, for instance for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that listens, on an OS thread of its own. [`serve_metrics`](super::serve_metrics) and [`listen`](fn@super::listen) return it.
///
/// Dropped, it listens for as long as the process is. It is no reason for a hub to wait: a [`LoopExit`](crate::LoopExit) comes as without
/// it. The child of a fork has no such thread. It is at work all the time, so the process [starts](crate::process::Process) no others
/// meanwhile, but by a [`Zygote`](crate::process::Zygote) that was there before.
#[must_use = "it listens also without it: say so by `drop`, or keep it to stop it"]
pub struct Listening {
    stopper: Sender<()>,
    thread: thread::JoinHandle<()>,
    process: u32,
}

impl Listening {
    /// Begins: `open` is called on the new OS thread, and gives what accepts; `serve` is called with each connection, in a green thread of
    /// its own; `end` when it was stopped.
    pub(super) fn begin<A, S>(
        name: &str,
        open: impl FnOnce() -> A + Send + 'static,
        serve: impl Fn(S) + Send + 'static,
        end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Listening>
    where
        A: FnMut() -> io::Result<S> + 'static,
        S: 'static,
    {
        let (stopper, stopped) = channel::unbounded::<()>();
        let kept = stopper.clone();
        let (begun, has_begun) = mpsc::channel();
        let attend = move || {
            let _bystander = Bystander::begin();
            make_own_hub();
            catch("what listens for `inspect`", || {
                let mut accept = open();
                let (serve, pool) = (Rc::new(serve), Rc::new(Pool::new(MOST_CONNECTIONS)));
                let members = pool.clone();
                let acceptor = spawn(move || {
                    loop {
                        match accept() {
                            Ok(connection) => {
                                let serve = serve.clone();
                                drop(members.spawn(move || serve(connection)));
                            }
                            Err(_) => sleep(PAUSE),
                        }
                    }
                });
                let _ = begun.send(());
                let _ = stopped.recv();
                acceptor.kill();
                pool.kill();
            });
            catch("what listens for `inspect`", end);
            drop(kept);
        };
        let thread = real(|| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(attend)?;
            let _ = has_begun.recv();
            Ok::<_, io::Error>(thread)
        })?;
        Ok(Listening { stopper, thread, process: std::process::id() })
    }

    /// Stops: nobody is listened to any more, and who is being served is cut off. Blocks the OS thread for that moment, and does not
    /// yield. In the child of a fork it does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect;
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// inspect::serve_metrics(listener)?.stop();
    /// assert!(TcpStream::connect(address).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(self) {
        if self.process != std::process::id() {
            return;
        }
        let _ = self.stopper.send(());
        // What it raises has been reported.
        let _ = real(|| self.thread.join());
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Listening")
            .field("thread", &self.thread.thread().id())
            .finish_non_exhaustive()
    }
}
