use std::time::Duration;

use greenloop::event::Event;
use greenloop::signal::{SIGHUP, SIGTERM, SIGUSR1, SIGWINCH, Signals};
use greenloop::{Waitable, spawn, wait_any, with_timeout, yield_now};

use crate::{LONG, alone, raise, raise_soon};

#[test]
fn they_come_one_by_one() {
    alone(|| {
        let mut signals = Signals::new([SIGHUP, SIGTERM]).unwrap();
        assert_eq!(signals.try_next(), None);
        assert_eq!(signals.next_timeout(Duration::from_millis(1)), None);
        raise(SIGTERM);
        assert_eq!(signals.next(), Some(SIGTERM));
        let sender = raise_soon(SIGHUP);
        assert_eq!(signals.next_timeout(LONG), Some(SIGHUP));
        sender.join().unwrap();
        // One that came twice before it was taken is one.
        raise(SIGHUP);
        greenloop::sleep(Duration::from_millis(1));
        raise(SIGHUP);
        greenloop::sleep(Duration::from_millis(1));
        assert_eq!((signals.try_next(), signals.try_next()), (Some(SIGHUP), None));
    });
}

#[test]
fn a_kill_and_a_time_limit_lose_none() {
    alone(|| {
        let mut signals = Signals::new([SIGUSR1]).unwrap();
        assert!(with_timeout(Duration::from_millis(1), || signals.next()).is_err());
        let waiter = spawn(move || signals.next());
        yield_now();
        waiter.kill();
        let mut signals = Signals::new([SIGUSR1]).unwrap();
        raise(SIGUSR1);
        assert_eq!(signals.next(), Some(SIGUSR1));
    });
}

#[test]
fn they_are_waited_for_beside_other_things() {
    alone(|| {
        let signals = Signals::new([SIGWINCH]).unwrap();
        let event = Event::new();
        let objects: [&dyn Waitable; 2] = [&event, &signals];
        let sender = raise_soon(SIGWINCH);
        wait_any(objects).unwrap();
        assert!(!event.is_ready() && signals.is_ready());
        assert_eq!(signals.try_next(), Some(SIGWINCH));
        assert!(!signals.is_ready());
        sender.join().unwrap();
    });
}

#[test]
fn several_listen_each_to_all() {
    alone(|| {
        let mut one = Signals::new([SIGUSR1]).unwrap();
        let mut other = Signals::new([SIGUSR1, SIGHUP]).unwrap();
        raise(SIGUSR1);
        assert_eq!((one.next(), other.next()), (Some(SIGUSR1), Some(SIGUSR1)));
        drop(one);
        raise(SIGUSR1);
        assert_eq!(other.next(), Some(SIGUSR1));
    });
}
