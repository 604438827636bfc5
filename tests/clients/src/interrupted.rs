//! A time limit or a kill in the middle of a client's call: it ends with an error of the client's own, and the others run on.

use std::cell::Cell;
use std::fmt::Debug;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::{Builder, sleep, spawn, with_timeout};

use crate::measure::patched;
use crate::page;

/// What no server here takes to answer.
const WAIT: Duration = Duration::from_millis(100);

/// The pauses of a few calls that fail in a row.
pub const FEW: Duration = Duration::from_millis(10);

/// Makes a client by `prepare`, and interrupts it in `call`, which waits for what never comes, and must return an error: by a time limit,
/// after which `again` uses the client once more, and by a kill. Both in an isolated green thread.
///
/// # Panics
///
/// Panics unless it is so, and the page of clients says of `what` what the error is.
pub fn interrupted<C: 'static, E: Debug + 'static>(
    what: &str,
    prepare: impl Fn() -> C + Clone + Send + 'static,
    call: impl Fn(&mut C) -> Result<(), E> + Clone + Send + 'static,
    again: impl Fn(C) + Clone + Send + 'static,
) {
    interrupted_within(FEW, what, prepare, call, again);
}

/// The same of a client that makes so many more calls before it gives up that their pauses last up to `most`.
///
/// # Panics
///
/// As [`interrupted`].
pub fn interrupted_within<C: 'static, E: Debug + 'static>(
    most: Duration,
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
                page::assert_told(&what, page::LIMIT, &format!("{error:?}"));
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
        let passed = ended.get() - before;
        assert!(u128::from(passed) <= most.as_millis(), "it went on for {passed} ticks, {elapsed:?}");
        assert!(killed.join().unwrap_err().is_killed());
        let error = seen.take().expect("an error of the client's own");
        page::assert_told(&what, page::KILL, &format!("{error:?}"));
        println!("{what}, killed: {error:?} after {elapsed:.1?}");
        let before = ticks.get();
        while ticks.get() < before + 3 {
            sleep(Duration::from_millis(1));
        }
        ticker.kill();
    });
}
