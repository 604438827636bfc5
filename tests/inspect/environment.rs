use std::sync::{Arc, Mutex, mpsc};

use greenloop::hub::set_uncaught_hook;
use greenloop::{Builder, sleep, yield_now};
use rustix::process::{Signal, getpid, kill_process};

use crate::support::{Finished, finish, settle, this_program};
use crate::{LIMIT, LONG};

/// Set where a test is to do what its child process does.
const CHILD: &str = "GREENLOOP_TEST_OF_ENVIRONMENT";

/// This test again, in a process with that environment; `None` in that.
fn with_environment(test: &str, variable: (&str, &str), run: impl FnOnce()) -> Option<Finished> {
    if std::env::var_os(CHILD).is_some() {
        run();
        return None;
    }
    let mut program = this_program();
    program.args([test, "--exact", "--nocapture"]).env(CHILD, "1").env(variable.0, variable.1);
    Some(finish(&mut program, LIMIT))
}

/// Has what is reported written to standard error, as without this, and told here.
fn hear() -> mpsc::Receiver<String> {
    let (sender, reported) = mpsc::channel();
    let sender = Mutex::new(sender);
    set_uncaught_hook(Some(Arc::new(move |uncaught| {
        eprintln!("{uncaught}");
        let _ = sender.lock().unwrap().send(uncaught.to_string());
    })));
    reported
}

#[test]
fn a_limit_starts_a_detector() {
    let Some(child) =
        with_environment("environment::a_limit_starts_a_detector", ("GREENLOOP_BLOCK_MS", "20"), || {
            let reported = hear();
            let is_told = move || assert!(reported.iter().any(|report| report.contains("'blocks'")));
            let task = Builder::new().name("blocks").spawn(is_told).unwrap();
            task.join().unwrap();
        })
    else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
    assert!(child.stderr.contains("green thread 'blocks' ("), "{child:?}");
    assert!(child.stderr.contains("has kept the hub of the OS thread"), "{child:?}");
}

#[test]
fn a_signal_has_dumps_written() {
    let Some(child) =
        with_environment("environment::a_signal_has_dumps_written", ("GREENLOOP_DUMP", "USR2"), || {
            let task = Builder::new().name("waits").spawn(|| sleep(LONG)).unwrap();
            settle();
            let reported = hear();
            kill_process(getpid(), Signal::USR2).unwrap();
            while reported.try_recv().is_err() {
                yield_now();
            }
            task.kill();
        })
    else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
    assert!(
        child.stderr.contains("green thread 'waits' (") && child.stderr.contains("waiting on a sleep"),
        "{child:?}"
    );
}

#[test]
fn what_is_of_no_effect_is_told() {
    let test = "environment::what_is_of_no_effect_is_told";
    for (variable, value, reason) in [
        ("GREENLOOP_DUMP", "KILL", "'KILL' is none of USR1, USR2, QUIT and HUP, and no number"),
        ("GREENLOOP_DUMP", "9", ""),
        ("GREENLOOP_BLOCK_MS", "20 ms", ""),
    ] {
        let Some(child) = with_environment(test, (variable, value), yield_now) else { return };
        assert!(child.status.success(), "{child:?}");
        assert!(child.stderr.contains(&format!("{variable} is of no effect: {reason}")), "{child:?}");
    }
}
