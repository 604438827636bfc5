//! What all actors of a program share: its objects, and what is known of them.

use std::io::{self, Read, Write};
use std::net;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard as StdMutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::channel::{Receiver, Sender, bounded, unbounded};
use greenloop::event::{AsyncResult, Event};
use greenloop::hub::{Config, Driver};
use greenloop::net::TcpStream;
use greenloop::net::unix::UnixStream;
use greenloop::queue::{LifoQueue, PriorityQueue, Queue};
use greenloop::sync::{Barrier, BoundedSemaphore, Condvar, Mutex, Once, ReentrantLock, RwLock};
use greenloop::{JoinHandle, Link};

use super::account::{Answer, Ledger, Token};
use super::program::{Block, Program, Step, any};

/// From then on no step begins, and every wait of a green thread ends.
const BUDGET: Duration = Duration::from_millis(15);
/// The permits of each semaphore.
pub(crate) const PERMITS: [usize; 2] = [1, 2];

/// A program that runs.
pub(crate) struct World {
    deadline: Instant,
    pub(crate) driver: Driver,
    /// Taken at the end, for callbacks that are linked keep the world alive.
    objects: StdMutex<Option<Arc<Objects>>>,
    pub(crate) tasks: [StdMutex<Option<Arc<JoinHandle<Answer>>>>; 3],
    pub(crate) links: StdMutex<Vec<Link>>,
    pub(crate) threads: StdMutex<Vec<thread::JoinHandle<()>>>,
    /// Jobs of pools that have not ended.
    pub(crate) jobs: AtomicUsize,
    /// What the panic hook and the hook for uncaught errors run, once.
    pub(crate) hooks: [StdMutex<Option<Block>>; 2],
    /// Witnesses that live.
    pub(crate) witnesses: AtomicUsize,
    /// An OS thread has ended with something parked in it: what that held is held for ever, by design.
    pub(crate) abandoned: AtomicBool,
    /// By line, how many are in that step.
    pub(crate) inside: Vec<AtomicU32>,
    pub(crate) faults: StdMutex<Vec<Fault>>,
    numbers: AtomicU64,
}

/// What went wrong.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: String,
    pub(crate) detail: String,
}

/// What actors work on.
pub(crate) struct Objects {
    pub(crate) mutexes: [Gauged<Mutex<()>>; 2],
    pub(crate) conditions: [Condvar; 2],
    pub(crate) rwlock: Gauged<RwLock<()>>,
    pub(crate) reentrant: Gauged<ReentrantLock<()>>,
    pub(crate) semaphores: [Gauged<BoundedSemaphore>; 2],
    pub(crate) once: Once,
    pub(crate) barrier: Barrier,
    pub(crate) channels: [Conduit; 4],
    pub(crate) queues: (Queue<Token>, LifoQueue<Token>, PriorityQueue<Token>),
    pub(crate) ledgers: [Arc<Ledger>; 3],
    pub(crate) events: [Event; 2],
    pub(crate) results: [AsyncResult<Arc<Answer>>; 2],
    pub(crate) sockets: [StdMutex<Option<Arc<Socket>>>; 4],
    /// Bytes under way towards each socket.
    pub(crate) bytes: [AtomicI64; 4],
    /// Of which pairs bytes may be lost, since an end was closed.
    pub(crate) cut: [AtomicBool; 2],
}

/// A lock, and how many hold it by what the program knows.
#[derive(Default)]
pub(crate) struct Gauged<L> {
    pub(crate) lock: L,
    pub(crate) held: AtomicI64,
}

impl<L> Gauged<L> {
    fn new(lock: L) -> Gauged<L> {
        Gauged { lock, held: AtomicI64::new(0) }
    }
}

/// A channel with the ends that are not closed.
pub(crate) struct Conduit {
    pub(crate) sender: StdMutex<Option<Sender<Token>>>,
    pub(crate) receiver: StdMutex<Option<Receiver<Token>>>,
    pub(crate) ledger: Arc<Ledger>,
}

pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => (&*stream).read(buffer),
            Socket::Tcp(stream) => (&*stream).read(buffer),
        }
    }

    pub(crate) fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => (&*stream).write(buffer),
            Socket::Tcp(stream) => (&*stream).write(buffer),
        }
    }

    pub(crate) fn shutdown(&self) -> io::Result<()> {
        match self {
            Socket::Unix(stream) => stream.shutdown(net::Shutdown::Write),
            Socket::Tcp(stream) => stream.shutdown(net::Shutdown::Write),
        }
    }

    pub(crate) fn close(&self) -> io::Result<()> {
        match self {
            Socket::Unix(stream) => stream.close(),
            Socket::Tcp(stream) => stream.close(),
        }
    }
}

impl World {
    pub(crate) fn new(program: &Program) -> io::Result<Arc<World>> {
        let is_socket = |step: &Step| step.verb.form().objects.is_some_and(|(letter, _)| letter == 'k');
        let uses = |pair| any(&program.steps, |step| is_socket(step) && step.object / 2 == pair);
        let objects = Objects::new(uses(0), uses(1))?;
        let world = World {
            deadline: Instant::now() + BUDGET,
            driver: program.driver,
            objects: StdMutex::new(Some(Arc::new(objects))),
            tasks: Default::default(),
            links: StdMutex::default(),
            threads: StdMutex::default(),
            jobs: AtomicUsize::new(0),
            hooks: Default::default(),
            witnesses: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
            inside: (0..program.lines()).map(|_| AtomicU32::new(0)).collect(),
            faults: StdMutex::default(),
            numbers: AtomicU64::new(1),
        };
        Ok(Arc::new(world))
    }

    /// The time that is left to the program.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    pub(crate) fn config(&self) -> Config {
        Config::new().driver(self.driver)
    }

    /// The objects, until the end.
    pub(crate) fn objects(&self) -> Option<Arc<Objects>> {
        locked(&self.objects).clone()
    }

    pub(crate) fn take_objects(&self) -> Option<Arc<Objects>> {
        taken(&self.objects)
    }

    /// A number that no other has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, SeqCst)
    }

    /// Something is wrong.
    #[track_caller]
    pub(crate) fn fault(&self, kind: &str, detail: &str) {
        let fault = Fault { kind: kind.to_owned(), detail: format!("{detail} ({})", Location::caller()) };
        locked(&self.faults).push(fault);
    }
}

impl Objects {
    fn new(unix: bool, tcp: bool) -> io::Result<Objects> {
        let mut sockets: [StdMutex<Option<Arc<Socket>>>; 4] = Default::default();
        if unix {
            let (one, other) = UnixStream::pair()?;
            sockets[0] = StdMutex::new(Some(Arc::new(Socket::Unix(one))));
            sockets[1] = StdMutex::new(Some(Arc::new(Socket::Unix(other))));
        }
        if tcp {
            let listener = net::TcpListener::bind("127.0.0.1:0")?;
            let one = net::TcpStream::connect(listener.local_addr()?)?;
            let (other, _) = listener.accept()?;
            sockets[2] = StdMutex::new(Some(Arc::new(Socket::Tcp(one.into()))));
            sockets[3] = StdMutex::new(Some(Arc::new(Socket::Tcp(other.into()))));
        }
        let channel = |(sender, receiver), name: &str| Conduit {
            sender: StdMutex::new(Some(sender)),
            receiver: StdMutex::new(Some(receiver)),
            ledger: Ledger::new(name.to_owned()),
        };
        Ok(Objects {
            mutexes: Default::default(),
            conditions: Default::default(),
            rwlock: Gauged::default(),
            reentrant: Gauged::default(),
            semaphores: PERMITS.map(|permits| Gauged::new(BoundedSemaphore::new(permits))),
            once: Once::new(),
            barrier: Barrier::new(2),
            channels: [
                channel(bounded(0), "c0"),
                channel(bounded(1), "c1"),
                channel(bounded(3), "c2"),
                channel(unbounded(), "c3"),
            ],
            queues: (Queue::bounded(1), LifoQueue::unbounded(), PriorityQueue::bounded(2)),
            ledgers: [0, 1, 2].map(|number| Ledger::new(format!("q{number}"))),
            events: Default::default(),
            results: Default::default(),
            sockets,
            bytes: Default::default(),
            cut: Default::default(),
        })
    }
}

/// Locks without a system call, for one that is never held across anything: so nothing of the library's, nor of what it
/// patches, takes part.
pub(crate) fn locked<T>(mutex: &StdMutex<T>) -> StdMutexGuard<'_, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
}

/// What was there. It is dropped past the lock, as its destructor may do anything.
pub(crate) fn taken<T>(mutex: &StdMutex<Option<T>>) -> Option<T> {
    locked(mutex).take()
}

/// Puts something in its place, and returns what was there: see [`taken`].
pub(crate) fn replaced<T>(mutex: &StdMutex<Option<T>>, value: T) -> Option<T> {
    locked(mutex).replace(value)
}
