//! Functions that a manager shares.

use std::cell::Cell;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use greenloop::process::{Incoming, Outgoing, Process, Wire};
use greenloop::processes::shared::Value;
use greenloop::processes::{Manager, ManagerError};
use greenloop::{joinall, sleep, spawn, yield_now};

use crate::attacks::SOON;
use crate::manager_access::{knock, receive, send, taken_apart};
use crate::managers::elsewhere;
use crate::{LONG, tests, until};

tests! {
    calls_come_one_after_the_other,
    one_that_waits_lets_all_else_be_served,
    a_panic_is_the_error_of_its_call,
    what_does_not_come_over_fails_alone,
    descriptors_go_both_ways,
    a_killed_caller_has_called,
    it_is_shared_where_it_is_alone,
    it_ends_with_its_manager,
    it_is_kept_as_long_as_its_handles,
    bad_calls_call_nothing,
}

fn calls_come_one_after_the_other() {
    let manager = Manager::new().unwrap();
    let (mut calls, busy) = (0_u64, Cell::new(false));
    let count = manager.share(move |by: u64| {
        assert!(!busy.replace(true));
        yield_now();
        calls += by;
        busy.set(false);
        calls
    });
    let count = count.unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let theirs = count.clone();
            Process::start(move || assert!((0..50).all(|_| theirs.call(&2).is_ok()))).unwrap()
        })
        .collect();
    let own: Vec<_> = (0..10)
        .map(|_| {
            let count = count.clone();
            spawn(move || count.call(&1).unwrap())
        })
        .collect();
    joinall(&own);
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(count.call(&0), Ok(410));
}

fn one_that_waits_lets_all_else_be_served() {
    let manager = Manager::new().unwrap();
    let (open, value) = (Rc::new(Cell::new(false)), manager.value(1_u8).unwrap());
    let opened = open.clone();
    let wait = manager.share(move |()| until("it is open", || opened.get())).unwrap();
    let waiter = spawn(move || wait.call(&()));
    (0..50).for_each(|_| assert_eq!(value.get(), Ok(1)));
    assert!(!waiter.is_finished());
    open.set(true);
    assert_eq!(waiter.join().unwrap(), Ok(()));
}

fn a_panic_is_the_error_of_its_call() {
    let manager = Manager::new().unwrap();
    let mut calls = 0;
    let fail = manager.share(move |fails: bool| {
        calls += 1;
        if fails {
            resume_unwind(Box::new("it fails".to_owned()));
        }
        calls
    });
    let fail = fail.unwrap();
    let failed = Err(ManagerError::Panicked("it fails".to_owned()));
    for calls in [1, 3, 5] {
        let theirs = fail.clone();
        elsewhere(move || assert_eq!(theirs.call(&true), Err(ManagerError::Panicked("it fails".to_owned()))));
        assert_eq!(fail.call(&false), Ok(calls + 1));
    }
    assert_eq!(fail.call(&true), failed);
}

/// Comes to nothing if it is odd, and panics on its way if it is 4.
#[derive(Debug, PartialEq)]
struct Brittle(u8);

impl Wire for Brittle {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        self.0.put(into);
    }

    fn take(from: &mut Incoming<'_>) -> Option<Brittle> {
        u8::take(from).filter(|number| number % 2 == 0).map(|number| match number {
            4 => resume_unwind(Box::new("four".to_owned())),
            number => Brittle(number),
        })
    }
}

fn what_does_not_come_over_fails_alone() {
    let manager = Manager::new().unwrap();
    let next = manager.share(|Brittle(number): Brittle| Brittle(number / 2)).unwrap();
    assert_eq!(next.call(&Brittle(0)), Ok(Brittle(0)));
    assert!(matches!(next.call(&Brittle(1)), Err(ManagerError::Undecodable(_))));
    assert!(matches!(next.call(&Brittle(2)), Err(ManagerError::Undecodable(_))));
    assert_eq!(next.call(&Brittle(4)), Err(ManagerError::Panicked("four".to_owned())));
    let many = manager.share(|count: u32| (0..count).map(|_| null()).collect::<Vec<OwnedFd>>()).unwrap();
    assert!(matches!(many.call(&300), Err(ManagerError::Undecodable(_))));
    assert_eq!(many.call(&20).unwrap().len(), 20);
    assert_eq!(next.call(&Brittle(0)), Ok(Brittle(0)));
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn descriptors_go_both_ways() {
    let manager = Manager::new().unwrap();
    let mut kept = None;
    let swap = manager.share(move |file: Option<OwnedFd>| std::mem::replace(&mut kept, file)).unwrap();
    assert!(swap.call(&Some(null())).unwrap().is_none());
    let theirs = swap.clone();
    elsewhere(move || assert!(theirs.call(&None).unwrap().is_some()));
    assert!(swap.call(&None).unwrap().is_none());
}

fn a_killed_caller_has_called() {
    let manager = Manager::new().unwrap();
    let calls = Value::new(0_u64).unwrap();
    let called = calls.clone();
    let slow = manager.share(move |()| {
        called.update(|calls| calls + 1);
        sleep(Duration::from_millis(20));
        called.update(|calls| calls + 1)
    });
    let slow = slow.unwrap();
    let theirs = slow.clone();
    let child = Process::start(move || drop(theirs.call(&()))).unwrap();
    until("it is called", || calls.get() == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(slow.call(&()), Ok(4));
}

fn it_is_shared_where_it_is_alone() {
    let is_refused = |manager: &Manager| {
        let told = manager.share(|()| ());
        matches!(told, Err(ManagerError::System { kind: ErrorKind::Unsupported, .. }))
    };
    assert!(is_refused(&Manager::start().unwrap()));
    let manager = Manager::new().unwrap();
    assert!(is_refused(&manager.handle()));
    let inherited = Process::start(|| is_refused(&manager)).unwrap();
    assert!(inherited.join_timeout(SOON).unwrap().unwrap());
    assert_eq!(manager.share(|()| ()).unwrap().call(&()), Ok(()));
}

fn it_ends_with_its_manager() {
    let manager = Manager::new().unwrap();
    let wait = manager.share(|()| sleep(LONG)).unwrap();
    let theirs = wait.clone();
    let waiter = spawn(move || theirs.call(&()));
    yield_now();
    sleep(Duration::from_millis(5));
    manager.shutdown();
    assert_eq!(waiter.join().unwrap(), Err(ManagerError::Ended));
    assert_eq!(wait.call(&()), Err(ManagerError::Ended));
}

fn it_is_kept_as_long_as_its_handles() {
    let manager = Manager::new().unwrap();
    let kept = Rc::new(());
    let captured = kept.clone();
    let count = manager.share(move |()| Rc::strong_count(&captured) as u64).unwrap();
    assert_eq!(manager.object_count(), Ok(1));
    let list = manager.list([count]).unwrap();
    assert_eq!(list.get(0).unwrap().unwrap().call(&()), Ok(2));
    drop(list);
    until("it is dropped", || Rc::strong_count(&kept) == 1);
    assert_eq!(manager.object_count(), Ok(0));
}

fn bad_calls_call_nothing() {
    let manager = Manager::new().unwrap();
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    let count = manager.share(move |_: u64| counted.set(counted.get() + 1)).unwrap();
    let (number, door) = taken_apart(&count);
    for verb in 0..=255 {
        for arguments in [&[][..], &[1; 7], &[0; 12], &[255; 30]] {
            let connection = knock(&door);
            let request = [&[0x10, 0][..], &number.to_le_bytes(), &[verb], arguments].concat();
            send(&connection, &request, &[]).unwrap();
            // Some are not answered.
            if ![0, 4].contains(&verb) {
                let told = Cell::new(None);
                until("it answers", || {
                    told.set(receive(&connection));
                    told.get().is_some()
                });
                assert_eq!(told.get(), Some(0), "{verb} {arguments:?}");
            }
        }
    }
    assert_eq!(calls.get(), 0);
    assert_eq!(count.call(&7), Ok(()));
    assert_eq!(calls.get(), 1);
}
