use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenloop::hub::Hub;
use greenloop::inspect::{self, HubMetrics};
use greenloop::workers;
use greenloop::{Builder, killall, sleep, spawn, yield_now};

use crate::support::{raise, within};
use crate::{LIMIT, LONG};

/// Those of the calling thread's hub, which it has.
fn own() -> HubMetrics {
    inspect::metrics().hubs()[0].clone()
}

#[test]
fn they_add_up_whatever_happens() {
    within(LIMIT, || {
        yield_now();
        let before = own();
        let mut random = 7_u64;
        let (mut spawned, mut asleep) = (0, Vec::new());
        for _ in 0..20_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            match (random >> 33) % 8 {
                0 | 1 => drop(spawn(|| ())),
                2 => asleep.push(spawn(|| sleep(LONG))),
                3 => drop(spawn(yield_now)),
                4 => spawn(|| ()).join().unwrap(),
                // Before it has begun.
                5 => spawn(|| ()).kill(),
                6 => {
                    yield_now();
                    continue;
                }
                _ if asleep.is_empty() => continue,
                _ => {
                    asleep.swap_remove((random >> 40) as usize % asleep.len()).kill();
                    continue;
                }
            }
            spawned += 1;
        }
        let now = own();
        assert_eq!(now.spawned - before.spawned, spawned);
        assert_eq!(now.spawned, now.ended + now.alive);
        yield_now();
        while own().alive - before.alive > asleep.len() as u64 {
            yield_now();
        }
        let now = own();
        assert_eq!(now.ended - before.ended, spawned - asleep.len() as u64);
        assert_eq!((now.ready, now.unstarted), (0, 0));
        killall(&asleep);
        assert_eq!(own().ended - before.ended, spawned);
    });
}

#[test]
fn each_is_what_it_is_called() {
    let metrics = thread::Builder::new().name("of \"one\"".to_owned()).spawn(|| {
        let raising = spawn(|| raise("on purpose"));
        assert!(raising.join().is_err());
        let sleepers: Vec<_> = (0..3).map(|_| spawn(|| sleep(LONG))).collect();
        yield_now();
        drop(spawn(|| ()));
        let metrics = inspect::metrics();
        killall(&sleepers);
        Hub::current().join();
        metrics
    });
    let metrics = metrics.unwrap().join().unwrap();
    let hub = &metrics.hubs()[0];
    assert_eq!((hub.spawned, hub.ended, hub.alive, hub.unstarted, hub.timers), (5, 1, 4, 1, 3));
    // One join and three sleeps.
    assert_eq!((hub.waits, hub.ready, hub.descriptors, hub.stacks, hub.idle_stacks), (4, 0, 0, 3, 0));
    assert!(hub.processor_time > Duration::ZERO);
    let text = metrics.to_string();
    let labels = format!("{{hub=\"{}\",thread=\"of \\\"one\\\"\"}}", hub.thread_id);
    for line in [
        format!("\ngreenloop_green_threads_spawned_total{labels} 5\n"),
        format!("\ngreenloop_green_threads_ended_total{labels} 1\n"),
        format!("\ngreenloop_green_threads_alive{labels} 4\n"),
        format!("\ngreenloop_timers{labels} 3\n"),
        "\n# TYPE greenloop_waits_total counter\n".to_owned(),
        "\n# TYPE greenloop_stacks gauge\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}{text}");
    }
    // Each line is a comment, or a name with labels and a number.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("greenloop_") && number.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn those_that_workers_take_count_where_they_run() {
    within(LIMIT, || {
        yield_now();
        let before = own();
        let crew = workers::Builder::new().number(2).build().unwrap();
        let jobs: Vec<_> = (0..100).map(|number| crew.spawn(move || number)).collect();
        jobs.into_iter().enumerate().for_each(|(number, job)| assert_eq!(job.join().unwrap(), number));
        let of_workers = |hub: &&HubMetrics| hub.thread.starts_with("worker-");
        // A hub may be late with its answer.
        let metrics = loop {
            let metrics = inspect::metrics();
            let ended: u64 = metrics.hubs().iter().filter(of_workers).map(|hub| hub.ended).sum();
            if ended >= 100 {
                break metrics;
            }
        };
        let now = &metrics.hubs()[0];
        assert_eq!((now.spawned, now.ended), (before.spawned, before.ended));
        assert!(metrics.hubs().iter().all(|hub| hub.spawned == hub.ended + hub.alive));
        drop(crew);
    });
}

#[test]
fn one_that_is_kept_is_counted_as_silent() {
    within(LIMIT, || {
        let (go_on, gone_on) = mpsc::channel::<()>();
        let (keeps, is_kept) = mpsc::channel();
        let other = thread::spawn(move || {
            let keeper = Builder::new().name("keeper").spawn(move || {
                keeps.send(()).unwrap();
                // std's, which keeps the hub.
                let _ = gone_on.recv();
            });
            keeper.unwrap().join().unwrap();
        });
        is_kept.recv().unwrap();
        let metrics = inspect::metrics();
        assert!(metrics.silent_hubs() >= 1, "{metrics}");
        assert!(!metrics.to_string().contains("greenloop_silent_hubs 0"));
        drop(go_on);
        other.join().unwrap();
    });
}

#[test]
fn an_os_thread_without_a_hub_asks_and_gets_none() {
    let own = thread::current().name().unwrap().to_owned();
    assert!(inspect::metrics().hubs().iter().all(|hub| hub.thread != own));
    assert!(inspect::metrics().hubs().iter().all(|hub| hub.thread != own));
}

#[test]
fn jobs_of_the_pools_are_counted_while_they_run() {
    within(LIMIT, || {
        let (senders, blocked): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (sender, receiver) = mpsc::channel::<()>();
                (sender, spawn(move || greenloop::threadpool::unblock(move || receiver.recv()).is_err()))
            })
            .unzip();
        // Other tests may have some, too.
        while inspect::metrics().pools().running < 3 {
            sleep(Duration::from_millis(1));
        }
        let metrics = inspect::metrics();
        let pools = metrics.pools();
        assert!(pools.running >= 3 && pools.threads >= pools.running, "{pools:?}");
        let text = metrics.to_string();
        assert!(text.contains(&format!("\ngreenloop_pool_jobs_running {}\n", pools.running)), "{text}");
        let mut json = Vec::new();
        metrics.write_json(&mut json).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(told["pools"]["threads"].as_u64(), Some(pools.threads));
        drop(senders);
        assert!(blocked.into_iter().all(|one| one.join().unwrap()));
    });
}
