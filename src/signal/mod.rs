//! Signals, heard by green threads.
//!
//! [`on`] runs a closure in a fresh green thread whenever a signal comes; it may wait like any other. [`Signals`] is an iterator
//! over signals as they come. [`raise_in_main`] ends what the main greenlet does, as Ctrl-C does in Python.
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
//! stop.wait(); // and then the server ends in good order
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What comes of a signal runs in the hub of the OS thread that asked for it, when that next looks: at once if it waits, and
//! after the running green thread's turn if not. Several hubs may listen to one signal, and each may have several handlers: all of
//! them are told. One that comes again before the hub has looked counts once, as it does for the kernel.
//!
//! As long as somebody listens, the signal's default action is not taken. An earlier handler of the program, or of another
//! library, is still called. When nobody listens any more, everything is as it was.
//!
//! A hub that listens may be woken at any time, so it never reports a deadlock ([`LoopExit`](crate::LoopExit)); but a handler keeps
//! nobody from ending: [`Hub::join`](crate::hub::Hub::join) does not wait for it.

mod handler;
mod listeners;
mod signals;

pub use self::handler::{Handler, on, raise_in_main};
pub use self::signals::Signals;
pub use crate::error::Interrupted;
pub use crate::sys::signal::listening::numbers::*;
