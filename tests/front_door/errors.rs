//! Errors go wherever errors go: into `Box<dyn Error + Send + Sync>`, into anyhow, to other OS threads.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use greenloop::error::*;
use greenloop::greenlet::{AnyGreenlet, Greenlet};
use greenloop::hub::AlreadyRunning;
use greenloop::threadpool::ThreadPool;
use greenloop::{AlreadyStarted, Builder, JoinHandle, sleep, spawn, with_timeout, yield_now};

use crate::support::within;
use crate::{LIMIT, OnDrop, text};

const fn goes_anywhere<E: Error + Send + Sync + 'static>() {}

/// `tests/architecture.rs` holds that every public error is here.
const _: () = {
    goes_anywhere::<AlreadyRunning>();
    goes_anywhere::<AlreadyStarted>();
    goes_anywhere::<Elapsed>();
    goes_anywhere::<GetError>();
    goes_anywhere::<GreenletExit>();
    goes_anywhere::<Interrupted>();
    goes_anywhere::<InvalidSwitch>();
    goes_anywhere::<JoinError>();
    goes_anywhere::<LoopExit>();
    goes_anywhere::<ManagerError>();
    goes_anywhere::<ParentError>();
    goes_anywhere::<PartialOutput>();
    goes_anywhere::<PoolFull<u32>>();
    goes_anywhere::<ProcessError>();
    goes_anywhere::<PutError<u32>>();
    goes_anywhere::<ReadyTimeoutError>();
    goes_anywhere::<RecvError>();
    goes_anywhere::<RecvTimeoutError>();
    goes_anywhere::<SelectTimeoutError>();
    goes_anywhere::<SendError<u32>>();
    goes_anywhere::<SendTimeoutError<u32>>();
    goes_anywhere::<ServerClosed>();
    goes_anywhere::<ServerError<u32>>();
    goes_anywhere::<StackError>();
    goes_anywhere::<StartError>();
    goes_anywhere::<SupervisorError>();
    goes_anywhere::<SwitchError>();
    goes_anywhere::<ThreadEnds>();
    goes_anywhere::<TimedOut>();
    goes_anywhere::<TryReadyError>();
    goes_anywhere::<TryRecvError>();
    goes_anywhere::<TrySelectError>();
    goes_anywhere::<TrySendError<u32>>();
    goes_anywhere::<Unwinding>();
    goes_anywhere::<WorkError>();
};

fn worker<T: 'static>(run: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().name("worker").spawn(run).unwrap()
}

#[test]
fn the_question_mark_takes_what_a_join_and_a_switch_return() {
    fn boxed() -> Result<u32, Box<dyn Error + Send + Sync>> {
        let greenlet = Greenlet::new(|number: u32| number);
        Ok(spawn(|| 1).join()? + greenlet.switch(1)?)
    }
    fn by_anyhow() -> anyhow::Result<u32> {
        let greenlet = Greenlet::new(|number: u32| number);
        Ok(spawn(|| 1).join()? + greenlet.switch(1)?)
    }
    fn of_io() -> io::Result<u32> {
        Ok(spawn(|| 1).join()? + spawn(|| -> u32 { panic!("no ink") }).join()?)
    }
    within(LIMIT, || {
        assert_eq!((boxed().unwrap(), by_anyhow().unwrap()), (2, 2));
        let error = of_io().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert_eq!(text(&*error.downcast::<JoinError>().unwrap().into_panic()), "no ink");
    });
}

#[test]
fn a_join_error_names_the_green_thread_and_its_place() {
    within(LIMIT, || {
        let panics = worker(|| panic!("no ink"));
        let forever = worker(|| sleep(LIMIT));
        yield_now();
        forever.kill();
        for (task, what, how) in [(panics, "panicked: no ink", true), (forever, "was killed", false)] {
            let place = task.spawned_at();
            assert!(place.file().ends_with("errors.rs"));
            let error = task.join().unwrap_err();
            assert_eq!(error.to_string(), format!("green thread 'worker', spawned at {place}, {what}"));
            assert_eq!(format!("{error:?}"), format!("JoinError({error})"));
            assert_eq!((error.name(), error.spawned_at()), (Some("worker"), Some(place)));
            assert_eq!((error.is_panic(), error.is_killed()), (how, !how));
        }
        let unnamed = spawn(|| std::panic::resume_unwind(Box::new(7))).join().unwrap_err().to_string();
        assert!(unnamed.starts_with("green thread '<unnamed>', spawned at tests/front_door/errors.rs:"));
        assert!(unnamed.ends_with(", panicked: Box<dyn Any>"), "{unnamed}");
        let job = ThreadPool::new(1).spawn(|| std::panic::resume_unwind(Box::new("no"))).join();
        assert_eq!(job.map(|_: ()| ()).unwrap_err().to_string(), "a job panicked: no");
    });
}

#[test]
fn an_element_of_a_map_names_the_member_that_ran_it() {
    within(LIMIT, || {
        let results = greenloop::pool::Pool::new(1).map([1], |_| panic!("no ink"));
        let error = results.into_iter().next().unwrap().map(|_: ()| ()).unwrap_err();
        assert!(error.spawned_at().is_some());
        assert!(error.to_string().ends_with(", panicked: no ink"), "{error}");
    });
}

#[test]
fn a_payload_comes_out_of_a_join_error_of_a_panic_alone() {
    within(LIMIT, || {
        let panicked = spawn(|| std::panic::resume_unwind(Box::new(7))).join().unwrap_err();
        // Also on another OS thread, which may look at it while this one does.
        let panicked = Arc::new(panicked);
        let seen = panicked.clone();
        assert!(thread::spawn(move || seen.is_panic()).join().unwrap());
        let panicked = Arc::into_inner(panicked).unwrap();
        assert_eq!(*panicked.try_into_panic().unwrap().downcast::<i32>().unwrap(), 7);

        let forever = spawn(|| sleep(LIMIT));
        forever.kill();
        let killed = forever.join().unwrap_err().try_into_panic().unwrap_err();
        assert!(killed.is_killed() && killed.source().is_none());
        let refused = spawn(move || drop(killed.into_panic())).join().unwrap_err().into_panic();
        assert!(text(&*refused).starts_with("there is no payload of a panic: green thread"));
    });
}

#[test]
fn an_uncaught_time_limit_says_so() {
    within(LIMIT, || {
        let limit = Duration::from_millis(1);
        let mut timeout = greenloop::Timeout::new(limit);
        let task = spawn(move || {
            timeout.start().unwrap();
            sleep(LIMIT);
        });
        let error = task.join().unwrap_err().to_string();
        assert!(error.ends_with("panicked: the time limit of 1ms is over"), "{error}");
        assert!(with_timeout(limit, || sleep(LIMIT)).is_err());
    });
}

/// Sends a counter where a number is expected, and returns the error, and what counts the counter's end.
fn refused() -> (SwitchError, Rc<Cell<u32>>) {
    let dropped = Rc::new(Cell::new(0));
    let counts = dropped.clone();
    let greenlet: AnyGreenlet = (*Greenlet::new(|number: u32| number)).clone();
    let error = greenlet.switch(OnDrop(move || counts.set(counts.get() + 1))).map(drop).unwrap_err();
    assert_eq!(dropped.get(), 0);
    (error, dropped)
}

#[test]
fn a_refused_value_goes_with_its_error() {
    within(LIMIT, || {
        let (error, dropped) = refused();
        drop(error);
        assert_eq!(dropped.get(), 1);
        let (error, dropped) = refused();
        let SwitchError::WrongType(refused) = error else { panic!("{error}") };
        let value = refused.into_inner().unwrap();
        assert_eq!(dropped.get(), 0);
        drop(value);
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_refused_value_stays_on_its_os_thread() {
    within(LIMIT, || {
        let (error, dropped) = refused();
        let back = thread::spawn(move || {
            let SwitchError::WrongType(refused) = error else { panic!("{error}") };
            refused.into_inner().unwrap_err()
        });
        let back = back.join().unwrap();
        assert_eq!(dropped.get(), 0);
        assert!(back.into_inner().is_ok());
        assert_eq!(dropped.get(), 1);

        let (error, dropped) = refused();
        thread::spawn(move || drop(error)).join().unwrap();
        assert_eq!(dropped.get(), 0, "that was another OS thread");
        let (_next, _) = refused();
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_refused_value_whose_destructor_sends_another_is_no_circle() {
    within(LIMIT, || {
        let greenlet: AnyGreenlet = (*Greenlet::new(|number: u32| number)).clone();
        let sends = greenlet.clone();
        let value = OnDrop(move || drop(sends.switch("another").unwrap_err()));
        drop(greenlet.switch(value).map(drop).unwrap_err());
    });
}
