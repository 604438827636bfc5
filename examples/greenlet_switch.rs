//! Greenlets by hand: who runs next is said, not scheduled.
//!
//! Run it with `cargo run --example greenlet_switch`.
//!
//! Expected output:
//!
//!     12
//!     56
//!     34
//!     78
//!     asked "What is your name?", was told "Ada"
//!     asked "And your quest, Ada?", was told "to switch"
//!     the interview is over: Ada seeks to switch
//!     the child is 3 generations below main, whose result is 111
//!     cleanup after "out of tea"
//!     the worker's last word: None, and it is dead: true
//!     consumed 1, 1, 2, 3, 5, 8, 13, 21
//!     the running means are 4, 5, 6

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use greenloop::error::GreenletExit;
use greenloop::greenlet::{AnyGreenlet, Generator, Greenlet, current, main as main_greenlet};
use tool::say;

mod tool;

fn main() -> Result<(), Box<dyn Error>> {
    tool::takes_no_arguments(include_str!("greenlet_switch.rs"));
    two_coroutines()?;
    values_both_ways()?;
    results_go_to_the_parent()?;
    throwing()?;
    producer_and_consumer();
    Ok(())
}

/// The example that greenlet's documentation begins with. Each tells the other who it is by the value of the switch.
fn two_coroutines() -> Result<(), Box<dyn Error>> {
    let second = Greenlet::new(|first: AnyGreenlet| {
        say!("56");
        let first = first.switch(current()).expect("the first is suspended");
        say!("78");
        first
    });
    let next = second.clone();
    let first = Greenlet::new(move |from: AnyGreenlet| {
        say!("12");
        next.switch(current()).expect("the second can start");
        say!("34");
        from
    });
    first.switch(current())?; // 12, 56, 34: the first has ended, so its parent goes on: this function.
    second.switch(current())?; // 78
    Ok(())
}

/// What `switch` sends is what the other's `switch` returns.
fn values_both_ways() -> Result<(), Box<dyn Error>> {
    let interview = Greenlet::new(|question: String| {
        let name = main_greenlet().switch(question).expect("an answer");
        let quest = main_greenlet().switch(format!("And your quest, {name}?")).expect("an answer");
        format!("{name} seeks {quest}")
    });
    let mut said = interview.switch("What is your name?".to_owned())?;
    for answer in ["Ada", "to switch"] {
        say!("asked {said:?}, was told {answer:?}");
        said = interview.switch(answer.to_owned())?;
    }
    say!("the interview is over: {said}");
    Ok(())
}

/// A greenlet that ends hands its result to its parent, the greenlet that made it.
fn results_go_to_the_parent() -> Result<(), Box<dyn Error>> {
    let eldest = Greenlet::new(|depth: u32| {
        let middle = Greenlet::new(|depth: u32| {
            let youngest = Greenlet::new(|depth: u32| {
                let ancestors = std::iter::successors(current().parent(), AnyGreenlet::parent).count();
                print!("the child is {ancestors} generations below main, ");
                depth + 1
            });
            youngest.switch(depth).expect("a result") + 10
        });
        middle.switch(depth).expect("a result") + 100
    });
    say!("whose result is {}", eldest.switch(0)?);
    Ok(())
}

/// An error thrown into a greenlet is raised where it waits; an exit ends it, and is no error for its parent.
fn throwing() -> Result<(), Box<dyn Error>> {
    let worker = Greenlet::new(|job: &'static str| {
        let interrupted = catch_unwind(AssertUnwindSafe(|| main_greenlet().switch(job)));
        if let Some(reason) = interrupted.err().and_then(|payload| payload.downcast::<&str>().ok()) {
            say!("cleanup after {reason:?}");
        }
        main_greenlet().switch("ready again").expect("this wait is ended by an exit")
    });
    worker.switch("make tea")?;
    let answer = worker.throw(Box::new("out of tea"))?;
    assert_eq!(answer, "ready again");
    let last = worker.throw(Box::new(GreenletExit)).ok();
    say!("the worker's last word: {last:?}, and it is dead: {}", worker.is_dead());
    Ok(())
}

/// A generator is a producer that runs when its consumer asks, and a consumer that runs when it is given something.
fn producer_and_consumer() {
    let fibonacci = Generator::new(|generator, ()| {
        let (mut last, mut next) = (1u32, 1u32);
        loop {
            generator.yield_(last);
            (last, next) = (next, last + next);
        }
    });
    let consumed: Vec<String> = fibonacci.take(8).map(|number| number.to_string()).collect();
    say!("consumed {}", consumed.join(", "));

    let mut mean = Generator::new(|generator, first: u32| {
        let (mut sum, mut count) = (first, 1);
        loop {
            sum += generator.yield_(sum / count);
            count += 1;
        }
    });
    let means: Vec<String> =
        [4, 6, 8].into_iter().filter_map(|number| mean.send(number)).map(|mean| mean.to_string()).collect();
    say!("the running means are {}", means.join(", "));
}
