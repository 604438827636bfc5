use std::panic::panic_any;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use greenloop::hub::{Hub, set_uncaught_hook};
use greenloop::{Builder, JoinHandle, Outcome, idle, sleep, spawn, yield_now};

use crate::support::{run_child, within};
use crate::{LIMIT, LONG, SHORT, raise};

#[test]
fn it_is_told_how_the_green_thread_ended() {
    within(LIMIT, || {
        let told = Arc::new(Mutex::new(Vec::new()));
        let link = |task: &JoinHandle<()>| {
            let told = told.clone();
            task.link(move |outcome| told.lock().unwrap().push(outcome));
        };
        let tasks = [spawn(|| ()), spawn(|| raise("broken")), spawn(|| sleep(LONG))];
        tasks.iter().for_each(link);
        yield_now();
        tasks[2].kill();
        idle();
        assert_eq!(*told.lock().unwrap(), [Outcome::Returned, Outcome::Panicked, Outcome::Killed]);
    });
}

#[test]
fn it_can_be_taken_back_until_the_end() {
    within(LIMIT, || {
        let told = Arc::new(Mutex::new(Vec::new()));
        let task = spawn(|| ());
        let mut links: Vec<_> = (0..4)
            .map(|number| {
                let told = told.clone();
                task.link(move |_| told.lock().unwrap().push(number))
            })
            .collect();
        assert!(task.unlink(links.remove(1)));
        assert!(task.unlink(links.remove(1)));
        task.wait();
        assert!(!task.unlink(links.remove(0)), "it is on its way");
        idle();
        assert_eq!(*told.lock().unwrap(), [0, 3]);
        // What was taken back is gone with what it holds.
        let held = Arc::new(());
        let task = spawn(|| ());
        let holds = held.clone();
        let link = task.link(move |_| drop(holds));
        assert!(task.unlink(link));
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn it_does_not_keep_the_joiner_waiting() {
    within(LIMIT, || {
        let task = spawn(|| ());
        task.link(|_| sleep(LONG));
        task.join().unwrap();
        assert_eq!(Hub::current().alive(), 1);
    });
}

#[test]
fn a_link_from_another_thread() {
    within(LIMIT, || {
        let task = spawn(|| thread::current().id());
        let (sender, receiver) = mpsc::channel();
        let task = thread::spawn(move || {
            task.link(move |_| sender.send(thread::current().id()).unwrap());
            task
        });
        let task = task.join().unwrap();
        let home = task.join().unwrap();
        idle();
        assert_eq!(receiver.recv(), Ok(home), "it runs where the green thread ran");
    });
}

#[test]
fn what_nobody_takes_goes_to_the_hook_with_its_payload() {
    let Some(child) = run_child(LIMIT, || {
        #[derive(Debug, PartialEq)]
        struct Ours(u32);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        set_uncaught_hook(Some(Arc::new(move |uncaught| {
            let ours =
                uncaught.payload().and_then(|payload| payload.downcast_ref::<Ours>()).map(|ours| ours.0);
            log.lock().unwrap().push((uncaught.place().to_owned(), ours));
        })));
        let task = Builder::new().name("worker").spawn(|| panic_any(Ours(7))).unwrap();
        let place = format!("green thread 'worker', spawned at {},", task.spawned_at());
        drop(task);
        yield_now();
        // Once its handle is polled, waited for or linked, but not joined, nobody has taken it yet.
        let task: JoinHandle<()> = spawn(|| raise("a text"));
        let other = format!("green thread '<unnamed>', spawned at {},", task.spawned_at());
        task.wait();
        task.link(|_| ());
        assert_eq!(seen.lock().unwrap().len(), 1);
        drop(task);
        assert_eq!(*seen.lock().unwrap(), [(place, Some(7)), (other, None)]);
        // Without a hook the default is back.
        set_uncaught_hook(None);
        drop(spawn(|| raise("to standard error")));
        sleep(SHORT);
        assert_eq!(seen.lock().unwrap().len(), 2);
    }) else {
        return;
    };
    assert!(child.status.success(), "{child:?}");
    let lines: Vec<_> =
        child.stderr.lines().filter(|line| line.ends_with("panicked: to standard error")).collect();
    assert_eq!(lines.len(), 1, "{child:?}");
}
