use std::cell::RefCell;
use std::io::{ErrorKind, Read};
use std::rc::Rc;
use std::time::Duration;

use greenloop::io::{PipeReader, pipe};
use greenloop::process::Command;
use greenloop::{spawn, with_timeout, yield_now};

use crate::support::{each_driver, within};
use crate::{LIMIT, cat, exists, shell, until};

/// A command whose processes hold the other end of the pipe, and the pipe.
fn watched(script: &str) -> (Command, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    let mut command = shell(script);
    command.stderr(writer);
    (command, reader)
}

/// Waits until no process holds the other end.
fn wait_for_the_end(mut reader: PipeReader) {
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

each_driver! {
    fn a_kill_ends_the_wait_and_leaves_the_child() {
        let child = Rc::new(RefCell::new(cat().spawn().unwrap()));
        let stdin = child.borrow_mut().stdin.take();
        let waiter = spawn({
            let child = child.clone();
            move || child.borrow_mut().wait().map(drop)
        });
        yield_now();
        waiter.kill();
        assert!(waiter.join().unwrap_err().is_killed());
        assert_eq!(child.borrow_mut().try_wait().unwrap(), None);
        drop(stdin);
        assert!(child.borrow_mut().wait().unwrap().success());
    }

    fn a_time_limit_takes_a_child_that_nobody_reaches_along() {
        for run in [|command: &mut Command| drop(command.output()), |command: &mut Command| drop(command.status())] {
            let (mut command, ended) = watched("exec sleep 1000");
            assert!(with_timeout(Duration::from_millis(20), || run(&mut command)).is_err());
            drop(command);
            wait_for_the_end(ended);
        }
    }
}

#[test]
fn a_dropped_child_lives_or_dies_as_was_said() {
    within(LIMIT, || {
        let mut child = cat().spawn().unwrap();
        let (stdin, id) = (child.stdin.take(), child.id());
        drop(child);
        assert!(exists(id));
        drop(stdin);
        let mut child = cat().kill_on_drop(true).spawn().unwrap();
        let (_stdin, id) = (child.stdin.take(), child.id());
        drop(child);
        // Also its status is gone.
        until(|| !exists(id));
        let mut ended = cat().kill_on_drop(true).spawn().unwrap();
        ended.wait().unwrap();
        drop(ended);
    });
}

#[test]
fn a_panic_takes_a_child_along_that_is_killed_on_drop() {
    within(LIMIT, || {
        let task = spawn(|| {
            let child = shell("exec sleep 1000").kill_on_drop(true).spawn().unwrap();
            std::panic::resume_unwind(Box::new(child.id()));
        });
        let id = *task.join().unwrap_err().into_panic().downcast::<u32>().unwrap();
        until(|| !exists(id));
    });
}

#[test]
fn who_unwinds_does_not_wait() {
    struct Waits(greenloop::process::Child, Rc<RefCell<Option<ErrorKind>>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let error = self.0.wait_timeout(LIMIT).unwrap_err();
            *self.1.borrow_mut() = Some(error.kind());
        }
    }
    within(LIMIT, || {
        let seen = Rc::new(RefCell::new(None));
        let task = spawn({
            let waits = Waits(cat().kill_on_drop(true).spawn().unwrap(), seen.clone());
            move || {
                let _waits = waits;
                greenloop::sleep(LIMIT);
            }
        });
        yield_now();
        task.kill();
        assert_eq!(*seen.borrow(), Some(ErrorKind::Other));
    });
}
