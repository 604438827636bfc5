//! Brokers that fail.

use crate::patched;
use fleet::{
    Broker, BrokerError, Completion, Count, Job, Lease, NewJob, Settlement, Sqlite, Status, Verdict, Worker,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::spawn;
use std::time::Duration;

/// One in front of another, each third call of which fails, half of these after it was carried out; it never takes a record `poison`.
struct Failing {
    broker: Sqlite,
    calls: AtomicUsize,
    /// How many jobs followed in one call.
    most: AtomicUsize,
    /// What is held keeps who asks for the status.
    lock: Mutex<()>,
}

impl Failing {
    fn new() -> Failing {
        let broker = Sqlite::in_memory().unwrap();
        Failing { broker, calls: AtomicUsize::new(0), most: AtomicUsize::new(0), lock: Mutex::new(()) }
    }

    fn pass<R>(&self, call: impl FnOnce(&Sqlite) -> Result<R, BrokerError>) -> Result<R, BrokerError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let error = || BrokerError::Unreachable("the line is down".to_owned());
        match number % 6 {
            2 => Err(error()),
            5 => call(&self.broker).and(Err(error())),
            _ => call(&self.broker),
        }
    }
}

impl Broker for Failing {
    passes_on!();

    fn take(&self, most: usize, lease: Duration) -> Result<Vec<Job>, BrokerError> {
        self.pass(|broker| broker.take(most, lease))
    }

    fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, BrokerError> {
        self.pass(|broker| broker.renew(leases, lease))
    }

    fn settle(&self, settlements: &[Settlement]) -> Result<Vec<bool>, BrokerError> {
        let following = settlements.iter().map(|settlement| match &settlement.verdict {
            Verdict::Done(completion) => completion.jobs.len(),
            _ => 0,
        });
        self.most.fetch_max(following.sum(), Ordering::SeqCst);
        let is_poison = |settlement: &Settlement| matches!(&settlement.verdict, Verdict::Done(Completion { record: Some(text), .. }) if text == "poison");
        if settlements.iter().any(is_poison) {
            return Err(BrokerError::Other("it is not to be written".to_owned()));
        }
        self.pass(|broker| broker.settle(settlements))
    }

    fn status(&self) -> Result<Status, BrokerError> {
        let _lock = self.lock.lock().unwrap();
        self.pass(Broker::status)
    }
}

/// Jobs whose taking was not heard of run once their lease ends, and a commit that was not heard of is not repeated.
#[test]
fn each_record_is_there_once_however_often_calls_fail() {
    patched(|| {
        let broker = Arc::new(Failing::new());
        let jobs: Vec<_> = (100..140).map(|number| NewJob::new(number.to_string())).collect();
        broker.push(&jobs).unwrap();
        let worker = Worker::new(broker.clone())
            .concurrency(3)
            .lease(Duration::from_millis(100))
            .attempts(1_000)
            .until_idle();
        let counts = worker.counts();
        worker.run(|job| Ok(Completion::new().record(&job.payload))).unwrap();
        let expected: Vec<_> = (100..140).map(|number| number.to_string()).collect();
        assert_eq!(crate::records(&*broker), expected);
        assert!(counts.get(Count::Errors) > 0);
    });
}

#[test]
fn what_the_broker_refuses_holds_up_nobody() {
    patched(|| {
        let broker = Arc::new(Failing::new());
        broker.push(&["one", "poison", "two"].map(NewJob::new)).unwrap();
        let worker =
            Worker::new(broker.clone()).lease(Duration::from_millis(100)).attempts(1_000).until_idle();
        let counts = worker.counts();
        worker.run(|job| Ok(Completion::new().record(&job.payload))).unwrap();
        assert_eq!(crate::records(&*broker), ["one", "two"]);
        assert!(counts.get(Count::Done) <= 2, "{counts:?}");
        let told = "the broker does not take what has come of it: it is not to be written";
        assert_eq!(crate::errors(&*broker), [told]);
    });
}

/// A server has a limit to what is one request.
#[test]
fn what_follows_from_jobs_that_end_together_is_not_all_in_one_call() {
    patched(|| {
        let broker = Arc::new(Failing::new());
        broker.push(&["1200"; 10].map(NewJob::new)).unwrap();
        let worker = Worker::new(broker.clone()).lease(Duration::from_secs(600));
        let (stopper, seen) = (worker.stopper(), broker.clone());
        greenloop::spawn(move || {
            while seen.broker.status().unwrap().done < 10 {
                greenloop::sleep(Duration::from_millis(1));
            }
            stopper.stop();
        });
        let run = worker.run(|job| {
            let late = NewJob::new("0").later(Duration::from_secs(600));
            Ok(Completion::new().jobs(vec![late; job.payload.parse()?]))
        });
        run.unwrap();
        let most = broker.most.load(Ordering::SeqCst);
        assert!((1_200..=6_000).contains(&most), "{most}");
        assert_eq!(broker.broker.status().unwrap().later, 12_000);
    });
}

/// As one is by a green thread of the worker's while a job keeps their OS thread.
#[test]
fn prometheus_is_answered_also_while_a_lock_of_the_broker_is_held() {
    patched(|| {
        let broker = Arc::new(Failing::new());
        broker.push(&[NewJob::new("holds it")]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let worker = Worker::new(broker.clone()).metrics(listener).unwrap();
        let stopper = worker.stopper();
        let is_asked = Arc::new(AtomicBool::new(false));
        let asked = is_asked.clone();
        let (begin, begun) = channel();
        let client = spawn(move || {
            begun.recv().unwrap();
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            asked.store(true, Ordering::SeqCst);
            stopper.stop();
            read.map(|_| answer)
        });
        let run = worker.run(move |_| {
            let _lock = broker.lock.lock().unwrap();
            let _ = begin.send(());
            while !is_asked.load(Ordering::SeqCst) {
                greenloop::sleep(Duration::from_millis(5));
            }
            Ok(Completion::new())
        });
        run.unwrap();
        let answer = client.join().unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\nfleet_taken_total 1\n") && !answer.contains("fleet_jobs{"), "{answer}");
    });
}
