//! The engines, and how a test gets a broker of each that holds nothing.

use clients::folder::Folder;
use clients::measure::patched;
use clients::postgresql::Server;
use clients::program::{Program, Stop};
use fleet::{Broker, BrokerError, Postgres, Redis, Sqlite};
use std::env::{split_paths, var_os};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{JoinHandle, spawn};

/// What no error may tell.
pub(crate) const PASSWORD: &str = "open-sesame";

/// The kind of an error, and that it tells no secret.
pub(crate) fn told<T>(result: Result<T, BrokerError>) -> String {
    let error = result.err().expect("an error");
    let said = format!("{error} {error:?}");
    assert!(!said.contains(PASSWORD), "{said}");
    format!("{error:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
}

/// Brokers of one queue, as processes of their own have them.
pub(crate) type Brokers = [Arc<dyn Broker>; 2];

/// Runs `test` with two brokers of one empty queue, patched.
pub(crate) fn on_sqlite(test: fn(Brokers)) {
    patched(move || {
        let folder = Folder::new("fleet");
        let open = || Arc::new(Sqlite::open(folder.path.join("queue.db")).unwrap()) as Arc<dyn Broker>;
        test([open(), open()]);
    });
}

/// The same with the queue of this name, on a server that all tests share while they run.
pub(crate) fn on_redis(queue: &'static str, test: fn(Brokers)) {
    let Some(server) = redis() else { return };
    let url = server.url.clone();
    patched(move || {
        let open = || Arc::new(Redis::open(&url, queue).unwrap()) as Arc<dyn Broker>;
        test([open(), open()]);
    });
}

/// The server that all tests share while they run, if it is installed.
pub(crate) fn redis() -> Option<Arc<Shared>> {
    static SERVER: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    if !has_program("redis-server") {
        println!("left out: there is no redis-server here, see `.ci/run`");
        return None;
    }
    let url = |server: &Program| format!("redis://127.0.0.1:{}/", server.port);
    Some(Shared::get(&SERVER, || redis_server(&[]), url))
}

/// The same in a schema of its own of a database that all tests share while they run.
pub(crate) fn on_postgresql(test: fn(Brokers)) {
    static QUEUES: AtomicU32 = AtomicU32::new(0);
    let Some(server) = postgresql() else { return };
    let (url, queue) = (server.url.clone(), format!("test_{}", QUEUES.fetch_add(1, Ordering::SeqCst)));
    patched(move || {
        let open = || Arc::new(Postgres::open(&url, &queue).unwrap()) as Arc<dyn Broker>;
        test([open(), open()]);
    });
}

/// The server that all tests share while they run, if it is installed.
pub(crate) fn postgresql() -> Option<Arc<Shared>> {
    static SERVER: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    if !Path::new("/usr/lib/postgresql").exists() {
        println!("left out: there is no PostgreSQL here, see `.ci/run`");
        return None;
    }
    Some(Shared::get(&SERVER, Server::start, Server::url))
}

/// A server that keeps everything in memory, with more arguments.
pub(crate) fn redis_server(more: &[&str]) -> Program {
    Program::start(Stop::TERMINATE, "Ready to accept connections", |port| {
        let port = port.to_string();
        let arguments =
            ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"];
        arguments.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    })
}

/// A server for several tests, which goes with the last of them. An OS thread of its own has started it, since it goes with that too.
pub(crate) struct Shared {
    pub(crate) url: String,
    keeper: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Shared {
    /// What others have, or else a new one.
    fn get<S: 'static>(place: &Mutex<Weak<Shared>>, start: fn() -> S, url: fn(&S) -> String) -> Arc<Shared> {
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = place.upgrade() {
            return server;
        }
        let (keep, kept) = channel::<()>();
        let (tell, told) = channel();
        let keeper = spawn(move || {
            let server = start();
            tell.send(url(&server)).expect("who asked");
            // Until nobody holds the other end.
            let _ = kept.recv();
        });
        let url = told.recv().expect("a server");
        let server = Arc::new(Shared { url, keeper: Some((keep, keeper)) });
        *place = Arc::downgrade(&server);
        server
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some((keep, keeper)) = self.keeper.take() {
            drop(keep);
            let _ = keeper.join();
        }
    }
}

pub(crate) fn has_program(name: &str) -> bool {
    var_os("PATH").is_some_and(|path| split_paths(&path).any(|folder| folder.join(name).exists()))
}
