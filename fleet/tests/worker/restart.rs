//! A server that goes away in the middle of the work, and comes back with what it has acknowledged.

use crate::{patched, records};
use clients::folder::Folder;
use clients::program::{Program, Stop};
use fleet::{Broker, Completion, Count, NewJob, Redis, Worker};
use std::sync::Arc;
use std::time::{Duration, Instant};

const JOBS: u32 = 200;

/// On this port, or on one that is free.
fn start(port: Option<u16>, folder: &str) -> Program {
    Program::start(Stop::TERMINATE, "Ready to accept connections", |free| {
        let port = port.unwrap_or(free).to_string();
        let arguments =
            ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir", folder];
        let durable = ["--appendonly", "yes", "--appendfsync", "always"];
        arguments.iter().chain(&durable).map(|argument| (*argument).to_owned()).collect()
    })
}

/// It is told of jobs, and does not look for them ten times a second.
#[test]
fn who_has_nothing_to_do_asks_redis_once_a_second() {
    if std::process::Command::new("redis-server").arg("--version").output().is_err() {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let folder = Folder::new("fleet-idle");
    let path = folder.file("");
    patched(move || {
        let server = start(None, &path);
        let url = format!("redis://127.0.0.1:{}/", server.port);
        let mut connection = redis::Client::open(&*url).unwrap().get_connection().unwrap();
        let mut calls = || {
            let said: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
            let line = said.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
            line.split(',').next().unwrap().parse::<u32>().unwrap()
        };
        let broker = Arc::new(Redis::open(&url, "idle").unwrap());
        broker.push(&[NewJob::new("before")]).unwrap();
        let worker = Worker::new(broker.clone());
        let (stopper, counts) = (worker.stopper(), worker.counts());
        let task = greenloop::spawn(move || {
            worker.run(|job| Ok(Completion::new().record(&job.payload))).unwrap();
        });
        let done = |count| {
            while counts.get(Count::Done) < count {
                greenloop::sleep(Duration::from_millis(1));
            }
        };
        done(1);
        // It has nothing to settle, and has looked once more.
        greenloop::sleep(Duration::from_millis(200));
        let (start, before) = (Instant::now(), calls());
        greenloop::sleep(Duration::from_secs(2));
        let (asked, most) = (calls() - before, start.elapsed().as_secs() as u32 + 2);
        assert!((1..=2 * most).contains(&asked), "{asked} times, not {most}");
        broker.push(&[NewJob::new("after")]).unwrap();
        done(2);
        assert_eq!(records(&*broker), ["after", "before"]);
        stopper.stop();
        task.join().unwrap();
        assert_eq!(counts.get(Count::Errors), 0);
        drop((server, folder));
    });
}

#[test]
fn a_restart_of_redis_loses_no_job_and_doubles_no_record() {
    if std::process::Command::new("redis-server").arg("--version").output().is_err() {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let folder = Folder::new("fleet-restart");
    let path = folder.file("");
    patched(move || {
        let mut server = Some(start(None, &path));
        let port = server.as_ref().unwrap().port;
        let broker = Arc::new(Redis::open(&format!("redis://127.0.0.1:{port}/"), "restart").unwrap());
        let jobs: Vec<_> = (0..JOBS).map(|number| NewJob::new((1000 + number).to_string())).collect();
        broker.push(&jobs).unwrap();
        let worker = Worker::new(broker.clone()).concurrency(10).lease(Duration::from_secs(1)).until_idle();
        let counts = worker.counts();
        let task = greenloop::spawn(move || {
            let run = worker.run(|job| {
                greenloop::sleep(Duration::from_millis(50));
                Ok(Completion::new().record(&job.payload))
            });
            run.unwrap();
        });
        for third in 1..=2 {
            while counts.get(Count::Done) < u64::from(third * JOBS / 3) {
                greenloop::sleep(Duration::from_millis(1));
            }
            // It is gone before there is another one.
            drop(server.take());
            let errors = counts.get(Count::Errors);
            while counts.get(Count::Errors) == errors {
                greenloop::sleep(Duration::from_millis(1));
            }
            server = Some(start(Some(port), &path));
        }
        task.join().unwrap();
        let expected: Vec<_> = (0..JOBS).map(|number| (1000 + number).to_string()).collect();
        assert_eq!(records(&*broker), expected);
        assert!(broker.status().unwrap().is_idle());
        drop(folder);
    });
}
