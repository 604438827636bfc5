//! A process whose `main` returns while greenlets are parked ends as usual, with 0: greenlet's case 35.
//!
//! This file is a program of its own, run without the test harness, because the harness owns `main` elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};

use greenloop::greenlet::{Greenlet, main as main_greenlet};

fn main() {
    let fifty: Vec<_> = (0..50).map(|_| parked()).collect();
    let nested = nest(10);
    let handler = Greenlet::new(|value: u32| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            main_greenlet().switch(value).expect("an error comes");
        }));
        // Parked while it handles an error, whose payload it still owns.
        let value = main_greenlet().switch(value + 1).expect("nothing comes");
        drop(caught);
        value
    });
    handler.switch(1).expect("it parks");
    assert_eq!(handler.throw(Box::new("an error")).expect("it parks again"), 2);
    assert!(fifty.iter().all(|greenlet| greenlet.is_active()));
    assert!(nested.is_active());
    // Some end as `main` returns and drops them; the others stay parked for good.
    std::mem::forget(fifty);
    std::mem::forget(handler);
    println!("1 passed, 0 failed");
}

fn parked() -> Greenlet<u32> {
    let greenlet = Greenlet::new(|value: u32| main_greenlet().switch(value).expect("nothing comes"));
    greenlet.switch(1).expect("it parks");
    greenlet
}

/// Greenlets that each made the next, `depth` of them, all parked.
fn nest(depth: u32) -> Greenlet<u32> {
    let greenlet = Greenlet::new(move |value: u32| {
        let inner = (depth > 1).then(|| nest(depth - 1));
        let value = main_greenlet().switch(value).expect("nothing comes");
        drop(inner);
        value
    });
    greenlet.switch(depth).expect("it parks");
    greenlet
}
