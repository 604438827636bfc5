//! A stand-in until descriptors can be waited for: it waits for the bell alone.

use std::io;
use std::time::Duration;

use super::Driver;
use crate::sys::wake::Wake as Bell;

pub(crate) struct Reactor {
    bell: &'static Bell,
}

impl Reactor {
    pub(crate) fn new(_driver: Option<Driver>, bell: &'static Bell) -> io::Result<Reactor> {
        Ok(Reactor { bell })
    }

    pub(crate) fn waiting(&self) -> usize {
        0
    }

    pub(crate) fn poll(&self, timeout: Option<Duration>) {
        self.bell.wait(timeout);
    }
}
