//! Any greenlet to any other, at any depth, with values of any type.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use greenloop::error::{GreenletExit, StackError, SwitchError};
use greenloop::greenlet::{AnyGreenlet, Generator, Greenlet, current, main};

use crate::LIMIT;
use crate::support::{Random, within};

/// What travels in the random walk: how many switches are left to make.
type Left = u32;

struct Walk {
    all: RefCell<Vec<Greenlet<Left>>>,
    random: RefCell<Random>,
    visits: Cell<u32>,
}

impl Walk {
    /// Goes on to a random one, from below as many frames as come up, until no switch is left.
    fn go_on(&self, left: Left, depth: usize) -> Left {
        let padding = [depth as u8; 64];
        if depth > 0 {
            let left = self.go_on(left, depth - 1);
            assert_eq!(std::hint::black_box(padding), [depth as u8; 64]);
            return left;
        }
        self.visits.set(self.visits.get() + 1);
        if left == 0 {
            return main().switch(0).expect("main waits");
        }
        let next = {
            let all = self.all.borrow();
            all[self.random.borrow_mut().below(all.len())].clone()
        };
        next.switch(left - 1).expect("a value")
    }
}

#[test]
fn any_switches_to_any_other_at_any_depth() {
    within(LIMIT, || {
        let walk = Rc::new(Walk {
            all: RefCell::new(Vec::new()),
            random: RefCell::new(Random::new(7)),
            visits: Cell::new(0),
        });
        for _ in 0..20 {
            let walker = walk.clone();
            let body = move |mut left: Left| {
                loop {
                    let depth = walker.random.borrow_mut().below(30);
                    left = walker.go_on(left, depth);
                }
            };
            walk.all.borrow_mut().push(Greenlet::new(body));
        }
        let first = walk.all.borrow()[0].clone();
        assert_eq!(first.switch(100_000).unwrap(), 0);
        assert_eq!(walk.visits.get(), 100_001);
        drop(first);
        // Each is ended where it waits, while it owns a part of the walk itself.
        let all = walk.all.take();
        drop(all);
        assert_eq!(Rc::strong_count(&walk), 1);
    });
}

#[test]
fn greenlets_of_different_types_switch_to_each_other() {
    within(LIMIT, || {
        let text = Greenlet::new(|value: String| {
            let number = Greenlet::new(|value: u64| value * 2);
            let doubled = number.switch(value.len() as u64).unwrap();
            format!("{value} has twice {doubled} letters")
        });
        assert_eq!(text.switch("four".to_owned()).unwrap(), "four has twice 8 letters");
        let borrowed = Greenlet::new(|value: &'static [u8]| &value[1..]);
        assert_eq!(borrowed.switch(b"abc").unwrap(), b"bc");
        let nothing = Greenlet::new(|()| main().switch(()).unwrap());
        nothing.switch(()).unwrap();
        let large = Greenlet::new(|value: [u64; 100]| main().switch(value).unwrap());
        assert_eq!(large.switch([7; 100]).unwrap(), [7; 100]);
        let boxed = Greenlet::new(|value: Box<dyn Fn(u32) -> u32>| -> Box<dyn Fn(u32) -> u32> {
            Box::new(move |x| value(x) + 1)
        });
        assert_eq!(boxed.switch(Box::new(|x| x * 10)).unwrap()(4), 41);
    });
}

#[test]
fn a_value_of_the_wrong_type_comes_back() {
    within(LIMIT, || {
        let child = Greenlet::new(|value: u32| main().switch(value).unwrap());
        let any: AnyGreenlet = (*child).clone();
        let refused = |result: Result<String, SwitchError>| match result {
            Err(SwitchError::WrongType(value)) => *value.into_inner().unwrap().downcast::<String>().unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(any.switch("unstarted".to_owned())), "unstarted");
        assert_eq!(child.switch(1).unwrap(), 1);
        assert_eq!(refused(any.switch("suspended".to_owned())), "suspended");
        assert_eq!(any.downcast::<u32>().unwrap().switch(2).unwrap(), 2);
        assert!(any.downcast::<String>().is_none());
        assert!(child.is_dead());
    });
}

#[test]
fn a_stack_is_as_large_as_asked_for() {
    fn fill(bytes: usize) -> u8 {
        let page = std::hint::black_box([1u8; 4096]);
        if bytes <= page.len() { page[0] } else { fill(bytes - page.len()) + page[page.len() - 1] - 1 }
    }
    within(LIMIT, || {
        for mebibytes in [1, 4, 16] {
            // A quarter of the stack as locals: unoptimized frames are larger than their locals.
            let child =
                Greenlet::with_stack_size(mebibytes << 20, move |_: u8| fill((mebibytes << 20) / 4)).unwrap();
            assert_eq!(child.switch(0).unwrap(), 1);
        }
        let too_large = Greenlet::with_stack_size(usize::MAX, |value: u8| value);
        assert!(matches!(too_large, Err(StackError::TooLarge { requested: usize::MAX, .. })));
    });
}

#[test]
fn a_thousand_are_parked_at_once_and_end_in_any_order() {
    within(LIMIT, || {
        let ended = Rc::new(Cell::new(0));
        let mut parked: Vec<_> = (0..1000u32)
            .map(|number| {
                let ended = ended.clone();
                let child = Greenlet::new(move |value: u32| {
                    let value = main().switch(value).unwrap();
                    ended.set(ended.get() + 1);
                    value + number
                });
                assert_eq!(child.switch(number).unwrap(), number);
                (number, child)
            })
            .collect();
        let mut random = Random::new(3);
        while !parked.is_empty() {
            let (number, child) = parked.swap_remove(random.below(parked.len()));
            assert_eq!(child.switch(1).unwrap(), number + 1);
        }
        assert_eq!(ended.get(), 1000);
    });
}

#[test]
fn a_deep_nest_ends_from_the_inside() {
    fn nest(depth: u32, ended: Rc<RefCell<Vec<u32>>>) -> u32 {
        if depth == 0 {
            return 0;
        }
        let log = ended.clone();
        let child = Greenlet::new(move |depth: u32| {
            let below = nest(depth - 1, log.clone());
            log.borrow_mut().push(depth);
            below + 1
        });
        child.switch(depth).unwrap()
    }
    within(LIMIT, || {
        let ended = Rc::new(RefCell::new(Vec::new()));
        assert_eq!(nest(200, ended.clone()), 200);
        assert_eq!(ended.take(), (1..=200).collect::<Vec<_>>());
    });
}

#[test]
fn who_swallows_the_exit_of_its_drop_is_asked_again_and_then_left() {
    within(LIMIT, || {
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let stubborn = Greenlet::new(move |value: u32| {
            for _ in 0..3 {
                let end = catch_unwind(AssertUnwindSafe(|| main().switch(value)));
                assert!(end.unwrap_err().is::<GreenletExit>());
                count.set(count.get() + 1);
            }
            value
        });
        stubborn.switch(1).unwrap();
        drop(stubborn);
        assert_eq!(asked.get(), 3);
    });
}

#[test]
fn a_greenlet_dropped_by_an_unwinding_one_ends_too() {
    within(LIMIT, || {
        let ended = Rc::new(Cell::new(false));
        let outer_ended = ended.clone();
        let outer = Greenlet::new(move |()| {
            struct Told(Rc<Cell<bool>>);
            impl Drop for Told {
                fn drop(&mut self) {
                    self.0.set(true);
                }
            }
            let told = Told(outer_ended);
            let inner = Greenlet::new(move |()| {
                let _told = told;
                main().switch(()).unwrap();
            });
            inner.switch(()).unwrap();
            resume_unwind(Box::new("the outer one fails"))
        });
        outer.switch(()).unwrap();
        let failed = catch_unwind(AssertUnwindSafe(|| outer.switch(())));
        assert_eq!(failed.unwrap_err().downcast_ref::<&str>(), Some(&"the outer one fails"));
        assert!(ended.get());
        assert!(!std::thread::panicking());
    });
}

#[test]
fn a_handle_in_its_own_value_makes_no_knot() {
    within(LIMIT, || {
        let child = Greenlet::new(|from: AnyGreenlet| from.clone().switch(from).unwrap());
        let back = child.switch(current()).unwrap();
        assert!(back == main());
        assert!(child.switch(back).unwrap().is_main());
        assert!(child.is_dead());
    });
}

#[test]
fn a_hundred_thousand_generations_make_no_chain() {
    within(LIMIT, || {
        // Each makes the next, and ends.
        #[derive(Clone)]
        struct Slot(Rc<RefCell<Option<Greenlet<Slot>>>>);
        fn next_generation() -> Greenlet<Slot> {
            Greenlet::new(|slot: Slot| {
                *slot.0.borrow_mut() = Some(next_generation());
                slot
            })
        }
        let slot = Slot(Rc::new(RefCell::new(Some(next_generation()))));
        for _ in 0..100_000 {
            let next = slot.0.borrow_mut().take().unwrap();
            next.switch(slot.clone()).unwrap();
            assert!(next.is_dead());
        }
        let last = slot.0.take().unwrap();
        assert_eq!(std::iter::successors(last.parent(), AnyGreenlet::parent).count(), 2);
    });
}

#[test]
fn a_handle_may_outlive_the_greenlets_of_its_thread() {
    thread_local! {
        static EARLY: RefCell<Option<Greenlet<u32>>> = const { RefCell::new(None) };
        static LATE: RefCell<Option<Greenlet<u32>>> = const { RefCell::new(None) };
    }
    within(LIMIT, || {
        // Whichever order the destructors of thread-locals have, one of the two handles goes after the last greenlet.
        EARLY.with_borrow_mut(|handle| assert!(handle.is_none()));
        let parked = || {
            let child = Greenlet::new(|value: u32| main().switch(value).unwrap());
            child.switch(1).unwrap();
            child
        };
        EARLY.set(Some(parked()));
        LATE.set(Some(parked()));
    });
}

#[test]
fn a_child_may_drop_the_one_that_made_it() {
    within(LIMIT, || {
        let ended = Rc::new(Cell::new(false));
        let (told, made) = (ended.clone(), Rc::new(RefCell::new(None)));
        let children = made.clone();
        let maker = Greenlet::new(move |value: u32| {
            children.replace(Some(Greenlet::new(|value: u32| value + 1)));
            let end = catch_unwind(AssertUnwindSafe(|| main().switch(value)));
            // Its cleanup makes a child too, looks at its parents, and uses a generator.
            let parents = Greenlet::new(|_: usize| {
                std::iter::successors(current().parent(), AnyGreenlet::parent).count()
            });
            told.set(
                parents.switch(0).unwrap() == 4
                    && Generator::new(|yields, ()| yields.yield_(7)).next() == Some(7),
            );
            resume_unwind(end.unwrap_err())
        });
        maker.switch(1).unwrap();
        let child = made.take().unwrap();
        let drops = Greenlet::new(move |value: u32| {
            drop(maker);
            value + 10
        });
        drops.set_parent(&child).unwrap();
        // The dropper's parent is a child of the dropped one.
        assert_eq!(drops.switch(1).unwrap(), 12);
        assert!(ended.get());
        assert!(child.is_dead());
        assert!(child.parent() == Some(main()));
    });
}

#[test]
fn one_that_drops_its_own_last_handle_goes_on() {
    within(LIMIT, || {
        let outer_handle = Rc::new(RefCell::new(None));
        let inner_handle = Rc::new(RefCell::new(None));
        let (own, inner) = (outer_handle.clone(), inner_handle.clone());
        let outer = Greenlet::new(move |value: u32| {
            let first = {
                let first = Greenlet::new(|value: u32| main().switch(value + 1).unwrap());
                inner.replace(Some(first.clone()));
                first
            };
            let value = first.switch(value).unwrap();
            // Nobody's frame holds a handle now.
            drop(own.take());
            let second = Greenlet::new(|value: u32| value * 10);
            second.switch(value).unwrap() + 1
        });
        outer_handle.replace(Some(outer.clone()));
        assert_eq!(outer.switch(1).unwrap(), 2);
        drop(outer);
        let inner: Greenlet<u32> = inner_handle.take().unwrap();
        assert_eq!(inner.switch(4).unwrap(), 41);
        assert!(outer_handle.borrow().is_none());
    });
}
