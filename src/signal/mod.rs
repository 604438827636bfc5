//! Signals, handled by green threads.
//!
//! [`on`] runs a closure in a fresh green thread whenever a signal comes; it may wait like any other. [`Signals`] is an iterator
//! over signals as they come. [`raise_in_main`] unwinds the main greenlet, as Ctrl-C does in Python.
//!
//! ```
//! use greenloop::event::Event;
//! use greenloop::process::Command;
//! use greenloop::signal::{self, SIGTERM};
//! use std::rc::Rc;
//!
//! let stop = Rc::new(Event::new());
//! let _handler = signal::on(SIGTERM, { let stop = stop.clone(); move || stop.set() })?;
//! Command::new("kill").arg(std::process::id().to_string()).status()?;
//! stop.wait(); // and then a server would end in good order
//! assert!(stop.is_set());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A handler runs in the hub of the OS thread that installed it, when that hub next looks: at once if the hub waits, otherwise after the
//! turn of the running green thread. Several hubs may listen to one signal, and each may have several handlers: all of them run. A
//! signal that comes again before the hub has looked counts once, as it does for the kernel.
//!
//! As long as there is a listener, the default action of the signal is not taken. A handler that the program or another library
//! installed earlier is still called. After the last listener is gone, the signal does what it did before.
//!
//! A hub that listens may be woken at any time, so it never reports a deadlock ([`LoopExit`](crate::LoopExit)). A handler does not
//! keep a hub from ending: [`Hub::join`](crate::hub::Hub::join) does not wait for it.

mod handler;
mod listeners;
mod signals;

pub use self::handler::{Handler, on, raise_in_main};
pub use self::signals::Signals;
pub use crate::error::Interrupted;
pub use crate::sys::signal::listening::numbers::*;
