//! The engines, and how a test gets a broker of each that holds nothing.

use clients::folder::Folder;
use clients::measure::patched;
use clients::program::{Program, Stop};
use fleet::{Broker, Redis, Sqlite};
use std::env::{split_paths, var_os};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{JoinHandle, spawn};

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
    static SERVER: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    if !has_program("redis-server") {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let url = |server: &Program| format!("redis://127.0.0.1:{}/", server.port);
    let server = Shared::get(&SERVER, redis_server, url);
    let url = server.url.clone();
    patched(move || {
        let open = || Arc::new(Redis::open(&url, queue).unwrap()) as Arc<dyn Broker>;
        test([open(), open()]);
    });
}

/// A server that keeps everything in memory.
pub(crate) fn redis_server() -> Program {
    Program::start(Stop::TERMINATE, "Ready to accept connections", |port| {
        let port = port.to_string();
        ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]
            .map(str::to_owned)
            .to_vec()
    })
}

/// A server for several tests, which goes with the last of them. An OS thread of its own has started it, since it goes with that too.
struct Shared {
    url: String,
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

fn has_program(name: &str) -> bool {
    var_os("PATH").is_some_and(|path| split_paths(&path).any(|folder| folder.join(name).exists()))
}
