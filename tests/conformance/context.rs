//! What belongs to one greenlet: `greenlet_local!` in the place of Python's context variables. Numbers: see the table of
//! this test binary.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use greenloop::greenlet::Greenlet;
use greenloop::{greenlet_local, spawn};

use crate::LIMIT;
use crate::support::within;

greenlet_local! {
    static NUMBER: Cell<u32> = Cell::new(1);
    static SHARED: RefCell<Rc<Cell<u32>>> = RefCell::new(Rc::new(Cell::new(0)));
}

#[test]
fn case_40_a_new_context_is_empty_both_ways() {
    within(LIMIT, || {
        NUMBER.with(|number| number.set(10));
        let child = Greenlet::new(|()| {
            NUMBER.with(|number| {
                assert_eq!(number.get(), 1);
                number.set(20);
            });
        });
        child.switch(()).unwrap();
        let green_thread = spawn(|| NUMBER.with(|number| number.replace(30)));
        assert_eq!(green_thread.join().unwrap(), 1);
        assert_eq!(NUMBER.with(Cell::get), 10);
    });
}

#[test]
fn case_40_a_context_is_kept_across_switches() {
    within(LIMIT, || {
        let children: Vec<Greenlet<u32>> = (0..3)
            .map(|_| {
                Greenlet::new(|value: u32| {
                    NUMBER.with(|number| number.set(value));
                    let main = greenloop::greenlet::main();
                    let added = main.switch(0u32).unwrap();
                    NUMBER.with(|number| number.get() + added)
                })
            })
            .collect();
        for (number, child) in children.iter().enumerate() {
            child.switch(number as u32 * 100).unwrap();
        }
        let results: Vec<u32> = children.iter().map(|child| child.switch(7).unwrap()).collect();
        assert_eq!(results, [7, 107, 207]);
    });
}

#[test]
fn case_40_copying_and_sharing_are_explicit() {
    within(LIMIT, || {
        NUMBER.with(|number| number.set(5));
        let shared = SHARED.with(|shared| shared.borrow().clone());
        let mine = shared.clone();
        let copied = NUMBER.with(Cell::get);
        let child = Greenlet::new(move |()| {
            NUMBER.with(|number| number.set(copied));
            SHARED.with(|shared| shared.replace(mine));
            NUMBER.with(|number| number.set(number.get() + 1));
            SHARED.with(|shared| shared.borrow().set(9));
        });
        child.switch(()).unwrap();
        assert_eq!(NUMBER.with(Cell::get), 5);
        assert_eq!(shared.get(), 9);
        // The dead greenlet's context is gone, though its handle is kept.
        assert!(child.is_dead());
        assert_eq!(Rc::strong_count(&shared), 2);
    });
}
