use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use greenloop::event::Event;
use greenloop::greenlet::{AnyGreenlet, Generator, Greenlet, current};
use greenloop::hub::Hub;
use greenloop::{GreenletExit, JoinHandle, Timeout, sleep, spawn, with_timeout, yield_now};

use crate::support::{in_a_world, within};
use crate::{CountsDrops, LIMIT, LONG, Log, SHORT, raise, raised};

/// Yields 0, 1, 2 and so on, each after a short sleep; counts its end.
fn ticks(ended: &Rc<Cell<u32>>) -> Generator<(), u32> {
    let counted = CountsDrops(ended.clone());
    Generator::new(move |generator, ()| {
        let _counted = counted;
        for tick in 0.. {
            sleep(SHORT);
            generator.yield_(tick);
        }
    })
}

#[test]
fn a_kill_of_who_waits_for_a_generator() {
    in_a_world(LIMIT, |_| {
        let ended = Rc::new(Cell::new(0));
        let generator = ticks(&ended);
        let puller = spawn(move || generator.for_each(drop));
        sleep(2 * SHORT + SHORT / 2);
        puller.kill();
        assert!(puller.join().unwrap_err().is_killed());
        // The body was asleep in the hub: it ends when it next yields.
        assert_eq!(ended.get(), 0);
        sleep(SHORT);
        assert_eq!(ended.get(), 1);
        assert_eq!(Hub::current().alive(), 0);
    });
}

#[test]
fn a_time_limit_ends_the_pull_and_the_next_one_goes_on() {
    in_a_world(LIMIT, |world| {
        let ended = Rc::new(Cell::new(0));
        let mut generator = ticks(&ended);
        let mut seen = Vec::new();
        // In the middle of the fifth pull.
        let limit = 8 * SHORT + SHORT / 2;
        let late = with_timeout(limit, || {
            for tick in &mut generator {
                seen.push(tick);
                sleep(SHORT);
            }
        });
        assert_eq!((late.is_err(), world.elapsed(), &*seen), (true, limit, &[0, 1, 2, 3][..]));
        assert_eq!((generator.next(), world.elapsed()), (Some(4), 9 * SHORT), "nothing is lost");
        drop(generator);
        sleep(3 * SHORT);
        assert_eq!(ended.get(), 1);
    });
}

#[test]
fn a_time_limit_inside_the_body_is_the_bodys_affair() {
    within(LIMIT, || {
        let mut generator = Generator::new(|generator, ()| {
            loop {
                let outcome = with_timeout(SHORT, || sleep(LONG));
                generator.yield_(outcome.is_err());
            }
        });
        // The puller has a limit of its own, which is not touched.
        assert_eq!(with_timeout(LONG, || (generator.next(), generator.next())), Ok((Some(true), Some(true))));
    });
}

#[test]
fn a_limit_that_spans_yields_is_raised_where_the_body_waits() {
    within(LIMIT, || {
        // The body is suspended in `yield_` when its time is over, and is told at its next wait.
        let mut generator = Generator::new(|generator, ()| {
            let outcome = with_timeout(SHORT, || {
                generator.yield_("begun");
                sleep(LONG);
            });
            generator.yield_(if outcome.is_err() { "told" } else { "not told" });
        });
        assert_eq!(generator.next(), Some("begun"));
        let pulled = generator.next();
        assert_eq!(pulled, Some("told"));
        assert_eq!(generator.next(), None);
    });
}

#[test]
fn a_kill_of_who_waits_in_a_switch() {
    within(LIMIT, || {
        let event = Arc::new(Event::new());
        let log = Log::new();
        let (waits, inside) = (event.clone(), log.clone());
        let switcher = spawn(move || {
            let log = inside.clone();
            let greenlet = Greenlet::new(move |()| {
                waits.wait();
                log.push("the greenlet goes on");
            });
            let outcome = catch_unwind(AssertUnwindSafe(|| greenlet.switch(())));
            assert!(outcome.unwrap_err().is::<GreenletExit>());
            inside.push("the switch was ended");
            // It is still there, in the hub's hands, and this one, its parent, waits for it.
            let outcome = catch_unwind(AssertUnwindSafe(|| sleep(LONG)));
            inside.push("its end arrived by hand");
            assert!(outcome.unwrap_err().is::<greenloop::error::InvalidSwitch>());
        });
        yield_now();
        assert!(!switcher.try_kill());
        (0..3).for_each(|_| yield_now());
        assert_eq!(log.take(), ["the switch was ended"]);
        event.set();
        switcher.join().unwrap();
        assert_eq!(log.take(), ["the greenlet goes on", "its end arrived by hand"]);
    });
}

#[test]
fn a_value_that_overtakes_a_kill_arrives_and_the_kill_at_the_next_wait() {
    within(LIMIT, || {
        let greenlets: Rc<RefCell<Vec<AnyGreenlet>>> = Rc::default();
        let log = Log::new();
        let (own, inside) = (greenlets.clone(), log.clone());
        let first = spawn(move || {
            own.borrow_mut().push(current());
            let inner = Greenlet::new(|value: u32| {
                sleep(LONG);
                value
            });
            inside.push(inner.switch(1).unwrap());
            yield_now();
            inside.push(0);
        });
        yield_now();
        let suspended = greenlets.take().remove(0);
        // The kill is on its way when somebody brings a value by hand.
        assert!(!first.try_kill());
        let by_hand = spawn(move || suspended.switch(7u32).is_ok());
        first.wait();
        assert_eq!(log.take(), [7]);
        assert!(first.join().unwrap_err().is_killed());
        // Nobody switches back.
        assert!(!by_hand.is_finished());
        by_hand.kill();
    });
}

/// A kill that comes while it runs, and one that a value overtakes: both are raised though it never waits in the hub.
#[test]
fn a_kill_of_who_only_switches() {
    within(LIMIT, || {
        let own: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let ended = Rc::new(Cell::new(0));
        let (seen, generator) = (own.clone(), ticks(&ended));
        let puller = spawn(move || {
            assert!(!seen.borrow().as_ref().expect("put there before it began").try_kill());
            generator.for_each(drop);
        });
        *own.borrow_mut() = Some(puller);
        let puller = own.clone();
        spawn(move || puller.borrow().as_ref().unwrap().wait()).join().unwrap();
        assert!(own.take().unwrap().join().unwrap_err().is_killed());

        let turn = Arc::new(Event::new());
        let waits = turn.clone();
        let generator = Generator::new(move |generator, ()| {
            loop {
                waits.wait();
                waits.clear();
                generator.yield_(());
            }
        });
        let pulled = Rc::new(Cell::new(0));
        let count = pulled.clone();
        let puller = spawn(move || generator.for_each(|()| count.set(count.get() + 1)));
        yield_now();
        // The body is ready, with a value for it, before the kill is.
        turn.set();
        puller.kill();
        assert_eq!(pulled.get(), 1);
        assert!(puller.join().unwrap_err().is_killed());
    });
}

#[test]
fn a_time_limit_of_main_in_a_switch() {
    in_a_world(LIMIT, |world| {
        let greenlet = Greenlet::new(|value: u32| {
            sleep(4 * SHORT);
            value + 1
        });
        assert!(with_timeout(SHORT, || greenlet.switch(1)).is_err());
        assert!(greenlet.is_active());
        let mut outer = Timeout::new(LONG);
        outer.start().unwrap();
        // Its end is for main, its parent, which waits in the hub then.
        let payload = catch_unwind(|| sleep(LONG)).unwrap_err();
        assert!(payload.is::<greenloop::error::InvalidSwitch>());
        assert!(greenlet.is_dead());
        assert_eq!(world.elapsed(), 4 * SHORT);
    });
}

#[test]
fn generators_in_green_threads_wait_side_by_side() {
    within(LIMIT, || {
        let ended = Rc::new(Cell::new(0));
        let pullers: Vec<_> = (0..50)
            .map(|number| {
                let generator = ticks(&ended);
                spawn(move || generator.take(3).map(|tick| tick + number).sum::<u32>())
            })
            .collect();
        for (number, puller) in pullers.into_iter().enumerate() {
            assert_eq!(puller.join().unwrap() as usize, 3 + 3 * number);
        }
        assert_eq!(ended.get(), 50);
    });
}

#[test]
fn a_panic_of_a_body_that_waited_reaches_who_pulls() {
    in_a_world(LIMIT, |_| {
        let mut generator = Generator::<(), u32>::new(|_, ()| {
            sleep(SHORT);
            raise("after a sleep")
        });
        let outcome = catch_unwind(AssertUnwindSafe(|| generator.next()));
        assert_eq!(raised(outcome), "after a sleep");
        assert!(generator.is_done());
        // One that nobody awaits any more is kept for the next pull.
        let mut generator = Generator::<(), u32>::new(|_, ()| {
            sleep(2 * SHORT);
            raise("nobody waits")
        });
        assert!(with_timeout(SHORT, || generator.next()).is_err());
        sleep(3 * SHORT);
        assert_eq!(raised(catch_unwind(AssertUnwindSafe(|| generator.next()))), "nobody waits");
    });
}

#[test]
fn a_generator_shared_by_green_threads_serves_one_at_a_time() {
    within(LIMIT, || {
        let ended = Rc::new(Cell::new(0));
        let shared = Rc::new(greenloop::sync::Mutex::new(ticks(&ended)));
        let pullers: Vec<_> = (0..4)
            .map(|_| {
                let shared = shared.clone();
                spawn(move || (0..3).map(|_| shared.lock().unwrap().next().unwrap()).collect::<Vec<_>>())
            })
            .collect();
        let mut all: Vec<_> = pullers.into_iter().flat_map(|puller| puller.join().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..12).collect::<Vec<_>>());
    });
}
