//! A time limit or a kill in the middle of a client's call: it ends with an error of the client's own, and the others run on.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use greenloop::{Builder, sleep, spawn, with_timeout};

use crate::http::ANSWER;
use crate::patched;

/// What no server here takes to answer.
const WAIT: Duration = Duration::from_millis(50);

/// Makes a client by `prepare`, and interrupts it in `call`, which waits for what never comes, and must return an error: by a time limit,
/// after which `again` uses the client once more, and by a kill. Both in an isolated green thread.
pub(crate) fn interrupted<C: 'static, E: Debug + 'static>(
    what: &str,
    prepare: impl Fn() -> C + Clone + Send + 'static,
    call: impl Fn(&mut C) -> Result<(), E> + Clone + Send + 'static,
    again: impl Fn(C) + Clone + Send + 'static,
) {
    let what = what.to_owned();
    patched(move || {
        let ticks = Rc::new(Cell::new(0_u64));
        let ticker = spawn({
            let ticks = ticks.clone();
            move || {
                loop {
                    ticks.set(ticks.get() + 1);
                    sleep(Duration::from_millis(1));
                }
            }
        });
        let limited = Builder::new().isolated(true).spawn({
            let (what, prepare, call) = (what.clone(), prepare.clone(), call.clone());
            move || {
                let mut client = prepare();
                let mut seen = None;
                let start = Instant::now();
                let late = with_timeout(WAIT, || {
                    let error = call(&mut client).expect_err("nothing comes");
                    seen = Some(error);
                });
                let elapsed = start.elapsed();
                assert_eq!(late.unwrap_err().limit(), WAIT);
                let error = seen.expect("an error of the client's own");
                println!("{what}, a limit of {WAIT:?}: {error:?} after {elapsed:.1?}");
                again(client);
            }
        });
        limited.expect("a green thread").join().expect("it does its work");

        let (waits, seen, ended) =
            (Rc::new(Cell::new(false)), Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
        let killed = Builder::new().isolated(true).spawn({
            let (waits, seen, ended, ticks) = (waits.clone(), seen.clone(), ended.clone(), ticks.clone());
            move || {
                let mut client = prepare();
                waits.set(true);
                let error = call(&mut client).expect_err("nothing comes");
                ended.set(ticks.get());
                seen.set(Some(error));
            }
        });
        let killed = killed.expect("a green thread");
        while !waits.get() {
            sleep(Duration::from_millis(1));
        }
        sleep(WAIT);
        let (start, before) = (Instant::now(), ticks.get());
        killed.kill();
        let elapsed = start.elapsed();
        // As many as have time in the pauses between calls that fail; more were a wait. What ends the client comes after that.
        assert!(ended.get() - before <= 10, "it went on for {elapsed:?}");
        assert!(killed.join().unwrap_err().is_killed());
        let error = seen.take().expect("an error of the client's own");
        println!("{what}, killed: {error:?} after {elapsed:.1?}");
        let before = ticks.get();
        while ticks.get() < before + 3 {
            sleep(Duration::from_millis(1));
        }
        ticker.kill();
    });
}

/// A server of HTTP that lets each odd connection wait until the client ends it, and answers the others at once. It takes `count`
/// connections, and has ended when all have.
pub(crate) struct SilentServer {
    pub(crate) port: u16,
    thread: JoinHandle<()>,
}

impl SilentServer {
    pub(crate) fn start(count: usize) -> SilentServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            for number in 1..=count {
                let (mut stream, _) = listener.accept().unwrap();
                if number % 2 == 0 {
                    let length = ANSWER.len();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{ANSWER}"
                    );
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                // An error is an end too: of a connection that is closed before all was read.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        SilentServer { port, thread }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Waits until the clients have ended every connection.
    pub(crate) fn end(self) {
        self.thread.join().unwrap();
    }
}
