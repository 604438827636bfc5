use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::error::Unwinding;
use greenloop::io::{PipeReader, wait_readable};
use greenloop::{JoinHandle, sleep, spawn, with_timeout};

use crate::support::{Random, each_driver};
use crate::{put, read_byte, readable, settle};

fn reading(reader: &Rc<PipeReader>) -> JoinHandle<u8> {
    let reader = reader.clone();
    spawn(move || read_byte(&reader))
}

/// Has `act` run in the same pass of the hub that hears of the bytes written before, ahead of whoever these wake.
fn beat_readiness(act: impl FnOnce() + 'static) -> JoinHandle<()> {
    let act = spawn(move || {
        sleep(Duration::from_micros(1));
        act();
    });
    greenloop::yield_now();
    // Its timer is due when the hub looks next, and timers are looked at before descriptors.
    let due = Instant::now() + Duration::from_micros(100);
    while Instant::now() < due {}
    act
}

each_driver! {
    fn a_kill_ends_the_wait_and_frees_the_pipe() {
        let (reader, mut writer) = readable();
        let waiting = spawn(move || read_byte(&reader));
        settle();
        waiting.kill();
        assert!(waiting.join().unwrap_err().is_killed());
        assert_eq!(std::io::Write::write(&mut writer, b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    fn readiness_goes_to_the_next_when_the_woken_one_is_killed() {
        let (reader, writer) = readable();
        let reader = Rc::new(reader);
        let [first, second, third] = [reading(&reader), reading(&reader), reading(&reader)];
        settle();
        put(&writer, b"2");
        let killed = Rc::new(first);
        let killer = beat_readiness({
            let first = killed.clone();
            move || assert!(!first.try_kill(), "it has not run yet")
        });
        killer.join().unwrap();
        assert_eq!(second.join().unwrap(), b'2');
        assert!(Rc::into_inner(killed).unwrap().join().unwrap_err().is_killed());
        put(&writer, b"3");
        assert_eq!(third.join().unwrap(), b'3');
    }

    fn one_in_the_middle_of_the_line_may_leave_it() {
        let (reader, writer) = readable();
        let reader = Rc::new(reader);
        let [first, second, third] = [reading(&reader), reading(&reader), reading(&reader)];
        settle();
        second.kill();
        put(&writer, b"13");
        assert_eq!([first.join().unwrap(), third.join().unwrap()], *b"13");
    }

    fn the_first_in_line_may_leave_it() {
        let (reader, writer) = readable();
        let reader = Rc::new(reader);
        let [first, second] = [reading(&reader), reading(&reader)];
        settle();
        first.kill();
        settle();
        assert!(!second.is_finished());
        put(&writer, b"2");
        assert_eq!(second.join().unwrap(), b'2');
    }

    /// Who reads what is always there yields now and then, and is told of its limit there: but never with a byte in hand.
    fn a_time_limit_that_is_raised_between_two_reads_loses_no_byte() {
        let (reader, writer) = readable();
        put(&writer, &[7; 1_000]);
        let mut read = 0;
        while read < 1_000 {
            let late = with_timeout(Duration::ZERO, || {
                while read < 1_000 {
                    assert_eq!(read_byte(&reader), 7);
                    read += 1;
                }
            });
            assert_eq!(late.is_ok(), read == 1_000);
        }
        drop(writer);
        assert_eq!((&mut &reader).read(&mut [0]).unwrap(), 0);
    }

    /// Kills and time limits at every moment, and no byte without its reader.
    fn no_readiness_is_lost_in_a_crowd() {
        let mut random = Random::new(7);
        let (reader, writer) = readable();
        let reader = Rc::new(reader);
        let read = Rc::new(Cell::new(0));
        let mut written = 0;
        let mut crowd = VecDeque::new();
        for _ in 0..3_000 {
            match random.below(8) {
                0..3 => crowd.push_back(spawn({
                    let (reader, read) = (reader.clone(), read.clone());
                    let limit = Duration::from_micros(random.below(300) as u64);
                    move || {
                        let _ = with_timeout(limit, || {
                            read_byte(&reader);
                            read.set(read.get() + 1);
                        });
                    }
                })),
                3..5 if written - read.get() < 1_000 => {
                    let count = random.below(4);
                    put(&writer, &[1; 4][..count]);
                    written += count;
                }
                5 if !crowd.is_empty() => {
                    let killed: JoinHandle<()> = crowd.remove(random.below(crowd.len())).unwrap();
                    killed.try_kill();
                }
                6 => sleep(Duration::from_nanos(1)),
                _ => greenloop::yield_now(),
            }
        }
        greenloop::joinall(&crowd);
        let last: Vec<_> = (read.get()..written).map(|_| reading(&reader)).collect();
        assert_eq!(greenloop::joinall_timeout(&last, Duration::from_secs(30)).len(), last.len());
        let more = reading(&reader);
        settle();
        assert!(!more.is_finished(), "more bytes were read than written");
        put(&writer, b"x");
        more.join().unwrap();
    }

    fn a_time_limit_ends_the_wait_and_loses_no_byte() {
        let (reader, writer) = readable();
        let limit = Duration::from_millis(5);
        let start = Instant::now();
        assert_eq!(with_timeout(limit, || read_byte(&reader)).unwrap_err().limit(), limit);
        assert!(start.elapsed() >= limit);
        put(&writer, b"x");
        assert_eq!(with_timeout(Duration::from_secs(60), || read_byte(&reader)).unwrap(), b'x');
        let elapsed = with_timeout(limit, || wait_readable(&reader)).unwrap_err();
        assert_eq!(elapsed.limit(), limit);
    }

    fn a_killed_reader_may_read_in_its_cleanup() {
        let (reader, writer) = readable();
        let waiting = spawn(move || {
            let killed = catch_unwind(AssertUnwindSafe(|| read_byte(&reader)));
            assert!(killed.is_err());
            read_byte(&reader)
        });
        settle();
        assert!(!waiting.try_kill());
        settle();
        put(&writer, b"x");
        assert_eq!(waiting.join().unwrap(), b'x');
    }

    /// Design, section 5: while a green thread unwinds it never yields.
    fn while_unwinding_nothing_waits() {
        struct ReadsWhenDropped(PipeReader, Arc<Mutex<Vec<String>>>);
        impl Drop for ReadsWhenDropped {
            fn drop(&mut self) {
                let results = [self.0.read(&mut [0; 1]).map(drop), wait_readable(&self.0), self.0.read(&mut [0; 1]).map(drop)];
                for error in results.into_iter().filter_map(Result::err) {
                    assert_eq!(error.kind(), ErrorKind::Other);
                    assert!(error.get_ref().unwrap().is::<Unwinding>());
                    self.1.lock().unwrap().push(error.to_string());
                }
            }
        }
        let (reader, writer) = readable();
        put(&writer, b"1");
        let errors = Arc::new(Mutex::new(Vec::new()));
        let yielded = Arc::new(AtomicBool::new(false));
        let failing = spawn({
            let (errors, yielded) = (errors.clone(), yielded.clone());
            move || {
                let _reads = ReadsWhenDropped(reader, errors);
                spawn(move || yielded.store(true, Ordering::SeqCst));
                std::panic::resume_unwind(Box::new("ends here"))
            }
        });
        let failing: JoinHandle<()> = failing;
        failing.link({
            let yielded = yielded.clone();
            move |_| assert!(!yielded.load(Ordering::SeqCst), "it yielded while it unwound")
        });
        assert!(failing.join().unwrap_err().is_panic());
        // The byte that was there could be read; then there was none.
        assert_eq!(*errors.lock().unwrap(), [Unwinding.to_string(), Unwinding.to_string()]);
    }
}
