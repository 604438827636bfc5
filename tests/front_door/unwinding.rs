//! What std lets a closure of `catch_unwind` have, so does greenloop: kills and time limits travel by unwinding.

use std::cell::Cell;
use std::io::Read;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};
use std::time::Duration;

use greenloop::greenlet::{AnyGreenlet, Generator, Greenlet};
use greenloop::hub::Hub;
use greenloop::net::unix;
use greenloop::pool::{Group, Pool};
use greenloop::select::Selector;
use greenloop::server::{Server, Stopper, StreamServer};
use greenloop::threadpool::{Job, ThreadPool};
use greenloop::{
    Builder, Current, Interval, JoinHandle, Link, TaskId, Timeout, channel, event, fs, io, net, process,
    queue, sleep, spawn, sync, with_timeout,
};

use crate::LIMIT;
use crate::support::within;

/// What a type is not known to be, unless the type of the same constant has it.
trait No {
    const UNWIND: bool = false;
    const REF: bool = false;
}

struct Unwind<T: ?Sized>(PhantomData<T>);
struct Ref<T: ?Sized>(PhantomData<T>);

impl<T: ?Sized> No for Unwind<T> {}
impl<T: ?Sized> No for Ref<T> {}

impl<T: ?Sized + UnwindSafe> Unwind<T> {
    const UNWIND: bool = true;
}

impl<T: ?Sized + RefUnwindSafe> Ref<T> {
    const REF: bool = true;
}

/// Whether each type has each of the traits.
macro_rules! safety {
    ($($type:ty),* $(,)?) => {
        [$((stringify!($type), Unwind::<$type>::UNWIND, Ref::<$type>::REF)),*]
    };
}

/// Ours beside std's: what std's type has, ours has.
macro_rules! as_std {
    ($($ours:ty => $std:ty),* $(,)?) => {
        [$({
            let ([(name, unwind, by_ref)], [(_, std_unwind, std_by_ref)]) = (safety![$ours], safety![$std]);
            (name, (unwind, by_ref), (std_unwind, std_by_ref))
        }),*]
    };
}

#[test]
fn each_type_is_as_its_counterpart_in_std() {
    let pairs = as_std![
        net::TcpStream => std::net::TcpStream,
        net::TcpListener => std::net::TcpListener,
        net::UdpSocket => std::net::UdpSocket,
        net::Incoming<'_> => std::net::Incoming<'_>,
        unix::UnixStream => std::os::unix::net::UnixStream,
        unix::UnixListener => std::os::unix::net::UnixListener,
        unix::UnixDatagram => std::os::unix::net::UnixDatagram,
        unix::Incoming<'_> => std::os::unix::net::Incoming<'_>,
        io::PipeReader => std::io::PipeReader,
        io::PipeWriter => std::io::PipeWriter,
        io::Stdin => std::io::Stdin,
        io::StdinLock<'_> => std::io::StdinLock<'_>,
        fs::File => std::fs::File,
        fs::OpenOptions => std::fs::OpenOptions,
        fs::DirBuilder => std::fs::DirBuilder,
        fs::DirEntry => std::fs::DirEntry,
        fs::ReadDir => std::fs::ReadDir,
        process::Child => std::process::Child,
        process::ChildStdin => std::process::ChildStdin,
        process::ChildStdout => std::process::ChildStdout,
        process::ChildStderr => std::process::ChildStderr,
        process::Command => std::process::Command,
        sync::Mutex<Cell<u32>> => std::sync::Mutex<Cell<u32>>,
        sync::Mutex<&mut u32> => std::sync::Mutex<&mut u32>,
        sync::MutexGuard<'_, u32> => std::sync::MutexGuard<'_, u32>,
        sync::MutexGuard<'_, Cell<u32>> => std::sync::MutexGuard<'_, Cell<u32>>,
        sync::RwLock<Cell<u32>> => std::sync::RwLock<Cell<u32>>,
        sync::RwLockReadGuard<'_, u32> => std::sync::RwLockReadGuard<'_, u32>,
        sync::RwLockReadGuard<'_, Cell<u32>> => std::sync::RwLockReadGuard<'_, Cell<u32>>,
        sync::RwLockWriteGuard<'_, u32> => std::sync::RwLockWriteGuard<'_, u32>,
        sync::RwLockWriteGuard<'_, Cell<u32>> => std::sync::RwLockWriteGuard<'_, Cell<u32>>,
        sync::ReentrantLock<u32> => std::sync::Mutex<u32>,
        sync::Condvar => std::sync::Condvar,
        sync::Barrier => std::sync::Barrier,
        sync::BarrierWaitResult => std::sync::BarrierWaitResult,
        sync::Once => std::sync::Once,
        sync::OnceState => std::sync::OnceState,
        sync::OnceLock<u32> => std::sync::OnceLock<u32>,
        sync::OnceLock<Cell<u32>> => std::sync::OnceLock<Cell<u32>>,
        sync::LazyLock<u32> => std::sync::LazyLock<u32>,
        sync::LazyLock<Cell<u32>> => std::sync::LazyLock<Cell<u32>>,
        channel::Sender<Cell<u32>> => std::sync::mpsc::Sender<Cell<u32>>,
        channel::Receiver<Cell<u32>> => std::sync::mpsc::Receiver<Cell<u32>>,
        channel::Iter<'_, Cell<u32>> => std::sync::mpsc::Iter<'_, Cell<u32>>,
        channel::IntoIter<Cell<u32>> => std::sync::mpsc::IntoIter<Cell<u32>>,
        Builder => std::thread::Builder,
        JoinHandle<u32> => std::thread::JoinHandle<u32>,
        TaskId => std::thread::ThreadId,
        Current => std::thread::Thread,
    ];
    let less: Vec<_> =
        pairs.iter().filter(|(_, ours, std)| (std.0 && !ours.0) || (std.1 && !ours.1)).collect();
    assert!(less.is_empty(), "{less:#?}");
    // As closely as a lock looks at what is in it.
    let more: Vec<_> = pairs
        .iter()
        .filter(|(name, ours, std)| name.contains("Cell<") && name.contains("sync::") && ours != std)
        .collect();
    assert!(more.is_empty(), "{more:#?}");
}

/// Those that std does not have are handles: what they stand for is kept whole by the library.
#[test]
fn handles_may_be_used_after_an_unwinding() {
    let handles = safety![
        JoinHandle<Cell<u32>>,
        Link,
        Timeout,
        Interval,
        Hub,
        AnyGreenlet,
        Greenlet<u32>,
        Generator<u32, u32>,
        Group,
        Pool,
        ThreadPool,
        Job<Cell<u32>>,
        Server<std::net::SocketAddr>,
        Stopper,
        Selector<u32>,
        event::Event,
        event::AsyncResult<u32>,
        queue::Queue<Cell<u32>>,
        sync::Semaphore,
        sync::BoundedSemaphore,
        sync::SemaphorePermit<'_>,
        greenloop::signal::Handler,
        greenloop::signal::Signals,
        greenloop::error::JoinError,
        greenloop::error::StackError,
        greenloop::error::ServerError<std::net::SocketAddr>,
        greenloop::error::SwitchError,
    ];
    let not: Vec<_> = handles.iter().filter(|(_, unwind, by_ref)| !(*unwind && *by_ref)).collect();
    assert!(not.is_empty(), "{not:#?}");
}

#[test]
fn a_socket_is_used_in_what_a_time_limit_ends() {
    within(LIMIT, || {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ended = with_timeout(Duration::from_millis(1), || {
            let caught = catch_unwind(move || stream.read(&mut [0; 1]));
            caught.unwrap_err();
        });
        assert!(ended.is_ok(), "the limit was caught on its way");
        let server = StreamServer::new(listener).handle(|_stream, _peer| Ok(()));
        let serving = spawn(move || catch_unwind(|| server.serve_forever()).is_err());
        sleep(Duration::from_millis(1));
        serving.kill();
        assert!(serving.join().unwrap());
    });
}
