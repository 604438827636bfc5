//! Asking hubs who is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::asking::{Addressee, count_silent};
use super::backtrace::{Backtrace, Names};
use super::dump::{Dump, HubDump, dump_of_most};
use super::green_thread::GreenThread;
use crate::channel;
use crate::fiber::{self, Visit};
use crate::hub::door::shown_doors;
use crate::hub::waiter::may_wait;
use crate::hub::{hub, local_hub};
use crate::sys::clock::instant_now;
use crate::sys::unwind::Walked;
use crate::task::current;
use crate::threadpool::unblock;

/// How long a hub is held at a time.
const SLICE: Duration = Duration::from_micros(500);
/// After how many of them the clock is looked at: those without calls take a tenth of the time.
const BETWEEN_LOOKS: usize = 16;
/// Of those that have not begun, how many are told of. Their line moves on meanwhile, so they are looked at in one go.
const MOST_UNSTARTED: usize = 2048;

/// How a dump is taken. [`take`](DumpOptions::take) takes it.
///
/// # Examples
///
/// Everybody in the process, from an OS thread that has nothing to do with green threads:
///
/// ```
/// use greenloop::{Builder, inspect::DumpOptions, sleep, yield_now};
/// use std::time::Duration;
///
/// let sleeper = Builder::new().name("sleeper").spawn(|| sleep(Duration::from_secs(60)))?;
/// yield_now();
/// let other = std::thread::spawn(|| DumpOptions::new().all_hubs(true).take());
/// while !other.is_finished() {
///     sleep(Duration::from_millis(1));
/// }
/// let dump = other.join().unwrap();
/// assert!(dump.green_threads().any(|thread| thread.name() == "sleeper"));
/// # sleeper.kill();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DumpOptions {
    all_hubs: bool,
    backtraces: bool,
    limit: usize,
    patience: Duration,
}

impl Default for DumpOptions {
    fn default() -> DumpOptions {
        DumpOptions::new()
    }
}

impl DumpOptions {
    /// The calling thread's hub, everybody, a patience of one second.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::DumpOptions;
    ///
    /// assert_eq!(DumpOptions::new().take().hubs().len(), 1);
    /// ```
    pub fn new() -> DumpOptions {
        DumpOptions {
            all_hubs: false,
            backtraces: false,
            limit: usize::MAX,
            patience: Duration::from_secs(1),
        }
    }

    /// Asks all hubs of the process, and not only the calling thread's. Those that the library itself has for [`dump_on`](super::dump_on),
    /// [`listen`](fn@super::listen) and [`serve_metrics`](super::serve_metrics) are left out.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::DumpOptions;
    ///
    /// let other = std::thread::spawn(|| DumpOptions::new().all_hubs(true).take());
    /// assert_eq!(other.join().unwrap().hubs().len(), 0); // there is no hub yet
    /// greenloop::yield_now();
    /// assert_eq!(DumpOptions::new().all_hubs(true).take().hubs().len(), 1);
    /// ```
    pub fn all_hubs(&mut self, all: bool) -> &mut DumpOptions {
        self.all_hubs = all;
        self
    }

    /// Tells in which calls each waits, too.
    ///
    /// Each is resumed, takes down its own frames, and waits on, without having gone on: some microseconds for each. It uses some KiB of
    /// its stack for that, so what is resident of that may grow by a page or two. The names are looked up on an OS thread of the
    /// [pool](crate::threadpool).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{channel, inspect::DumpOptions, spawn, yield_now};
    ///
    /// #[inline(never)]
    /// fn waits_for_work(work: &channel::Receiver<u32>) -> Option<u32> {
    ///     work.recv().ok()
    /// }
    ///
    /// let (sender, receiver) = channel::unbounded();
    /// let worker = spawn(move || waits_for_work(&receiver));
    /// yield_now();
    /// let dump = DumpOptions::new().backtraces(true).take();
    /// assert!(dump.to_string().contains("waits_for_work"));
    /// sender.send(7).unwrap();
    /// assert_eq!(worker.join().unwrap(), Some(7)); // it has gone on as ever
    /// ```
    pub fn backtraces(&mut self, backtraces: bool) -> &mut DumpOptions {
        self.backtraces = backtraces;
        self
    }

    /// Tells of `most` greenlets of each hub at most. The others are counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::DumpOptions;
    ///
    /// assert_eq!(DumpOptions::new().limit(0).take().green_threads().count(), 0);
    /// ```
    pub fn limit(&mut self, most: usize) -> &mut DumpOptions {
        self.limit = most;
        self
    }

    /// Waits for the answers of all hubs as long as this at most. One that a green thread keeps for longer is counted by
    /// [`Dump::silent_hubs`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::inspect::DumpOptions;
    /// use std::time::Duration;
    ///
    /// let dump = DumpOptions::new().patience(Duration::from_secs(10)).take();
    /// assert_eq!(dump.silent_hubs(), 0);
    /// ```
    pub fn patience(&mut self, longest: Duration) -> &mut DumpOptions {
        self.patience = longest;
        self
    }

    /// Takes the dump.
    ///
    /// It yields, and asks each hub by a letter. A hub answers in slices of half a millisecond, between which it does its other work, so
    /// a large dump makes nobody late. What changes meanwhile is told as it was when its turn came. A kill or a time limit ends the wait by
    /// unwinding. On an OS thread without a hub, who asks all hubs makes none, and blocks.
    ///
    /// Where nothing may wait, as in a [hub callback](crate::hub#callbacks), it is the calling thread's hub alone, in one go, and without
    /// backtraces.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::{inspect::{DumpOptions, Standing}, spawn, yield_now};
    ///
    /// let taker = spawn(|| DumpOptions::new().take());
    /// let dump = taker.join().unwrap();
    /// let running = dump.green_threads().filter(|thread| thread.standing() == Standing::Running);
    /// assert_eq!(running.count(), 1); // who takes the dump
    /// ```
    pub fn take(&self) -> Dump {
        let began = Instant::now();
        let own = if self.all_hubs { local_hub() } else { Some(hub()) }.map(|hub| hub.door());
        if own.is_some() && !(may_wait() && fiber::may_wait()) {
            return dump_of_most(self.limit);
        }
        // The library's own hub is not told of among all.
        let told = own.filter(|own| !(self.all_hubs && own.is_hidden()));
        let mut doors: Vec<_> = told.into_iter().collect();
        if self.all_hubs {
            doors.extend(shown_doors().into_iter().filter(|door| own.is_none_or(|own| !door.is(own))));
        }
        let asked: Vec<_> = doors.into_iter().map(Addressee::new).collect();
        let mut answers = match own {
            Some(_) => self.ask_and_park(&asked),
            None => self.ask_and_block(&asked),
        };
        answers.sort_by_key(|&(place, _)| place);
        let silent = count_silent(&asked, &answers);
        let hubs: Vec<_> = answers.into_iter().map(|(_, hub)| hub).collect();
        let mut dump = Dump::new(began, hubs, silent);
        if self.backtraces && told.is_some() {
            look_up_names(&dump);
        }
        if told.is_some() {
            dump.set_taker(current().map(|current| current.id().number()));
        }
        dump
    }

    fn ask_and_park(&self, hubs: &[Addressee]) -> Vec<(usize, HubDump)> {
        // In the time that the receiver knows. Too far to be said is no end.
        let deadline = instant_now().checked_add(self.patience);
        let (sender, receiver) = channel::unbounded();
        self.ask(hubs, Arc::new(move |answer| drop(sender.send(answer))));
        let next = || match deadline {
            Some(deadline) => receiver.recv_deadline(deadline).ok(),
            None => receiver.recv().ok(),
        };
        std::iter::from_fn(next).collect()
    }

    fn ask_and_block(&self, hubs: &[Addressee]) -> Vec<(usize, HubDump)> {
        let deadline = Instant::now().checked_add(self.patience);
        let (sender, receiver) = mpsc::channel();
        self.ask(hubs, Arc::new(move |answer| drop(sender.send(answer))));
        let next = || match deadline {
            Some(deadline) => receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
            None => receiver.recv().ok(),
        };
        std::iter::from_fn(next).collect()
    }

    fn ask(&self, hubs: &[Addressee], answer: Answer) {
        let own = local_hub().map(|hub| hub.door());
        let deadline = Instant::now().checked_add(self.patience);
        for (place, &hub) in hubs.iter().enumerate() {
            let stacks = self.backtraces.then(Stacks::default);
            let (limit, answer) = (self.limit, answer.clone());
            let is_own = own.is_some_and(|own| hub.is(own));
            let deadline = deadline.filter(|_| !is_own);
            let (unstarted, gathered) = (Vec::new(), None);
            let census = Census { place, limit, deadline, next: 0, stacks, unstarted, gathered, answer };
            hub.send(move || census.go_on(hub));
        }
    }
}

/// Looks the names of the calls up, not on the hub: std takes a lock for that, and reads much at first.
fn look_up_names(dump: &Dump) {
    let mut stacks: HashMap<_, Arc<Backtrace>> = HashMap::new();
    for backtrace in dump.green_threads().filter_map(GreenThread::shared_backtrace) {
        stacks.insert(Arc::as_ptr(backtrace), backtrace.clone());
    }
    if stacks.is_empty() {
        return;
    }
    let stacks: Vec<_> = stacks.into_values().collect();
    unblock(move || {
        let mut names = Names::new();
        for backtrace in stacks {
            backtrace.look_up(&mut names);
        }
    });
}

/// Where the hubs leave what they have gathered.
type Answer = Arc<dyn Fn((usize, HubDump)) + Send + Sync>;

/// One hub's part, from slice to slice.
struct Census {
    place: usize,
    limit: usize,
    /// When who asks has gone; `None` for the own hub, whose time may be another.
    deadline: Option<Instant>,
    /// The number of the next fiber to be looked at.
    next: u32,
    /// If backtraces are asked for.
    stacks: Option<Stacks>,
    /// Those that have not begun.
    unstarted: Vec<GreenThread>,
    gathered: Option<HubDump>,
    answer: Answer,
}

impl Census {
    /// One slice, in the hub.
    fn go_on(mut self, hub: Addressee) {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return;
        }
        let mut gathered = self.gathered.take().unwrap_or_else(|| self.begin());
        if self.gather(&mut gathered) {
            // Those that have begun come first, main before all.
            self.unstarted.drain(..).for_each(|thread| gathered.add(thread, self.limit));
            return (self.answer)((self.place, gathered));
        }
        self.gathered = Some(gathered);
        hub.send(move || self.go_on(hub));
    }

    /// The first slice: those that have not begun, which will not be there for long.
    fn begin(&mut self) -> HubDump {
        let hub = hub();
        let mut gathered = HubDump::begin();
        let unstarted = gathered.load.unstarted;
        let fresh = (0..unstarted.min(MOST_UNSTARTED)).filter_map(|place| hub.unstarted_at(place));
        self.unstarted = fresh.chain(hub.delayed(MOST_UNSTARTED)).map(GreenThread::new).collect();
        gathered.left_out += unstarted.saturating_sub(MOST_UNSTARTED);
        gathered
    }

    /// Whether that was all.
    fn gather(&mut self, gathered: &mut HubDump) -> bool {
        let (hub, began) = (hub(), Instant::now());
        let between_looks = if self.stacks.is_some() { 1 } else { BETWEEN_LOOKS };
        loop {
            for _ in 0..between_looks {
                let Some(resident) = hub.resident_at(self.next) else { return true };
                let index = self.next;
                self.next += 1;
                let Some(resident) = resident else { continue };
                let mut thread = GreenThread::begun(resident, &hub, index);
                if gathered.green_threads.len() < self.limit
                    && let Some(backtrace) = self.stacks.as_mut().and_then(|stacks| stacks.of(index))
                {
                    thread.set_backtrace(backtrace);
                }
                gathered.add(thread, self.limit);
            }
            if began.elapsed() >= SLICE {
                return false;
            }
        }
    }
}

/// The calls in which those wait whom a hub has asked.
#[derive(Default)]
struct Stacks {
    visit: Box<Visit>,
    /// By their addresses,
    known: HashMap<Vec<usize>, Arc<Backtrace>>,
    /// and by their numbers.
    numbered: Vec<Arc<Backtrace>>,
}

impl Stacks {
    /// In which calls who is on the fiber with this number waits. All that wait in the same calls have the same one.
    fn of(&mut self, index: u32) -> Option<Arc<Backtrace>> {
        self.visit = hub().visit(index, std::mem::take(&mut self.visit));
        let walked = self.visit.walked?;
        if let Walked::Again(number) = walked {
            return self.numbered.get(number).cloned();
        }
        let addresses = &self.visit.walker.addresses;
        let backtrace = match self.known.get(addresses) {
            Some(known) => known.clone(),
            None => {
                let new = Arc::new(Backtrace::new(addresses.clone()));
                self.known.insert(addresses.clone(), new.clone());
                new
            }
        };
        if walked != Walked::Once {
            // Numbers are given one after another.
            self.numbered.push(backtrace.clone());
        }
        Some(backtrace)
    }
}

impl HubDump {
    fn add(&mut self, thread: GreenThread, limit: usize) {
        if self.green_threads.len() < limit {
            self.green_threads.push(thread);
        } else {
            self.left_out += 1;
        }
    }
}
