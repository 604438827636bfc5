//! What a reactor knows of one file descriptor: who waits for it, and whether it was ready when last heard of.

use std::os::fd::RawFd;

use super::super::notify::Notify;
use super::super::waitlist::{Ticket, WaitList};
use crate::sys::readiness::Interest;

/// Which way an operation moves bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// Names a descriptor of one reactor for good: a slot and a generation, so that the key of one that is gone names none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(pub(super) u64);

impl Key {
    pub(super) fn new(index: u32, generation: u32) -> Key {
        Key(u64::from(generation) << 32 | u64::from(index))
    }

    pub(super) fn index(self) -> usize {
        self.0 as u32 as usize
    }

    /// For an atomic to keep.
    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Key {
        Key(bits)
    }
}

/// A file descriptor by its number, in one reactor.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) key: Key,
    pub(super) fd: RawFd,
    /// Whether it belongs to a source, which takes it out before the number can mean anything else.
    pub(super) owned: bool,
    /// What the driver was last asked for.
    pub(super) asked: Interest,
    halves: [Half; 2],
    /// Those who only want to hear of readiness, in order of arrival; each is told once.
    watchers: Vec<Watcher>,
}

/// Names one operation's place in the line at a [`Half`].
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    /// `None` if it came when nobody was there.
    ticket: Option<Ticket>,
}

/// One direction of a descriptor of greenloop's own. The operations on it take turns.
#[derive(Debug)]
pub(super) struct Half {
    /// Whether the next try may succeed: true until the kernel said otherwise.
    pub(super) ready: bool,
    /// The end of the stream or an error is behind what can be read or written.
    marked: bool,
    /// The id of the operation whose turn it is, 0 for none. It keeps the turn until it leaves, also while it is parked.
    turn: u64,
    /// Set while the operation whose turn it is waits for readiness.
    parked: Option<Notify>,
    /// While it waits for the kernel to do it instead, its token.
    performed: Option<u32>,
    /// Those whose turn has not come. Made by the first; most descriptors never have any.
    line: Option<Box<WaitList<(u64, Notify)>>>,
}

#[derive(Debug)]
struct Watcher {
    id: u64,
    interest: Interest,
    notify: Notify,
}

impl Descriptor {
    pub(super) fn new(key: Key, fd: RawFd) -> Descriptor {
        let halves = [Half::new(), Half::new()];
        Descriptor { key, fd, owned: false, asked: Interest::NONE, halves, watchers: Vec::new() }
    }

    #[inline]
    pub(super) fn half(&mut self, direction: Direction) -> &mut Half {
        &mut self.halves[direction as usize]
    }

    /// Takes in that the descriptor is ready, and wakes whom that concerns. Those whose notice may run code of others are
    /// handed out.
    #[inline]
    pub(super) fn hear(&mut self, ready: Interest, marked: bool, woken: &mut Vec<Notify>) {
        let [read, write] = &mut self.halves;
        if ready.is_readable() {
            read.hear(marked, woken);
        }
        if ready.is_writable() {
            write.hear(marked, woken);
        }
        if !self.watchers.is_empty() {
            self.tell_watchers(ready, woken);
        }
    }

    #[inline(never)]
    fn tell_watchers(&mut self, ready: Interest, woken: &mut Vec<Notify>) {
        let meant = |watcher: &mut Watcher| !watcher.interest.common(ready).is_none();
        woken.extend(self.watchers.extract_if(.., meant).map(|watcher| watcher.notify));
    }

    pub(super) fn watch(&mut self, id: u64, interest: Interest, notify: Notify) {
        self.watchers.push(Watcher { id, interest, notify });
    }

    /// The ids of those who watch.
    #[cfg(feature = "monkey")]
    pub(super) fn watching(&self) -> impl Iterator<Item = u64> {
        self.watchers.iter().map(|watcher| watcher.id)
    }

    /// Hands out whom it would have told, if it has not.
    pub(super) fn unwatch(&mut self, id: u64) -> Option<Notify> {
        let place = self.watchers.iter().position(|watcher| watcher.id == id)?;
        Some(self.watchers.remove(place).notify)
    }

    /// Whether anybody needs this descriptor.
    pub(super) fn is_needed(&self) -> bool {
        self.owned || !self.watchers.is_empty()
    }

    /// What the driver has to be asked for on behalf of those who wait.
    #[inline]
    pub(super) fn wanted(&self, tells_edges: bool) -> Interest {
        let watched = self.watchers.iter().fold(Interest::NONE, |all, watcher| all | watcher.interest);
        if tells_edges {
            return watched;
        }
        let [read, write] = &self.halves;
        watched
            | Interest::READABLE.when(read.parked.is_some())
            | Interest::WRITABLE.when(write.parked.is_some())
    }

    /// The tokens of the operations that the kernel does on it.
    pub(super) fn performed(&self) -> impl Iterator<Item = u32> + use<> {
        let [read, write] = &self.halves;
        [read.performed, write.performed].into_iter().flatten()
    }

    /// Hands out everybody, because nothing more will be heard of the descriptor.
    pub(super) fn disband(self, woken: &mut Vec<Notify>) {
        for half in self.halves {
            woken.extend(half.parked);
            woken.extend(half.line.into_iter().flat_map(|mut line| line.drain()).map(|(_, notify)| notify));
        }
        woken.extend(self.watchers.into_iter().map(|watcher| watcher.notify));
    }
}

impl Half {
    fn new() -> Half {
        Half { ready: true, marked: false, turn: 0, parked: None, performed: None, line: None }
    }

    /// Whether an operation that comes now may try at once.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.ready && self.turn == 0
    }

    #[inline]
    fn hear(&mut self, marked: bool, woken: &mut Vec<Notify>) {
        self.ready = true;
        self.marked |= marked;
        match self.parked.take() {
            None => {}
            // An descriptor in the hub's queue: it runs nothing.
            Some(Notify::Wake(wake)) => wake.wake(),
            Some(notify) => woken.push(notify),
        }
    }

    /// A short read or write showed that nothing is left: the next edge will come.
    #[inline]
    pub(super) fn note_drained(&mut self) {
        self.ready &= self.marked;
    }

    /// An operation comes that found it unready or others before it, to stay until it [leaves](Half::leave). `notify` is for
    /// when it may try.
    #[inline]
    pub(super) fn enter(&mut self, id: u64, notify: impl FnOnce() -> Notify) -> Place {
        if self.turn != 0 {
            let line = self.line.get_or_insert_default();
            return Place { id, ticket: Some(line.push((id, notify()))) };
        }
        self.turn = id;
        self.parked = Some(notify());
        Place { id, ticket: None }
    }

    /// Whether it is this one's turn, and the try may succeed.
    #[inline]
    pub(super) fn may_try(&self, place: &Place) -> bool {
        self.turn == place.id && self.ready
    }

    /// Whether the kernel may do this one's operation as a whole: it is its turn, and a try would be in vain.
    #[inline]
    pub(super) fn may_be_performed(&self, place: &Place) -> bool {
        self.turn == place.id && !self.ready
    }

    /// The kernel does the operation whose turn it is, which hears of nothing else.
    #[inline]
    pub(super) fn begin_performed(&mut self, token: u32) {
        self.parked = None;
        self.performed = Some(token);
    }

    /// It does so no more. If that `succeeded`, there may be more.
    #[inline]
    pub(super) fn end_performed(&mut self, succeeded: bool) {
        self.performed = None;
        self.ready |= succeeded;
    }

    /// An operation could not be done yet. Of no effect for one in the line, who is told anyway.
    pub(super) fn wait_again(&mut self, place: &Place, blocked: bool, notify: impl FnOnce() -> Notify) {
        if self.turn == place.id {
            self.ready &= !blocked;
            self.parked = Some(notify());
        }
    }

    /// An operation goes, done or not. If it was its turn, the next one's comes, who is to be told now if the descriptor is
    /// ready, and else is told by readiness.
    #[inline]
    pub(super) fn leave(&mut self, place: &Place) -> Option<Notify> {
        if self.turn == place.id && self.line.is_none() {
            self.turn = 0;
            self.parked = None;
            return None;
        }
        self.leave_line(place)
    }

    #[inline(never)]
    fn leave_line(&mut self, place: &Place) -> Option<Notify> {
        if self.turn != place.id {
            if let (Some(line), Some(ticket)) = (&mut self.line, place.ticket) {
                line.remove(ticket);
            }
            return None;
        }
        let next = self.line.as_mut().and_then(|line| line.pop());
        (self.turn, self.parked) = next.map_or((0, None), |(id, notify)| (id, Some(notify)));
        if self.ready { self.parked.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Woken(Arc<Mutex<Vec<u64>>>);

    struct Logger {
        woken: Arc<Mutex<Vec<u64>>>,
        id: u64,
    }

    impl Wake for Logger {
        fn wake(self: Arc<Self>) {
            self.woken.lock().unwrap().push(self.id);
        }
    }

    impl Woken {
        fn notify(&self, id: u64) -> Notify {
            let woken = self.0.clone();
            Notify::Task(Waker::from(Arc::new(Logger { woken, id })))
        }

        fn take(&self) -> Vec<u64> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn told(hear: impl FnOnce(&mut Vec<Notify>)) {
        let mut notices = Vec::new();
        hear(&mut notices);
        notices.into_iter().for_each(Notify::notify);
    }

    fn hear(half: &RefCell<Half>) {
        told(|woken| half.borrow_mut().hear(false, woken));
    }

    #[test]
    fn turns_come_in_order_of_arrival() {
        let woken = Woken::default();
        let half = RefCell::new(Half::new());
        half.borrow_mut().ready = false;
        let enter = |id| half.borrow_mut().enter(id, || woken.notify(id));
        let [first, second, third] = [enter(1), enter(2), enter(3)];
        half.borrow_mut().wait_again(&second, true, || unreachable!("it stands in the line already"));
        hear(&half);
        assert_eq!(woken.take(), [1]);
        half.borrow_mut().wait_again(&first, true, || woken.notify(1));
        assert!(!half.borrow().may_try(&first));
        hear(&half);
        assert_eq!(woken.take(), [1]);
        assert!(half.borrow().may_try(&first) && !half.borrow().may_try(&second));
        // The first leaves readiness behind: the second is woken by that.
        half.borrow_mut().leave(&first).unwrap().notify();
        assert_eq!(woken.take(), [2]);
        // The second takes all: the third hears of the next readiness.
        half.borrow_mut().note_drained();
        assert!(half.borrow_mut().leave(&second).is_none());
        assert!(!half.borrow().may_try(&third) && !half.borrow().is_free());
        hear(&half);
        assert_eq!(woken.take(), [3]);
        assert!(half.borrow_mut().leave(&third).is_none());
        assert!(half.borrow().is_free());
    }

    #[test]
    fn one_that_gives_up_leaves_no_gap() {
        let woken = Woken::default();
        let mut half = Half::new();
        half.ready = false;
        let places: Vec<_> = (1..=4).map(|id| half.enter(id, || woken.notify(id))).collect();
        assert!(half.leave(&places[2]).is_none());
        // Woken, and killed before it ran: readiness goes to the next.
        told(|woken| half.hear(false, woken));
        half.leave(&places[0]).unwrap().notify();
        half.leave(&places[1]).unwrap().notify();
        assert_eq!(woken.take(), [1, 2, 4]);
        assert!(half.leave(&places[3]).is_none());
        assert!(half.is_free());
    }

    #[test]
    fn behind_a_mark_a_short_read_proves_nothing() {
        let mut half = Half::new();
        half.note_drained();
        assert!(!half.is_free());
        half.hear(true, &mut Vec::new());
        half.note_drained();
        assert!(half.is_free());
    }
}
