//! Each function is a test of every engine.

use crate::engines::{self, Brokers};
use fleet::{
    Backoff, Broker, BrokerError, Completion, Failure, Job, LONGEST_TEXT, Lease, NewJob, Priority,
    Settlement, Verdict, Worker,
};
use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(100);
/// Ends within a test.
const SHORT: Duration = Duration::from_millis(40);

macro_rules! each_engine {
    ($($(#[$attribute:meta])* fn $name:ident($brokers:pat_param) $body:block)*) => {
        $($(#[$attribute])* fn $name($brokers: Brokers) $body)*

        mod sqlite {
            $(#[test] fn $name() { super::engines::on_sqlite(super::$name); })*
        }

        mod redis {
            $(#[test] fn $name() { super::engines::on_redis(stringify!($name), super::$name); })*
        }

        mod postgresql {
            // Its names are shorter.
            $(#[test] fn $name() { super::engines::on_postgresql(super::$name); })*
        }
    };
}

fn one(broker: &dyn Broker, lease: Duration) -> Job {
    let mut jobs = broker.take(1, lease).unwrap();
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

fn payloads(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|job| job.payload.as_str()).collect()
}

/// Takes one as soon as there is one, for ten seconds.
fn eventually(broker: &dyn Broker, lease: Duration) -> Job {
    let start = Instant::now();
    loop {
        if let Some(job) = broker.take(1, lease).unwrap().pop() {
            return job;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it never may be taken");
        sleep(Duration::from_millis(5));
    }
}

each_engine! {
    fn jobs_are_taken_once_in_order_and_are_gone_when_done([a, b]) {
        assert_eq!(a.push(&["one", "two", "three"].map(NewJob::new)).unwrap(), 3);
        let first = a.take(2, LONG).unwrap();
        let second = b.take(2, LONG).unwrap();
        assert_eq!((payloads(&first), payloads(&second)), (vec!["one", "two"], vec!["three"]));
        assert!(a.take(1, LONG).unwrap().is_empty());
        let status = b.status().unwrap();
        assert_eq!((status.ready, status.leased, status.done), (0, 3, 0));
        for job in first.iter().chain(&second) {
            assert_eq!(job.attempt, 1);
            // Who has the lease is what counts, and not by which connection.
            assert!(b.done(&job.lease(), Completion::new()).unwrap());
            assert!(!a.done(&job.lease(), Completion::new()).unwrap());
        }
        let status = b.status().unwrap();
        assert!(status.is_idle());
        assert_eq!((status.done, status.dead, status.records), (3, 0, 0));
        assert!(a.take(0, LONG).unwrap().is_empty());
    }

    fn a_unique_job_is_pushed_once_also_when_it_is_done([a, b]) {
        let job = NewJob::new("page").unique("key");
        assert_eq!(a.push(&[job.clone(), job.clone(), NewJob::new("page")]).unwrap(), 2);
        assert_eq!(b.push(std::slice::from_ref(&job)).unwrap(), 0);
        for job in a.take(9, LONG).unwrap() {
            assert!(a.done(&job.lease(), Completion::new()).unwrap());
        }
        assert_eq!(b.push(&[job]).unwrap(), 0);
        assert!(b.status().unwrap().is_idle());
    }

    fn who_submits_a_job_is_told_its_number([a, b]) {
        a.push(&[NewJob::new("before")]).unwrap();
        let plain = a.submit(&NewJob::new("plain")).unwrap().unwrap();
        let unique = NewJob::new("unique").unique("key").lane("lane", Duration::ZERO);
        let laned = a.submit(&unique).unwrap().unwrap();
        assert_eq!((a.submit(&unique).unwrap(), b.submit(&unique).unwrap()), (None, None));
        let late = b.submit(&NewJob::new("late").later(Duration::from_millis(1))).unwrap().unwrap();
        let jobs: Vec<_> = (0..4).map(|_| eventually(&*b, LONG)).collect();
        for (payload, number) in [("plain", plain), ("unique", laned), ("late", late)] {
            assert_eq!(jobs.iter().find(|job| job.payload == payload).unwrap().id, number);
        }
        for job in &jobs {
            b.done(&job.lease(), Completion::new().result(&job.payload, LONG)).unwrap();
        }
        assert_eq!(a.result(laned).unwrap().as_deref(), Some("unique"));
        assert!(a.submit(&NewJob::new("x".repeat(LONGEST_TEXT + 1))).is_err());
    }

    fn the_urgent_come_first([a, _b]) {
        let job = |name, priority| NewJob::new(name).priority(priority);
        let jobs = [job("low", Priority::Low), job("normal", Priority::Normal), job("high", Priority::High)];
        a.push(&jobs).unwrap();
        assert_eq!(payloads(&a.take(2, LONG).unwrap()), ["high", "normal"]);
        assert_eq!(payloads(&a.take(2, LONG).unwrap()), ["low"]);
    }

    fn a_lease_that_ends_is_taken_over_and_the_late_one_settles_nothing([a, b]) {
        a.push(&[NewJob::new("job")]).unwrap();
        let late = one(&*a, SHORT);
        let next = eventually(&*b, LONG);
        assert_eq!((next.id, next.attempt), (late.id, 2));
        assert!(next.token > late.token);
        assert_eq!(a.renew(&[late.lease(), next.lease()], LONG).unwrap(), [late.lease()]);
        assert!(!a.done(&late.lease(), Completion::new().record("late").jobs([NewJob::new("late")])).unwrap());
        assert!(!a.fail(&late.lease(), Duration::ZERO, "late").unwrap());
        assert!(!a.dead(&late.lease(), "late").unwrap());
        assert!(!a.settle_one(&late.lease(), Verdict::GivenBack).unwrap());
        assert!(b.done(&next.lease(), Completion::new().record("in time")).unwrap());
        let records = a.records(0, 9).unwrap();
        assert_eq!(records.iter().map(|record| record.text.as_str()).collect::<Vec<_>>(), ["in time"]);
        assert_eq!(records[0].job, late.id);
        assert!(a.status().unwrap().is_idle());
    }

    fn a_lease_that_is_renewed_lasts([a, b]) {
        a.push(&[NewJob::new("long"), NewJob::new("left")]).unwrap();
        let jobs = a.take(2, SHORT).unwrap();
        let long = jobs[0].lease();
        assert_eq!(a.renew(&[long], LONG).unwrap(), []);
        let left = eventually(&*b, LONG);
        assert_eq!(left.payload, "left");
        assert!(b.take(1, LONG).unwrap().is_empty());
        assert_eq!(a.renew(&[long, jobs[1].lease()], LONG).unwrap(), [jobs[1].lease()]);
        assert!(a.done(&long, Completion::new()).unwrap());
        assert_eq!(a.renew(&[long], LONG).unwrap(), [long]);
    }

    fn what_fails_is_tried_again_later_with_its_count([a, b]) {
        a.push(&[NewJob::new("job").priority(Priority::High)]).unwrap();
        let first = one(&*a, LONG);
        let failed = Instant::now();
        assert!(a.fail(&first.lease(), SHORT, "no luck").unwrap());
        let second = eventually(&*b, LONG);
        assert!(failed.elapsed() >= SHORT - Duration::from_millis(2), "{:?}", failed.elapsed());
        assert_eq!((second.id, second.attempt), (first.id, 2));
        assert!(b.fail(&second.lease(), LONG, "no luck").unwrap());
        assert!(a.take(1, LONG).unwrap().is_empty());
        assert_eq!(b.status().unwrap().later, 1);
    }

    fn what_is_given_back_counts_as_not_tried([a, b]) {
        a.push(&[NewJob::new("job")]).unwrap();
        let first = one(&*a, LONG);
        assert!(a.settle_one(&first.lease(), Verdict::GivenBack).unwrap());
        let again = one(&*b, LONG);
        assert_eq!((again.id, again.attempt), (first.id, 1));
    }

    fn nobody_takes_a_job_before_its_time([a, _b]) {
        a.push(&[NewJob::new("late").later(LONG)]).unwrap();
        assert!(a.take(2, LONG).unwrap().is_empty());
        let pushed = Instant::now();
        a.push(&[NewJob::new("soon").later(SHORT)]).unwrap();
        assert_eq!(eventually(&*a, LONG).payload, "soon");
        assert!(pushed.elapsed() >= SHORT - Duration::from_millis(2), "{:?}", pushed.elapsed());
        let status = a.status().unwrap();
        assert_eq!((status.later, status.ready, status.leased), (1, 0, 1));
    }

    fn the_dead_tell_why_and_rise_when_they_are_told_to([a, b]) {
        a.push(&[NewJob::new("plain"), NewJob::new("laned").lane("lane", Duration::ZERO)]).unwrap();
        for job in a.take(2, LONG).unwrap() {
            assert!(a.dead(&job.lease(), &format!("{} cannot be done", job.payload)).unwrap());
        }
        let dead = b.dead_jobs(9).unwrap();
        let told: BTreeSet<_> =
            dead.iter().map(|job| (job.payload.as_str(), job.error.as_str(), job.attempts)).collect();
        let expected = [("laned", "laned cannot be done", 1), ("plain", "plain cannot be done", 1)];
        assert_eq!(told, BTreeSet::from(expected));
        assert_eq!(b.dead_jobs(1).unwrap().len(), 1);
        let status = b.status().unwrap();
        assert_eq!((status.dead, status.is_idle()), (2, true));
        assert_eq!(b.requeue_dead().unwrap(), 2);
        assert_eq!(b.requeue_dead().unwrap(), 0);
        let jobs = [eventually(&*a, LONG), eventually(&*a, LONG)];
        let payloads: BTreeSet<_> = jobs.iter().map(|job| (job.payload.as_str(), job.attempt)).collect();
        assert_eq!(payloads, BTreeSet::from([("laned", 1), ("plain", 1)]));
        assert_eq!(a.status().unwrap().dead, 0);
    }

    fn what_a_job_leads_to_is_one_commit([a, b]) {
        a.push(&[NewJob::new("first").unique("first")]).unwrap();
        let job = one(&*a, LONG);
        let follow = [NewJob::new("second").unique("second"), NewJob::new("first").unique("first")];
        let completion = Completion::new().record("page").result("42", LONG).jobs(follow);
        assert_eq!(b.result(job.id).unwrap(), None);
        assert!(a.done(&job.lease(), completion).unwrap());
        assert_eq!(b.result(job.id).unwrap().as_deref(), Some("42"));
        assert_eq!(payloads(&b.take(9, LONG).unwrap()), ["second"]);
        let records = b.records(0, 9).unwrap();
        assert_eq!((records.len(), records[0].job, records[0].text.as_str()), (1, job.id, "page"));
        assert!(b.records(records[0].number, 9).unwrap().is_empty());
    }

    fn a_result_is_kept_for_its_time([a, _b]) {
        a.push(&[NewJob::new("job")]).unwrap();
        let job = one(&*a, LONG);
        a.done(&job.lease(), Completion::new().result("short", SHORT)).unwrap();
        let start = Instant::now();
        while a.result(job.id).unwrap().is_some() {
            assert!(start.elapsed() < Duration::from_secs(10), "it stays");
            sleep(Duration::from_millis(5));
        }
    }

    fn a_batch_is_settled_each_by_its_own_lease([a, _b]) {
        a.push(&["one", "two", "three", "four"].map(NewJob::new)).unwrap();
        let jobs = a.take(4, LONG).unwrap();
        a.done(&jobs[1].lease(), Completion::new()).unwrap();
        let verdicts = [
            Verdict::Done(Completion::new().record("one")),
            Verdict::Done(Completion::new().record("two")),
            Verdict::Retry { after: LONG, error: "three".to_owned() },
            Verdict::Dead { error: "four".to_owned() },
        ];
        let settlements = jobs.iter().map(Job::lease).zip(verdicts);
        let settlements: Vec<_> =
            settlements.map(|(lease, verdict)| Settlement::new(lease, verdict)).collect();
        assert_eq!(a.settle(&settlements).unwrap(), [true, false, true, true]);
        assert_eq!(a.settle(&settlements).unwrap(), [false; 4]);
        assert!(a.settle(&[]).unwrap().is_empty());
        let status = a.status().unwrap();
        assert_eq!((status.done, status.dead, status.later, status.records), (2, 1, 1, 1));
    }

    fn a_lane_is_taken_from_no_sooner_than_its_spacing([a, b]) {
        const SPACING: Duration = Duration::from_millis(60);
        let job = |name| NewJob::new(name).lane("slow", SPACING);
        a.push(&[job("one"), job("two").priority(Priority::High), job("three"), NewJob::new("free")]).unwrap();
        let start = Instant::now();
        let first = a.take(9, LONG).unwrap();
        let first: BTreeSet<_> = payloads(&first).into_iter().collect();
        assert_eq!(first, BTreeSet::from(["free", "two"]));
        assert_eq!(eventually(&*b, LONG).payload, "one");
        assert!(start.elapsed() >= SPACING - Duration::from_millis(2), "{:?}", start.elapsed());
        assert_eq!(eventually(&*a, LONG).payload, "three");
        assert!(start.elapsed() >= 2 * SPACING - Duration::from_millis(4), "{:?}", start.elapsed());
        // It is remembered while nothing is in it.
        a.push(&[job("four")]).unwrap();
        let four = eventually(&*b, LONG);
        assert!(start.elapsed() >= 3 * SPACING - Duration::from_millis(6), "{:?}", start.elapsed());
        // What comes back is in its lane.
        b.fail(&four.lease(), Duration::ZERO, "again").unwrap();
        assert_eq!(eventually(&*a, SHORT).attempt, 2);
        assert!(start.elapsed() >= 4 * SPACING - Duration::from_millis(8), "{:?}", start.elapsed());
        assert_eq!(eventually(&*b, LONG).attempt, 3);
    }

    fn a_lane_whose_jobs_are_for_later_does_not_keep_others([a, b]) {
        let job = |name| NewJob::new(name).lane("lane", Duration::ZERO);
        let is_empty = || {
            // The first look may find that the turn is over, and the second one that there is no job for now.
            sleep(Duration::from_millis(2));
            b.take(9, LONG).unwrap().is_empty()
        };
        a.push(&[job("late").later(LONG)]).unwrap();
        assert!(is_empty() && is_empty());
        a.push(&[job("pushed")]).unwrap();
        let pushed = eventually(&*b, LONG);
        assert_eq!(pushed.payload, "pushed");
        assert!(is_empty() && is_empty());
        assert!(a.settle_one(&pushed.lease(), Verdict::GivenBack).unwrap());
        let again = eventually(&*b, SHORT);
        assert_eq!(again.payload, "pushed");
        let over = eventually(&*b, LONG);
        assert_eq!((over.id, over.attempt), (again.id, 2));
        assert!(is_empty() && is_empty());
        assert!(a.dead(&over.lease(), "once").unwrap());
        assert_eq!(a.requeue_dead().unwrap(), 1);
        assert_eq!(eventually(&*b, LONG).id, over.id);
    }

    fn of_an_exclusive_lane_one_job_at_a_time_is_done([a, b]) {
        const PAUSE: Duration = Duration::from_millis(50);
        let job = |name| NewJob::new(name).exclusive_lane("host", PAUSE);
        a.push(&["one", "two", "three", "four"].map(job)).unwrap();
        // Held for longer than its pause.
        let one = one(&*a, LONG);
        sleep(PAUSE + SHORT);
        assert!(b.take(9, LONG).unwrap().is_empty());
        let ended = Instant::now();
        a.done(&one.lease(), Completion::new()).unwrap();
        let two = eventually(&*b, SHORT);
        assert!(ended.elapsed() >= PAUSE - Duration::from_millis(2), "{:?}", ended.elapsed());
        // It is held while its lease is renewed, and no longer than the pause after that.
        let renewed = Instant::now();
        assert_eq!(b.renew(&[two.lease()], 2 * SHORT).unwrap(), []);
        let again = eventually(&*a, LONG);
        assert!(renewed.elapsed() >= 2 * SHORT + PAUSE - Duration::from_millis(2), "{:?}", renewed.elapsed());
        assert_eq!((again.id, again.attempt), (two.id, 2));
        let mut held = again;
        let verdicts = [
            Verdict::Dead { error: String::new() },
            Verdict::Retry { after: LONG, error: String::new() },
            Verdict::GivenBack,
        ];
        for verdict in verdicts {
            let ended = Instant::now();
            assert!(a.settle_one(&held.lease(), verdict).unwrap());
            held = eventually(&*b, LONG);
            assert!(ended.elapsed() >= PAUSE - Duration::from_millis(2), "{:?}", ended.elapsed());
        }
    }

    fn what_is_kept_is_there_for_all_for_a_time([a, b]) {
        assert_eq!(a.kept("robots").unwrap(), None);
        a.keep("robots", "first", LONG).unwrap();
        a.keep("robots", "text", LONG).unwrap();
        a.keep("short", "text", SHORT).unwrap();
        assert_eq!(b.kept("robots").unwrap().as_deref(), Some("text"));
        let start = Instant::now();
        while b.kept("short").unwrap().is_some() {
            assert!(start.elapsed() < Duration::from_secs(10), "it stays");
            sleep(Duration::from_millis(5));
        }
        b.purge().unwrap();
        assert_eq!(a.kept("robots").unwrap(), None);
    }

    fn a_lease_in_a_lane_that_was_closed_meanwhile_is_taken_over([a, b]) {
        a.push(&[NewJob::new("job").lane("lane", Duration::ZERO)]).unwrap();
        let late = one(&*a, 2 * SHORT);
        // Looks at the lane, which has nothing, again and again.
        let next = eventually(&*b, LONG);
        assert_eq!((next.id, next.attempt), (late.id, 2));
    }

    fn two_that_take_at_once_never_get_the_same([a, b]) {
        let jobs: Vec<_> = (0..60).map(|number| NewJob::new(number.to_string())).collect();
        a.push(&jobs).unwrap();
        let takers = [a, b].map(|broker| {
            greenloop::spawn(move || {
                let mut taken = Vec::new();
                while let jobs = broker.take(7, LONG).unwrap() && !jobs.is_empty() {
                    taken.extend(jobs.into_iter().map(|job| job.lease()));
                    greenloop::yield_now();
                }
                taken
            })
        });
        let taken = takers.map(|taker| taker.join().unwrap()).concat();
        let ids: BTreeSet<_> = taken.iter().map(|lease: &Lease| lease.id).collect();
        let tokens: BTreeSet<_> = taken.iter().map(|lease| lease.token).collect();
        assert_eq!((taken.len(), ids.len(), tokens.len()), (60, 60, 60));
    }

    fn a_purge_leaves_nothing([a, b]) {
        a.push(&[NewJob::new("one").unique("one"), NewJob::new("two").lane("lane", LONG)]).unwrap();
        let job = one(&*a, LONG);
        let held = one(&*a, LONG);
        a.done(&job.lease(), Completion::new().record("one").result("one", LONG)).unwrap();
        b.purge().unwrap();
        assert_eq!(a.status().unwrap(), fleet::Status::default());
        assert_eq!((a.records(0, 9).unwrap(), a.result(job.id).unwrap()), (vec![], None));
        assert!(!a.done(&held.lease(), Completion::new()).unwrap());
        assert_eq!(a.push(&[NewJob::new("one").unique("one")]).unwrap(), 1);
        let again = one(&*b, LONG);
        assert!(again.token > held.token && again.id > held.id);
    }

    /// Where an engine counts in fewer bits.
    fn all_that_there_is_may_be_asked_for([a, _b]) {
        a.push(&["one", "two"].map(NewJob::new)).unwrap();
        let jobs = a.take(usize::MAX, LONG).unwrap();
        assert_eq!(payloads(&jobs), ["one", "two"]);
        a.done(&jobs[0].lease(), Completion::new().record("done")).unwrap();
        a.dead(&jobs[1].lease(), "dead").unwrap();
        assert_eq!(a.records(0, usize::MAX).unwrap().len(), 1);
        assert_eq!(a.dead_jobs(usize::MAX).unwrap().len(), 1);
    }

    fn none_may_be_asked_for([a, _b]) {
        a.push(&["one", "two", "three"].map(NewJob::new)).unwrap();
        assert_eq!(a.take(0, LONG).unwrap(), []);
        a.dead(&one(&*a, LONG).lease(), "dead").unwrap();
        a.done(&one(&*a, LONG).lease(), Completion::new().record("done")).unwrap();
        assert_eq!((a.dead_jobs(0).unwrap(), a.records(0, 0).unwrap()), (vec![], vec![]));
        assert_eq!(a.records(u64::MAX, 9).unwrap(), []);
    }

    /// Where an engine's clock has an end.
    fn a_time_may_be_as_long_as_there_is([a, b]) {
        const EVER: Duration = Duration::MAX;
        let late = NewJob::new("late").later(EVER);
        let [one, two] = ["one", "two"].map(|name| NewJob::new(name).lane("lane", EVER));
        let [three, four] = ["three", "four"].map(|name| NewJob::new(name).exclusive_lane("own", EVER));
        a.push(&[late, one, two, three, four]).unwrap();
        let jobs = a.take(9, EVER).unwrap();
        assert_eq!(payloads(&jobs).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["one", "three"]));
        let leases: Vec<_> = jobs.iter().map(Job::lease).collect();
        assert_eq!(b.renew(&leases, EVER).unwrap(), []);
        assert!(b.take(9, EVER).unwrap().is_empty());
        assert!(a.done(&leases[0], Completion::new().result("kept", EVER)).unwrap());
        assert_eq!(b.result(leases[0].id).unwrap().as_deref(), Some("kept"));
        assert!(a.fail(&leases[1], EVER, "once").unwrap());
        a.keep("text", "kept", EVER).unwrap();
        assert_eq!(b.kept("text").unwrap().as_deref(), Some("kept"));
        assert_eq!(b.status().unwrap().later + b.status().unwrap().ready, 4);
    }

    /// More than a buffer of a client's or a page of an engine's.
    fn text_may_be_long([a, b]) {
        let text = "long ".repeat(400_000);
        a.push(&[NewJob::new(&text).unique(&text)]).unwrap();
        let job = one(&*b, LONG);
        assert!(job.payload == text);
        assert!(b.fail(&job.lease(), Duration::ZERO, &text).unwrap());
        let job = eventually(&*a, LONG);
        assert!(a.dead(&job.lease(), &text).unwrap());
        assert!(b.dead_jobs(1).unwrap().remove(0).error == text);
        a.requeue_dead().unwrap();
        let job = eventually(&*b, LONG);
        b.done(&job.lease(), Completion::new().record(&text).result(&text, LONG)).unwrap();
        assert!(a.records(0, 1).unwrap().remove(0).text == text);
        assert!(a.result(job.id).unwrap().unwrap() == text);
    }

    /// A hundred of them are not to fill the memory of who takes them, and no lane loses its turn.
    fn a_take_ends_when_it_has_many_bytes([a, b]) {
        let long = |number: usize| number.to_string().repeat(6 << 20);
        let take = |broker: &dyn Broker| {
            let jobs = broker.take(9, LONG).unwrap();
            let firsts = jobs.iter().map(|job| job.payload[..1].to_owned()).collect::<BTreeSet<_>>();
            jobs.iter().for_each(|job| assert!(broker.done(&job.lease(), Completion::new()).unwrap()));
            firsts.into_iter().collect::<String>()
        };
        a.push(&[1, 2, 3].map(|number| NewJob::new(long(number)))).unwrap();
        a.push(&[4, 5].map(|number| NewJob::new(long(number)))).unwrap();
        assert_eq!([take(&*a), take(&*b), take(&*a)], ["123", "45", ""]);
        let lane = |number: usize| NewJob::new(long(number)).lane(number.to_string(), LONG);
        a.push(&[1, 2, 3].map(lane)).unwrap();
        a.push(&[4, 5].map(lane)).unwrap();
        let (first, second) = (take(&*b), take(&*a));
        assert_eq!((first.len(), second.len()), (3, 2), "{first}, {second}");
        assert_eq!((first + &second).chars().collect::<BTreeSet<_>>().len(), 5);
    }

    fn what_is_too_long_is_refused_as_a_whole([a, _b]) {
        let too_long = "x".repeat(LONGEST_TEXT + 1);
        let refused = |result: Result<(), BrokerError>, what: &str| {
            let error = result.unwrap_err().to_string();
            let expected = format!("{what} has 16777217 bytes, and 16777216 are allowed: ");
            assert!(error.starts_with(&expected), "{error}");
        };
        a.push(&[NewJob::new("job")]).unwrap();
        let lease = one(&*a, LONG).lease();
        let pushed = |job| a.push(&[NewJob::new("beside"), job]).map(drop);
        refused(pushed(NewJob::new(&too_long)), "a payload");
        refused(pushed(NewJob::new("").unique(&too_long)), "a unique key");
        refused(pushed(NewJob::new("").lane(&too_long, SHORT)), "the name of a lane");
        refused(a.done(&lease, Completion::new().record(&too_long)).map(drop), "a record");
        refused(a.done(&lease, Completion::new().result(&too_long, LONG)).map(drop), "a result");
        refused(a.done(&lease, Completion::new().jobs([NewJob::new(&too_long)])).map(drop), "a payload");
        refused(a.dead(&lease, &too_long).map(drop), "an error");
        refused(a.keep("text", &too_long, LONG), "what is kept");
        let many = vec![NewJob::new("x".repeat(LONGEST_TEXT / 2)); 9];
        assert!(a.push(&many).unwrap_err().to_string().starts_with("what one call adds has 75497472 bytes, "));
        let status = a.status().unwrap();
        assert_eq!((status.leased, status.ready, status.records), (1, 0, 0));
        assert!(a.done(&lease, Completion::new()).unwrap());
    }

    /// What one engine cannot keep is refused as a whole, or comes back as it was; a worker buries it.
    fn a_job_that_cannot_be_kept_is_refused_and_holds_up_nobody([a, b]) {
        let odd = "before\0after";
        match a.push(&[NewJob::new("beside"), NewJob::new(odd)]) {
            Ok(added) => assert_eq!((added, payloads(&b.take(2, LONG).unwrap()).contains(&odd)), (2, true)),
            Err(BrokerError::Other(said)) => {
                assert!(said.starts_with("PostgreSQL keeps no such text: "), "{said}");
                assert_eq!(a.status().unwrap(), fleet::Status::default());
            }
            Err(error) => panic!("{error:?}"),
        }
        a.purge().unwrap();
        a.push(&["odd", "plain"].map(NewJob::new)).unwrap();
        let worker = Worker::new(b).until_idle();
        let run = worker.run(move |job| {
            Ok(Completion::new().record(if job.payload == "odd" { odd } else { "plain" }))
        });
        run.unwrap();
        let records = a.records(0, 9).unwrap();
        assert!(records.iter().any(|record| record.text == "plain"), "{records:?}");
        let dead = a.dead_jobs(9).unwrap();
        assert!(dead.iter().all(|dead| dead.error.starts_with("the broker does not take ")), "{dead:?}");
        assert_eq!(records.len() + dead.len(), 2);
    }

    /// Such as one that quotes what a server has sent.
    fn whatever_an_error_says_its_job_is_tried_again([a, b]) {
        a.push(&[NewJob::new("job")]).unwrap();
        let worker = Worker::new(b).attempts(2).backoff(Backoff::full_jitter(Duration::ZERO, Duration::ZERO));
        worker.until_idle().run(|_| Err(Failure::retry("before\0after"))).unwrap();
        let dead = a.dead_jobs(9).unwrap();
        assert_eq!((dead[0].attempts, dead[0].error.as_str()), (2, "before after"));
    }

    fn text_of_any_kind_comes_back_as_it_was([a, b]) {
        let text = "'; drop table job; --\n\u{1f415} \"{}\" \\ %s $1 :x \t";
        a.push(&[NewJob::new(text).unique(text).lane(text, Duration::ZERO)]).unwrap();
        let job = one(&*b, LONG);
        assert_eq!(job.payload, text);
        b.dead(&job.lease(), text).unwrap();
        assert_eq!(a.dead_jobs(1).unwrap()[0].error, text);
        a.requeue_dead().unwrap();
        let job = eventually(&*b, LONG);
        b.done(&job.lease(), Completion::new().record(text).result(text, LONG)).unwrap();
        assert_eq!(a.records(0, 1).unwrap()[0].text, text);
        assert_eq!(a.result(job.id).unwrap().as_deref(), Some(text));
    }
}
