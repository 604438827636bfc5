//! What a program makes, and what becomes of it: values that count themselves, and destructors that misbehave.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering::SeqCst};
use std::thread;

use rustix::thread::{Pid, gettid};

use super::program::Block;
use super::run;
use super::world::World;

/// Counts itself, and notices when it is dropped on another OS thread than the one that may.
pub(crate) struct Witness {
    pub(crate) world: Arc<World>,
    /// Where it was made, if it belongs to something that must not leave that OS thread.
    /// By the kernel's number: to std, an isolated green thread is an OS thread of its own.
    home: Option<Pid>,
}

impl Witness {
    /// Of what may go anywhere.
    pub(crate) fn new(world: &Arc<World>) -> Witness {
        Witness::of(world, None)
    }

    /// Of what is not `Send`.
    pub(crate) fn at_home(world: &Arc<World>) -> Witness {
        Witness::of(world, Some(gettid()))
    }

    fn of(world: &Arc<World>, home: Option<Pid>) -> Witness {
        world.witnesses.fetch_add(1, SeqCst);
        Witness { world: world.clone(), home }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.world.witnesses.fetch_sub(1, SeqCst);
        if self.home.is_some_and(|home| home != gettid()) {
            self.world.fault("dropped on another OS thread", "a closure that is not Send");
        }
    }
}

/// Its destructor runs a block.
pub(crate) struct Bomb {
    witness: Witness,
    block: Block,
    /// Where a panic of a destructor would end the process by a rule of Rust's.
    muffled: bool,
    /// Raised where the panic hook may wait, and nothing there ends that by unwinding, which would end the process.
    may_wait: bool,
}

impl Bomb {
    pub(crate) fn new(world: &Arc<World>, block: &Block) -> Bomb {
        Bomb { witness: Witness::new(world), block: block.clone(), muffled: false, may_wait: false }
    }

    pub(crate) fn muffled(world: &Arc<World>, block: &Block) -> Bomb {
        let mut bomb = Bomb::new(world, block);
        bomb.muffled = true;
        bomb
    }

    /// A payload. Whether a panic hook may wait is known by who raises it.
    pub(crate) fn payload(world: &Arc<World>, block: &Block, may_wait: bool) -> Bomb {
        let mut bomb = Bomb::new(world, block);
        bomb.may_wait = may_wait;
        bomb
    }

    pub(crate) fn may_wait(&self) -> bool {
        self.may_wait
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let explode = || run::block(&self.witness.world, &self.block);
        if self.muffled || thread::panicking() {
            muffle(explode);
        } else {
            explode();
        }
    }
}

/// Runs `function` and lets nothing out, neither its panic nor one of what it panicked with.
pub(crate) fn muffle(function: impl FnOnce()) {
    let mut outcome = catch_unwind(AssertUnwindSafe(function));
    // A payload's destructor may panic, with a payload whose destructor does; a program is finite.
    while let Err(payload) = outcome {
        outcome = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    }
}

/// What is known of the values of one channel or queue.
pub(crate) struct Ledger {
    name: String,
    /// Values that were sent, and are neither received nor dropped.
    on_their_way: AtomicI64,
    /// Nobody can receive any more: values may be dropped.
    closed: AtomicBool,
}

impl Ledger {
    pub(crate) fn new(name: String) -> Arc<Ledger> {
        Arc::new(Ledger { name, on_their_way: AtomicI64::new(0), closed: AtomicBool::new(false) })
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// After everything that there is was received.
    pub(crate) fn check_empty(&self, world: &World) {
        let left = self.on_their_way.load(SeqCst);
        if left != 0 && !self.closed.load(SeqCst) {
            world.fault("a value is stuck", &format!("{left} in {}", self.name));
        }
    }
}

const SENT: u8 = 1;
const REFUSED: u8 = 2;
const RECEIVED: u8 = 4;
const DROPPED: u8 = 8;

/// A value, sent through a channel or a queue.
pub(crate) struct Token {
    receipt: Receipt,
    number: u64,
    /// Runs when it is compared, once.
    comparison: std::cell::Cell<Option<Block>>,
    /// Last: its destructor may do anything.
    _bomb: Bomb,
}

/// What the sender keeps of a [`Token`].
#[derive(Clone)]
pub(crate) struct Receipt {
    world: Arc<World>,
    ledger: Arc<Ledger>,
    verdict: Arc<AtomicU8>,
}

impl Token {
    pub(crate) fn new(world: &Arc<World>, ledger: &Arc<Ledger>, block: &Block) -> (Token, Receipt) {
        let receipt = Receipt { world: world.clone(), ledger: ledger.clone(), verdict: Arc::default() };
        let bomb = Bomb::new(world, block);
        let token =
            Token { receipt: receipt.clone(), number: world.number(), comparison: None.into(), _bomb: bomb };
        (token, receipt)
    }

    /// One whose comparisons run `block`.
    pub(crate) fn comparing(world: &Arc<World>, ledger: &Arc<Ledger>, block: &Block) -> (Token, Receipt) {
        let (token, receipt) = Token::new(world, ledger, &[].into());
        token.comparison.set(Some(block.clone()));
        (token, receipt)
    }

    /// Somebody has got it.
    pub(crate) fn received(self) {
        self.receipt.note(RECEIVED);
    }

    /// It came back to who wanted to send it.
    pub(crate) fn refused(self) {
        self.receipt.note(REFUSED);
    }
}

impl Receipt {
    /// The send has succeeded.
    pub(crate) fn sent(&self) {
        self.note(SENT);
    }

    fn note(&self, what: u8) {
        let before = self.verdict.fetch_or(what, SeqCst);
        let gone = RECEIVED | DROPPED;
        let (world, ledger) = (&self.world, &*self.ledger);
        if what == SENT && before & gone == 0 {
            ledger.on_their_way.fetch_add(1, SeqCst);
        }
        if what & gone != 0 && before & gone == 0 && before & SENT != 0 {
            ledger.on_their_way.fetch_sub(1, SeqCst);
        }
        let now = before | what;
        if before & what != 0 {
            world.fault("a value met the same fate twice", &ledger.name);
        }
        if now & REFUSED != 0 && now & (SENT | RECEIVED) != 0 {
            world.fault("a value was refused and yet received", &ledger.name);
        }
        if now & SENT != 0 && now & gone == DROPPED && !ledger.closed.load(SeqCst) {
            world.fault("a value was sent and then lost", &ledger.name);
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.receipt.note(DROPPED);
    }
}

impl Ord for Token {
    fn cmp(&self, other: &Token) -> Ordering {
        for token in [self, other] {
            if let Some(block) = token.comparison.take() {
                run::block(&self.receipt.world, &block);
            }
        }
        self.number.cmp(&other.number)
    }
}

impl PartialOrd for Token {
    fn partial_cmp(&self, other: &Token) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        self.number == other.number
    }
}

impl Eq for Token {}

/// What a green thread returns: its destructor may do anything.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) _bomb: Option<Bomb>,
}

/// A child of a scope is alive as long as this is; by then the scope must not have ended.
pub(crate) struct Borrowed {
    world: Arc<World>,
    open: Arc<AtomicBool>,
}

impl Borrowed {
    pub(crate) fn new(world: &Arc<World>, open: &Arc<AtomicBool>) -> Borrowed {
        Borrowed { world: world.clone(), open: open.clone() }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.open.load(SeqCst) {
            self.world.fault("a scope has ended before a child", "");
        }
    }
}
