//! A green thread knows who it is, and so does who reads of its panic.

use std::time::Duration;

use greenloop::greenlet::Greenlet;
use greenloop::hub::install_panic_hook;
use greenloop::{Builder, current, sleep, spawn};

use crate::LIMIT;
use crate::support::{run_child, within};

#[test]
fn a_green_thread_asks_who_it_is() {
    within(LIMIT, || {
        assert!(current().is_none(), "the main greenlet");
        let named = Builder::new().name("worker").spawn(|| {
            let before = current().unwrap();
            sleep(Duration::from_millis(1));
            (before, current().unwrap())
        });
        let named = named.unwrap();
        let (id, place) = (named.id(), named.spawned_at());
        let unnamed = spawn(|| current().unwrap());
        let (before, after) = named.join().unwrap();
        for itself in [before, after] {
            assert_eq!((itself.id(), itself.name(), itself.spawned_at()), (id, Some("worker"), place));
        }
        let other = unnamed.id();
        let unnamed = unnamed.join().unwrap();
        assert_eq!((unnamed.id(), unnamed.name()), (other, None));
        assert_ne!(unnamed.id(), id);
        // What runs there is no green thread.
        assert!(Greenlet::new(|(): ()| assert!(current().is_none())).switch(()).is_ok());
        assert!(std::thread::spawn(|| current().is_none()).join().unwrap());
    });
}

#[test]
fn a_panic_says_in_which_green_thread() {
    let scenario = || {
        install_panic_hook();
        install_panic_hook();
        assert!(Builder::new().name("worker").spawn(|| panic!("the first")).unwrap().join().is_err());
        assert!(spawn(|| panic!("the second")).join().is_err());
        assert!(std::panic::catch_unwind(|| panic!("nobody's")).is_err());
    };
    let Some(child) = run_child(LIMIT, scenario) else { return };
    assert!(child.status.success(), "{child:?}");
    let lines: Vec<_> = child.stderr.lines().filter(|line| line.ends_with("panics:")).collect();
    let [named, unnamed] = lines[..] else { panic!("{child:?}") };
    assert!(named.starts_with("green thread 'worker', spawned at tests/front_door/identity.rs:"), "{named}");
    assert!(unnamed.starts_with("green thread '<unnamed>', spawned at tests/front_door/identity.rs:"));
    for text in ["the first", "the second", "nobody's"] {
        assert_eq!(child.stderr.matches(text).count(), 1, "std's hook is called, once: {child:?}");
    }
    let (line, std) = (child.stderr.find(named).unwrap(), child.stderr.find("the first").unwrap());
    assert!(line < std, "{child:?}");
}
