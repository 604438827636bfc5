use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use greenloop::{pool, sleep, spawn};

use crate::support::{in_a_world, in_any_order};
use crate::{LIMIT, LONG, SHORT};

#[test]
fn members_borrow_from_the_frame() {
    in_any_order(LIMIT, || {
        let words = vec!["one".to_owned(), "three".to_owned()];
        let mut total = 0;
        pool::scope(1, |pool| {
            for length in pool.imap_unordered(&words, |word| word.len()).flatten() {
                total += length;
            }
        });
        assert_eq!((total, words.len()), (8, 2));
    });
}

#[test]
fn no_more_run_than_there_are_slots() {
    in_a_world(LIMIT, |_| {
        let (now, most) = (Cell::new(0), Cell::new(0));
        pool::scope(3, |pool| {
            for _ in 0..20 {
                pool.spawn(|| {
                    now.set(now.get() + 1);
                    most.set(most.get().max(now.get()));
                    sleep(SHORT);
                    now.set(now.get() - 1);
                });
            }
        });
        assert_eq!((now.get(), most.get()), (0, 3));
    });
}

#[test]
fn a_member_may_spawn_another() {
    in_any_order(LIMIT, || {
        let done = Cell::new(0);
        pool::scope(2, |pool| {
            let inner = pool.clone();
            let done = &done;
            pool.spawn(move || {
                inner.spawn(|| done.set(done.get() + 1)).join().unwrap();
                done.set(done.get() + 1);
            });
        });
        assert_eq!(done.get(), 2);
    });
}

#[test]
fn a_panic_of_a_member_is_the_scopes_and_that_of_an_element_is_not() {
    in_any_order(LIMIT, || {
        let results = pool::scope(2, |pool| pool.map([1, 0], |divisor| 1 / divisor));
        assert!(results[0].is_ok() && results[1].as_ref().unwrap_err().is_panic());
        let scope = || pool::scope(2, |pool| drop(pool.spawn(|| std::panic::resume_unwind(Box::new(1)))));
        assert!(catch_unwind(scope).is_err());
    });
}

#[test]
fn unwinding_kills_the_members() {
    in_any_order(LIMIT, || {
        let ended = Cell::new(0);
        struct Count<'a>(&'a Cell<u32>);
        impl Drop for Count<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let scope = || {
            pool::scope(2, |pool| {
                let mut results = pool.imap(0..10, |_| {
                    let _count = Count(&ended);
                    sleep(LONG);
                });
                spawn(|| ()).join().unwrap();
                drop(greenloop::with_timeout(SHORT, || results.next()));
                std::panic::resume_unwind(Box::new("out"));
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(scope)).is_err());
        assert_eq!(ended.get(), 2);
    });
}
