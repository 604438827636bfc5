//! Servers and pools that make OS threads, where these are green threads of one: `Parts::SPAWN`. Each in a process of its own, which
//! is patched as a whole.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use greenloop::monkey::{Parts, patch};
use greenloop::net::TcpStream;
use greenloop::spawn;
use greenloop::sync::Semaphore;
use greenloop::threadpool::unblock;
use rayon::ThreadPoolBuilder;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tiny_http::{Response, Server};

use crate::support::run_child;
use clients::measure::LIMIT;

/// Or as many as the descriptors' hard limit permits, of which tiny_http takes two for each.
const CONNECTIONS: usize = if cfg!(debug_assertions) { 2_000 } else { 10_000 };

/// Tells the process of the clients where the server is.
const PORT: &str = "GREENLOOP_TEST_SERVER_PORT";

fn patched_threads() {
    let coverage = patch(Parts::ALL | Parts::SPAWN);
    assert!(coverage.is_complete() && coverage.parts().contains(Parts::SPAWN), "{coverage}");
}

/// How many OS threads there are, but for those to which greenloop gives what waits for a disk.
fn os_threads() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
    names.filter(|name| !name.as_ref().is_ok_and(|name| name.starts_with("greenloop"))).count()
}

/// Lets the process have as many descriptors as it may, and returns how many connections that is.
fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit");
    let most = limit.maximum.map_or(usize::MAX, |most| most as usize);
    CONNECTIONS.min((most - 100) / 2)
}

/// The clients: each asks for a page of its own, has it, and holds the connection until the server's process has looked.
fn hold_connections(port: u16) {
    let count = raise_limit();
    // No more than the listener's backlog has room for.
    let turns = Arc::new(Semaphore::new(100));
    let clients: Vec<_> = (0..count)
        .map(|number| {
            let turns = turns.clone();
            spawn(move || {
                let _turn = turns.acquire();
                let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
                write!(connection, "GET /{number} HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
                let mut answer = BufReader::new(connection);
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    answer.read_line(&mut line).unwrap();
                }
                let mut page = vec![0; format!("/{number}").len()];
                answer.read_exact(&mut page).unwrap();
                assert_eq!(page, format!("/{number}").as_bytes());
                answer
            })
        })
        .collect();
    let held: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    println!("\nheld {}", held.len());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn tiny_http_holds_ten_thousand_connections_on_one_os_thread() {
    const NAME: &str = "threads::tiny_http_holds_ten_thousand_connections_on_one_os_thread";
    let child = run_child(LIMIT, || {
        if let Ok(port) = std::env::var(PORT) {
            return hold_connections(port.parse().unwrap());
        }
        let count = raise_limit();
        patched_threads();
        let threads = os_threads();
        let begin = Instant::now();
        let server = Server::http("127.0.0.1:0").unwrap();
        let port = server.server_addr().to_ip().unwrap().port();
        let mut clients = Command::new(std::env::current_exe().unwrap());
        clients.args([NAME, "--exact", "--nocapture"]).env(PORT, port.to_string()).env("RUST_BACKTRACE", "0");
        let mut clients = clients.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        for _ in 0..count {
            let request = server.recv_timeout(LIMIT / 4).unwrap().expect("the clients ask no more");
            let page = Response::from_string(request.url());
            request.respond(page).unwrap();
        }
        let mut lines = BufReader::new(clients.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.find(|line| line.starts_with("held ")), Some(format!("held {count}")));
        let open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(open > count, "{open}");
        assert_eq!(os_threads(), threads, "OS threads were made");
        println!("tiny_http: {count} connections held after {:?}", begin.elapsed());
        drop(clients.stdin.take());
        lines.for_each(drop);
        assert!(clients.wait().unwrap().success());
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
    print!("{}", child.stdout);
}

#[test]
fn the_threads_of_rayon_may_be_green() {
    fn sleeps() -> u32 {
        let tens = (0..200_u32).into_par_iter().with_max_len(1).map(|number| {
            sleep(Duration::from_millis(10));
            number
        });
        tens.sum()
    }
    let child = run_child(LIMIT, || {
        patched_threads();
        let threads = os_threads();
        let begin = Instant::now();
        let pool = ThreadPoolBuilder::new().num_threads(50).build().unwrap();
        assert_eq!((pool.install(sleeps), rayon::join(|| 1, || 2)), (19_900, (1, 2)));
        assert!(begin.elapsed() < Duration::from_secs(2), "one after another");
        assert_eq!(os_threads(), threads, "OS threads were made");
        // One that is made where there is no hub has OS threads, for which green threads wait.
        let pool = || ThreadPoolBuilder::new().num_threads(2).thread_name(|_| "rayon".to_owned()).build();
        let pool = unblock(pool).unwrap();
        assert_eq!(os_threads(), threads + 2);
        let sum = spawn(move || pool.install(sleeps));
        let other = spawn(|| greenloop::sleep(Duration::from_millis(1)));
        assert_eq!(sum.join().unwrap(), 19_900);
        assert!(other.is_finished(), "the OS thread was stopped");
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}
