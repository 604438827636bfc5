//! One worker accepts, and deals the connections out to all.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::balance::{Balance, least};
use crate::channel::{Receiver, Sender, unbounded};
use crate::server::Listener;
use crate::sys::socket;

/// A connection on its way to its worker, and then with it.
type Arrival<L> = ((<L as Listener>::Stream, Ticket), <L as Listener>::Address);

/// The way of connections to one worker, from who deals them out.
pub(super) struct Line<L: Listener> {
    sender: Sender<Arrival<L>>,
    connections: Arc<AtomicUsize>,
}

/// What one worker accepts: what another one has accepted for it, until that accepts no more and all of it has come.
pub(super) struct Dealt<L: Listener> {
    line: Receiver<Arrival<L>>,
    listener: Arc<L>,
}

/// Both ends of a way.
pub(super) fn line<L: Listener>(listener: &Arc<L>) -> (Line<L>, Dealt<L>) {
    let (sender, receiver) = unbounded();
    (Line { sender, connections: Arc::default() }, Dealt { line: receiver, listener: listener.clone() })
}

impl<L: Listener> Line<L> {
    fn connections(&self) -> usize {
        // Relaxed: a count, of which a late one does no harm.
        self.connections.load(Ordering::Relaxed)
    }

    fn ticket(&self) -> Ticket {
        // Relaxed: as above.
        self.connections.fetch_add(1, Ordering::Relaxed);
        Ticket(self.connections.clone())
    }
}

/// A connection that counts while this lives.
pub(super) struct Ticket(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        // Relaxed: as above.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who deals them out.
pub(super) struct Dealer<L: Listener> {
    /// To those who accept still.
    lines: RefCell<Vec<Rc<Line<L>>>>,
    balance: Balance,
    turn: Cell<usize>,
}

impl<L: Listener> Dealer<L> {
    pub(super) fn new(lines: Vec<Line<L>>, balance: Balance) -> Dealer<L> {
        let lines = lines.into_iter().map(Rc::new).collect();
        Dealer { lines: RefCell::new(lines), balance, turn: Cell::new(0) }
    }

    /// Gives a connection to one of those who accept.
    ///
    /// # Errors
    ///
    /// `NotConnected` if nobody does any more.
    pub(super) fn deal(&self, stream: L::Stream, peer: L::Address) -> io::Result<()> {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let mut arrival = (stream, peer);
        while let Some(line) = self.choose(turn) {
            let (stream, peer) = arrival;
            match line.sender.send(((stream, line.ticket()), peer)) {
                Ok(()) => return Ok(()),
                Err(refused) => {
                    // That server has been stopped, and the others not.
                    self.lines.borrow_mut().retain(|other| !Rc::ptr_eq(other, &line));
                    let ((stream, _ticket), peer) = refused.into_inner();
                    arrival = (stream, peer);
                }
            }
        }
        Err(io::ErrorKind::NotConnected.into())
    }

    fn choose(&self, turn: usize) -> Option<Rc<Line<L>>> {
        let lines = self.lines.borrow();
        let place = match self.balance {
            _ if lines.is_empty() => return None,
            Balance::RoundRobin => turn % lines.len(),
            _ => least(lines.iter().map(|line| line.connections()), turn),
        };
        Some(lines[place].clone())
    }
}

impl<L: Listener> AsFd for Dealt<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl<L: Listener> Listener for Dealt<L> {
    type Stream = (L::Stream, Ticket);
    type Address = L::Address;

    fn accept(&self) -> io::Result<(Self::Stream, L::Address)> {
        self.line.recv().map_err(|_gone| socket::unusable())
    }

    fn local_addr(&self) -> io::Result<L::Address> {
        self.listener.local_addr()
    }
}
