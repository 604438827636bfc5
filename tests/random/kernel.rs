//! Operations on sockets, files and processes.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use greenloop::io::{Interest, wait_fd};
use greenloop::process::Command;

use super::program::{Patience, Step};
use super::run::{Frame, micros};
use super::verb::Verb;
use super::world::{Objects, Socket, locked};

impl Frame<'_> {
    /// One of these; of others nothing is done.
    pub(super) fn kernel_step(&self, step: &Step, objects: &Arc<Objects>) {
        match step.verb {
            Verb::WriteSocket
            | Verb::ReadSocket
            | Verb::CloseSocket
            | Verb::ShutSocket
            | Verb::WaitSocket => {
                let socket = locked(&objects.sockets[step.object]).clone();
                if let Some(socket) = socket {
                    self.socket_step(step, objects, &socket);
                }
            }
            Verb::File => drop(greenloop::fs::read("/proc/self/comm")),
            Verb::Process => {
                if let Ok(mut child) = Command::new("true").spawn() {
                    self.patiently(step, || drop(child.wait()));
                }
            }
            _ => {}
        }
    }

    fn socket_step(&self, step: &Step, objects: &Objects, socket: &Socket) {
        match step.verb {
            Verb::WriteSocket => {
                let bytes = vec![7; step.number as usize];
                let written = self.patiently(step, || socket.write(&bytes));
                if let Some(Ok(written)) = written {
                    objects.bytes[step.object ^ 1].fetch_add(written as i64, SeqCst);
                }
            }
            Verb::ReadSocket => {
                let mut bytes = vec![0; step.number as usize];
                let read = self.patiently(step, || socket.read(&mut bytes));
                if let Some(Ok(read)) = read {
                    objects.bytes[step.object].fetch_sub(read as i64, SeqCst);
                    if bytes[..read].iter().any(|byte| *byte != 7) {
                        self.world.fault("bytes that nobody wrote", "");
                    }
                }
            }
            Verb::CloseSocket => {
                objects.cut[step.object / 2].store(true, SeqCst);
                drop(socket.close());
            }
            Verb::ShutSocket => drop(socket.shutdown()),
            _ => {
                let timeout = match self.patience(step) {
                    Patience::Forever => None,
                    Patience::Never => Some(micros(0)),
                    Patience::Micros(time) => Some(micros(time)),
                };
                drop(match socket {
                    Socket::Unix(stream) => wait_fd(stream, Interest::READABLE, timeout),
                    Socket::Tcp(stream) => wait_fd(stream, Interest::READABLE, timeout),
                });
            }
        }
    }
}
