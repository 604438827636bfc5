use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;

use greenloop::inspect::{self, DumpOptions, Recorder, dump_on};
use greenloop::signal::{SIGUSR1, SIGUSR2};
use greenloop::{Builder, sleep, yield_now};
use rustix::process::{Signal, getpid, kill_process};

use crate::support::{settle, within};
use crate::{LIMIT, LONG, alone, named};

fn raise(signal: Signal) {
    kill_process(getpid(), signal).unwrap();
}

#[test]
fn it_comes_also_while_the_hub_is_kept() {
    within(LIMIT, || {
        let (sender, dumps) = mpsc::channel();
        dump_on(SIGUSR1, move |dump| sender.send(dump.clone()).unwrap()).unwrap();
        let sleeper = Builder::new().name("seen by a signal").spawn(|| sleep(LONG)).unwrap();
        settle();
        raise(Signal::USR1);
        let dump = loop {
            match dumps.try_recv() {
                Ok(dump) if dump.green_threads().any(|thread| thread.name() == "seen by a signal") => {
                    break dump;
                }
                // The hub was kept for longer than a dump waits.
                Ok(_) => raise(Signal::USR1),
                Err(_) => settle(),
            }
        };
        assert!(named(&dump, "seen by a signal").backtrace().is_some());
        raise(Signal::USR1);
        // Blocks the OS thread, with its hub.
        let dump = dumps.recv().unwrap();
        assert!(dump.silent_hubs() >= 1, "{dump}");
        sleeper.kill();
    });
}

#[test]
fn a_report_that_panics_is_told_of_and_the_next_one_comes() {
    within(LIMIT, || {
        let (sender, times) = mpsc::channel();
        let mut count = 0;
        let report = move |_: &_| {
            count += 1;
            sender.send(count).unwrap();
            crate::support::raise("on purpose");
        };
        dump_on(SIGUSR2, report).unwrap();
        for expected in 1..=2 {
            raise(Signal::USR2);
            assert_eq!(times.recv(), Ok(expected));
        }
    });
}

#[test]
fn what_attends_to_the_process_is_not_told_of() {
    let _alone = alone();
    within(LIMIT, || {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("own-hubs-{}", std::process::id()));
        let recorder = Recorder::start(1 << 20).unwrap();
        let (sender, dumps) = mpsc::channel();
        dump_on(SIGUSR1, move |dump| drop(sender.send(dump.clone()))).unwrap();
        let listening = inspect::listen(&path).unwrap();
        let serving = inspect::serve_metrics(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        yield_now();
        raise(Signal::USR1);
        let of_signal = loop {
            match dumps.try_recv() {
                Ok(dump) => break dump,
                Err(_) => settle(),
            }
        };
        let is_own = |thread: &str| thread.starts_with("greenloop-");
        let dump = DumpOptions::new().all_hubs(true).take();
        for dump in [&dump, &of_signal] {
            assert!(!dump.hubs().iter().any(|hub| is_own(hub.thread())), "{dump}");
        }
        let metrics = inspect::metrics();
        assert!(!metrics.hubs().iter().any(|hub| is_own(&hub.thread)), "{metrics}");
        let mut trace = Vec::new();
        recorder.snapshot().write_json(&mut trace).unwrap();
        assert!(!String::from_utf8(trace).unwrap().contains("greenloop-dump"));
        serving.stop();
        listening.stop();
    });
}
