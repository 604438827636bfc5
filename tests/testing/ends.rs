use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use greenloop::greenlet::Generator;
use greenloop::testing;
use greenloop::{Builder, channel, sleep, spawn, spawn_later, yield_now};

fn complaint(test: impl FnOnce() + Send + std::panic::UnwindSafe) -> String {
    *catch_unwind(|| testing::run(|_| test())).unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn a_test_gives_its_value_and_borrows() {
    let numbers = [1, 2, 3];
    let sum =
        testing::run(|_| numbers.iter().map(|&number| spawn(move || number).join().unwrap()).sum::<i32>());
    assert_eq!(sum, 6);
}

#[test]
fn who_has_not_ended_is_named_with_its_place_and_what_it_waits_on() {
    let line = line!() + 4;
    let words = complaint(|| {
        let (sender, receiver) = channel::bounded::<()>(0);
        std::mem::forget(sender);
        Builder::new().name("listener").spawn(move || receiver.recv()).unwrap();
        drop(spawn(|| sleep(Duration::from_secs(5))));
        // Ends without time.
        drop(spawn(yield_now));
        drop(spawn_later(Duration::from_secs(1), || ()));
    });
    assert!(words.starts_with("3 green threads have not ended when their test did\n"), "{words}");
    let place = format!("green thread 'listener', spawned at tests/testing/ends.rs:{line}:");
    assert!(words.contains(&place), "{words}");
    assert!(words.contains("green thread '<unnamed>'") && words.contains("1 wait to begin"), "{words}");
}

#[test]
fn who_has_not_ended_is_killed() {
    struct Noted(Arc<AtomicU32>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let count = Arc::<AtomicU32>::default();
    for panics in [false, true] {
        let noted = [Noted(count.clone()), Noted(count.clone())];
        let failed = catch_unwind(|| {
            testing::run(move |_| {
                for noted in noted {
                    drop(spawn(move || {
                        sleep(Duration::MAX);
                        drop(noted);
                    }));
                }
                yield_now();
                if panics {
                    resume_unwind(Box::new("the test's own"));
                }
            });
        })
        .unwrap_err();
        assert_eq!(failed.downcast_ref() == Some(&"the test's own"), panics);
    }
    assert_eq!(count.load(SeqCst), 4);
}

#[test]
fn what_only_a_handle_keeps_has_ended() {
    testing::run(|_| {
        let mut numbers = Generator::new(|yielder, ()| (0..9).for_each(|number| yielder.yield_(number)));
        assert_eq!(numbers.next(), Some(0));
    });
}
