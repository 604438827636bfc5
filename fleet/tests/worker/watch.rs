//! Jobs that keep the OS thread, and what others see of a worker meanwhile.

use crate::{patched, records, with_jobs};
use fleet::{Blocked, Broker, Completion, NewJob, Sqlite, Worker};
use greenloop::monkey::{Parts, patch, unpatch};
use std::cell::RefCell;
use std::hint::spin_loop;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::spawn;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_millis(20);

#[test]
fn a_job_that_keeps_its_os_thread_beyond_the_hard_limit_is_named() {
    patched(|| {
        let (broker, worker) = with_jobs(&["waits", "computes", "waits too"]);
        let told = Arc::new(Mutex::new(Vec::<Blocked>::new()));
        let is_told = Arc::new(AtomicBool::new(false));
        let (all, seen) = (told.clone(), is_told.clone());
        let worker = worker.attempts(1).hard_limit(LIMIT).on_blocked(move |blocked| {
            all.lock().unwrap().push(blocked.clone());
            seen.fetch_or(blocked.job == Some(2), Ordering::SeqCst);
        });
        let run = worker.run(move |job| {
            match job.payload.as_str() {
                // Until it was named.
                "computes" => computes_until(&is_told),
                _ => greenloop::sleep(LIMIT / 2),
            }
            Ok(Completion::new().record(&job.payload))
        });
        run.unwrap();
        assert!(records(&*broker).contains(&"computes".to_owned()));
        let told = told.lock().unwrap();
        let blocked = told.iter().find(|blocked| blocked.job == Some(2)).unwrap();
        assert_eq!((blocked.process, blocked.running), (std::process::id(), blocked.jobs.len()));
        assert!(blocked.lasted >= LIMIT && blocked.jobs.contains(&2), "{blocked:?}");
        let named: Vec<_> = blocked.jobs.iter().map(u64::to_string).collect();
        let mut unseen = blocked.clone();
        unseen.job = None;
        let expected = format!(
            "one of its {} jobs keeps it, of which the last begun are {}",
            named.len(),
            named.join(", ")
        );
        assert!(unseen.to_string().ends_with(&expected), "{unseen}");
        let (Some(2), Some(seen)) = (blocked.job, &blocked.seen) else { panic!("{blocked:?}") };
        assert!(seen.is_computing() && seen.name() == "fleet: job 2", "{seen}");
        let told = blocked.to_string();
        let (first, calls) = told.split_once('\n').unwrap();
        assert!(first.ends_with(&format!("job 2 keeps it, one of {}", named.len())), "{told}");
        assert!(calls.contains("computes_until"), "{told}");
    });
}

/// Of two that run beside others, one is long over its limit, and the other one keeps the OS thread in a system call.
#[test]
fn a_job_that_blocks_in_a_system_call_is_named_with_that() {
    patched(|| {
        let (broker, worker) = with_jobs(&["waits"; 5]);
        broker.push(&[NewJob::new("blocks")]).unwrap();
        let (tell, told) = channel();
        let worker =
            worker.attempts(1).hard_limit(LIMIT).on_blocked(move |blocked| drop(tell.send(blocked.clone())));
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (stdin, child) = (child.stdin.take(), RefCell::new(child));
        let ends = spawn(move || {
            let blocked = told.iter().find(|blocked: &Blocked| blocked.job.is_some()).unwrap();
            // So that it ends.
            drop(stdin);
            blocked
        });
        let run = worker.run(move |job| {
            match job.payload.as_str() {
                "blocks" => {
                    unpatch(Parts::PROCESS);
                    assert!(child.borrow_mut().wait().unwrap().success());
                    patch(Parts::PROCESS);
                }
                _ => {
                    let start = Instant::now();
                    while start.elapsed() < 5 * LIMIT {
                        let _ = std::panic::catch_unwind(|| greenloop::sleep(LIMIT));
                    }
                }
            }
            Ok(Completion::new())
        });
        run.unwrap();
        let blocked = ends.join().unwrap();
        let Some(seen) = blocked.seen.as_ref() else { panic!("{blocked:?}") };
        assert_eq!((blocked.job, seen.name()), (Some(6), "fleet: job 6"));
        assert!(seen.system_call().is_none_or(|call| call.starts_with("wait")), "{blocked}");
    });
}

#[inline(never)]
fn computes_until(is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        spin_loop();
    }
}

#[test]
fn jobs_that_are_late_by_waiting_are_not_taken_for_one_that_computes() {
    patched(|| {
        let (_, worker) = with_jobs(&["survives"]);
        let told = Arc::new(AtomicBool::new(false));
        let seen = told.clone();
        let worker =
            worker.attempts(1).hard_limit(LIMIT).on_blocked(move |_| seen.store(true, Ordering::SeqCst));
        let counts = worker.counts();
        let run = worker.run(|_| {
            // As code does that takes no kill for an answer.
            let start = Instant::now();
            while start.elapsed() < 40 * LIMIT {
                let _ = std::panic::catch_unwind(|| greenloop::sleep(LIMIT));
            }
            Ok(Completion::new())
        });
        run.unwrap();
        assert_eq!((counts.get(fleet::Count::Dead), told.load(Ordering::SeqCst)), (1, false));
    });
}

/// What an OS thread is answered.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // It may have been refused before all of it was sent.
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn prometheus_is_answered_also_while_a_job_computes() {
    patched(|| {
        let broker = Arc::new(Sqlite::in_memory().unwrap());
        broker.push(&[NewJob::new("computes"), NewJob::new("late").later(Duration::from_secs(600))]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let worker = Worker::new(broker).metrics(listener).unwrap();
        let stopper = worker.stopper();
        let is_asked = Arc::new(AtomicBool::new(false));
        let asked = is_asked.clone();
        let (begin, begun) = channel();
        let client = spawn(move || {
            begun.recv().unwrap();
            let answers = [
                "GET /metrics?x=1 HTTP/1.1\r\n\r\n",
                "GET / HTTP/1.1\r\n\r\n",
                "POST /metrics HTTP/1.1\r\n\r\n",
                "\r\n",
            ]
            .map(|request| ask(address, request));
            let long = ask(address, &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)));
            asked.store(true, Ordering::SeqCst);
            stopper.stop();
            (answers, long)
        });
        let run = worker.run(move |_| {
            begin.send(()).unwrap();
            while !is_asked.load(Ordering::SeqCst) {
                spin_loop();
            }
            Ok(Completion::new())
        });
        run.unwrap();
        let ([metrics, nothing, post, empty], long) = client.join().unwrap();
        let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        for line in ["fleet_taken_total 1", "fleet_jobs{state=\"leased\"} 1", "fleet_jobs{state=\"later\"} 1"]
        {
            assert!(body.lines().any(|said| said == line), "{line} is not in {body}");
        }
        assert!(body.contains("\ngreenloop_green_threads_alive{hub="), "{body}");
        assert!(nothing.starts_with("HTTP/1.1 404 ") && post.starts_with("HTTP/1.1 405 "), "{nothing}{post}");
        assert_eq!((empty.as_str(), long.as_str()), ("", ""));
        // The listener goes with the worker.
        drop(worker);
        assert!(TcpStream::connect(address).is_err());
    });
}
