//! What is in a server of Redis, as others see it who ask it.

use crate::engines::{redis, redis_server};
use clients::measure::patched;
use fleet::{Broker, Completion, NewJob, Redis, Verdict};
use greenloop::event::Event;
use redis::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than a test takes, and a time that ends within one.
const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(40);
const MANY: usize = 2_500;

fn numbered(count: usize) -> Vec<NewJob> {
    (0..count).map(|number| NewJob::new(number.to_string())).collect()
}

#[test]
fn what_is_taken_is_pending_in_the_group_of_a_stream() {
    let Some(server) = redis() else { return };
    let url = server.url.clone();
    patched(move || {
        let broker = Redis::open(&url, "streams").unwrap();
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let mut lengths = || {
            let key = "fleet:{streams}:jobs:1";
            let length: usize = redis::cmd("XLEN").arg(key).query(&mut connection).unwrap();
            let pending: Vec<Value> =
                redis::cmd("XPENDING").arg(key).arg("fleet").query(&mut connection).unwrap();
            (length, pending[0].clone())
        };
        broker.push(&numbered(3)).unwrap();
        let jobs = broker.take(2, LONG).unwrap();
        assert_eq!(lengths(), (3, Value::Int(2)));
        assert!(broker.done(&jobs[0].lease(), Completion::new()).unwrap());
        assert_eq!(lengths(), (2, Value::Int(1)));
        assert!(broker.dead(&jobs[1].lease(), "no luck").unwrap());
        assert_eq!(lengths(), (1, Value::Int(0)));
        let dead: usize = redis::cmd("XLEN").arg("fleet:{streams}:dead").query(&mut connection).unwrap();
        assert_eq!(dead, 1);
    });
}

#[test]
fn a_lease_that_ends_is_found_behind_thousands_that_do_not() {
    let Some(server) = redis() else { return };
    let url = server.url.clone();
    patched(move || {
        let broker = Redis::open(&url, "thousands").unwrap();
        broker.push(&numbered(MANY)).unwrap();
        assert_eq!(broker.take(MANY, LONG).unwrap().len(), MANY);
        broker.push(&numbered(300)).unwrap();
        let late = broker.take(300, SHORT).unwrap();
        let (start, mut taken) = (Instant::now(), Vec::new());
        while taken.len() < late.len() {
            assert!(start.elapsed() < Duration::from_secs(10), "only {} are found", taken.len());
            taken.extend(broker.take(MANY, LONG).unwrap());
            sleep(Duration::from_millis(1));
        }
        let ids = |jobs: &[fleet::Job]| jobs.iter().map(|job| job.id).collect::<BTreeSet<_>>();
        assert_eq!((taken.len(), ids(&taken)), (late.len(), ids(&late)));
        assert!(taken.iter().all(|job| job.attempt == 2));
        let first = (late.first().unwrap().lease(), taken.first().unwrap().lease());
        assert_eq!(broker.renew(&[first.0, first.1], LONG).unwrap(), [first.0]);
    });
}

/// Far less than who is told nothing waits.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn who_waits_is_told_of_whatever_may_be_taken() {
    let Some(server) = redis() else { return };
    let url = server.url.clone();
    patched(move || {
        let (broker, other) =
            (Arc::new(Redis::open(&url, "news").unwrap()), Redis::open(&url, "news").unwrap());
        let told = |what: &str, happens: &dyn Fn()| {
            assert_eq!(broker.take(9, LONG).unwrap(), [], "{what}");
            let (start, begins) = (Instant::now(), Arc::new(Event::new()));
            let (waiting, begun) = (broker.clone(), begins.clone());
            let waits = greenloop::spawn(move || {
                begun.set();
                waiting.wait(LONG).unwrap()
            });
            begins.wait();
            happens();
            assert!(waits.join().unwrap());
            assert!(start.elapsed() < SOON, "nobody told: {what}");
            // And who begins to wait only after that returns at once.
            broker.wait(LONG).unwrap();
            assert!(start.elapsed() < SOON, "it was told before: {what}");
        };
        let lane = |name| NewJob::new(name).exclusive_lane("host", Duration::ZERO);
        told("a job", &|| assert_eq!(other.push(&[NewJob::new("job")]).unwrap(), 1));
        let job = broker.take(9, LONG).unwrap().remove(0);
        told("it was given back", &|| assert!(other.settle_one(&job.lease(), Verdict::GivenBack).unwrap()));
        let job = broker.take(9, LONG).unwrap().remove(0);
        told("it failed", &|| assert!(other.fail(&job.lease(), Duration::ZERO, "again").unwrap()));
        let job = broker.take(9, LONG).unwrap().remove(0);
        assert!(broker.dead(&job.lease(), "no use").unwrap());
        told("it rose", &|| assert_eq!(other.requeue_dead().unwrap(), 1));
        let job = broker.take(9, LONG).unwrap().remove(0);
        let next = Completion::new().jobs([NewJob::new("next")]);
        told("a job that follows", &|| assert!(other.done(&job.lease(), next.clone()).unwrap()));
        broker.take(9, LONG).unwrap();
        other.push(&[NewJob::new("late").later(LONG)]).unwrap();
        told("one for later", &|| assert_eq!(other.push(&[NewJob::new("soon").later(SHORT)]).unwrap(), 1));
        let start = Instant::now();
        while broker.take(9, LONG).unwrap().is_empty() {
            assert!(broker.wait(LONG).unwrap() && start.elapsed() < SOON, "its time has come");
        }
        told("a lane", &|| assert_eq!(other.push(&["one", "two"].map(lane)).unwrap(), 2));
        let one = broker.take(9, LONG).unwrap().remove(0);
        told("a lane that is free", &|| assert!(other.done(&one.lease(), Completion::new()).unwrap()));
        let start = Instant::now();
        while broker.take(9, SHORT).unwrap().is_empty() {
            assert!(start.elapsed() < SOON, "it is free");
            sleep(Duration::from_millis(1));
        }
        // Its lease ends.
        let start = Instant::now();
        while broker.take(9, LONG).unwrap().is_empty() {
            assert!(broker.wait(LONG).unwrap() && start.elapsed() < SOON, "its lease has ended");
        }
        let start = Instant::now();
        broker.take(9, LONG).unwrap();
        broker.wait(SHORT).unwrap();
        assert!(start.elapsed() >= SHORT, "{:?}", start.elapsed());
    });
}

/// As after the loss of its disk: who still holds a job of before settles nothing of after.
#[test]
fn a_server_that_comes_back_empty_counts_no_number_again() {
    if !crate::engines::has_program("redis-server") {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let server = redis_server(&[]);
    let url = format!("redis://127.0.0.1:{}/", server.port);
    patched(move || {
        let broker = Redis::open(&url, "empty").unwrap();
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let mut next = || {
            broker.push(&[NewJob::new("job")]).unwrap();
            let job = broker.take(1, LONG).unwrap().remove(0);
            redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
            assert!(!broker.done(&job.lease(), Completion::new()).unwrap());
            job
        };
        let (before, after) = (next(), next());
        assert!(after.id > before.id && after.token > before.token, "{before:?}, {after:?}");
    });
}

/// What it had saved a while ago, and had counted on from.
#[test]
fn a_server_that_comes_back_as_it_was_counts_no_number_again() {
    if !crate::engines::has_program("redis-server") {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let server = redis_server(&[]);
    let url = format!("redis://127.0.0.1:{}/", server.port);
    patched(move || {
        let broker = Redis::open(&url, "saved").unwrap();
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let mut saved = None::<u64>;
        let mut next = || {
            broker.push(&[NewJob::new("job")]).unwrap();
            let job = broker.take(1, LONG).unwrap().remove(0);
            redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
            let saved = saved.get_or_insert(job.id - 1);
            redis::cmd("SET").arg("fleet:{saved}:next").arg(*saved).exec(&mut connection).unwrap();
            job
        };
        let (before, after) = (next(), next());
        assert!(after.id > before.id && after.token > before.token, "{before:?}, {after:?}");
    });
}
