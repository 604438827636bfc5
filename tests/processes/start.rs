use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::error::{ProcessError, StartError};
use greenloop::inspect::{detect, dump_on};
use greenloop::io::{Interest, wait_fd};
use greenloop::process::{Process, active_children, channel, current, parent};
use greenloop::signal::SIGUSR1;
use greenloop::{Waitable, iwait, sleep, spawn, wait_any, with_timeout, yield_now};

use crate::support::open_files;
use crate::{LIMIT, LONG, sleeper, tests, until};

tests! {
    n01_the_current_process,
    n02_a_daemon_s_children_are_daemons,
    n03_the_parent_has_a_number_and_a_name,
    n04_a_grandchild_sees_its_parent_end,
    n05_alive_between_start_and_end,
    n06_no_time_to_wait_is_no_wait,
    n07_terminate_and_kill,
    n08_the_end_may_be_asked_for_again,
    n10_who_started_it_alone_may_join_it,
    n11_children_of_children,
    n12_the_descriptor_tells_of_the_end,
    n14_a_hundred_children,
    n15_what_the_closure_owns_goes_with_it,
    n16_each_child_has_as_many_descriptors,
    n17_the_child_ends_with_its_closure,
    n18_closed_standard_streams,
    n20_a_panic_reaches_the_parent_and_the_standard_error_once tells "no ink",
    n21_exit_codes,
    n22_a_foreign_thread_is_refused_with_the_cure,
    n23_killed_before_it_began,
    a_daemon_ends_with_its_parent,
    an_idle_pool_is_no_obstacle,
    what_watches_the_process_is_no_obstacle,
    a_large_result_comes_whole,
    a_panic_as_the_parent_drops_the_closure_leaves_no_child_waiting tells "dropped here",
    a_result_with_descriptors_in_it,
    dropped_handles_leave_no_zombie,
    the_output_is_written_once,
    a_green_thread_may_start_one,
    it_can_be_waited_for_beside_others,
    a_kill_of_who_waits_leaves_it_alone,
    the_end_of_one_whose_status_was_taken,
    a_fork_amid_a_panic_is_refused,
}

fn n01_the_current_process() {
    let (id, name, is_daemon) = Process::start(|| {
        let current = current();
        assert_eq!(current.id(), std::process::id());
        (current.id(), current.name().to_owned(), current.is_daemon())
    })
    .unwrap()
    .join()
    .unwrap();
    assert_ne!(id, std::process::id());
    assert_eq!((&*name, is_daemon), ("process", false));
    assert_eq!((current().name(), current().is_daemon()), ("main", false));
}

fn n02_a_daemon_s_children_are_daemons() {
    let of_child = || {
        let child = Process::start(|| current().is_daemon()).unwrap();
        let told = child.is_daemon();
        (told, child.join().unwrap())
    };
    for is_daemon in [true, false] {
        let child = Process::builder().daemon(is_daemon).start(of_child).unwrap();
        assert_eq!(child.is_daemon(), is_daemon);
        assert_eq!(child.join().unwrap(), (is_daemon, is_daemon));
    }
}

fn n03_the_parent_has_a_number_and_a_name() {
    assert!(parent().is_none());
    let child = Process::builder()
        .name("middle")
        .start(|| {
            let above = parent().unwrap();
            let below = Process::start(|| {
                let above = parent().unwrap();
                (above.id(), above.name().to_owned())
            });
            (above.id(), above.name().to_owned(), std::process::id(), below.unwrap().join().unwrap())
        })
        .unwrap();
    let (id, name, own, (below, below_name)) = child.join().unwrap();
    assert_eq!((id, &*name), (std::process::id(), "main"));
    assert_eq!((below, &*below_name), (own, "middle"));
}

fn n04_a_grandchild_sees_its_parent_end() {
    let (told, heard) = channel::<bool>().unwrap();
    let child = Process::start(move || {
        let told = told.clone();
        let below = Process::start(move || {
            let above = parent().unwrap();
            assert!(above.is_alive());
            told.send(&above.wait_timeout(Duration::ZERO).unwrap()).unwrap();
            let ended = above.wait_timeout(LIMIT).unwrap();
            told.send(&(ended && !above.is_alive())).unwrap();
        });
        below.unwrap();
        sleep(LONG);
    })
    .unwrap();
    assert!(!heard.recv().unwrap());
    child.kill().unwrap();
    assert!(heard.recv().unwrap());
    child.wait().unwrap();
    assert!(heard.recv().is_err());
}

fn n05_alive_between_start_and_end() {
    assert!(active_children().is_empty());
    let child = sleeper();
    assert!(child.is_alive());
    assert_eq!(child.exit_code(), None);
    assert_eq!(active_children().iter().map(|child| child.id()).collect::<Vec<_>>(), [child.id()]);
    child.terminate().unwrap();
    child.wait().unwrap();
    assert!(!child.is_alive());
    assert!(active_children().is_empty());
    let child = Process::start(|| ()).unwrap();
    child.wait().unwrap();
    assert_eq!(child.exit_code(), Some(0));
    child.join().unwrap();
}

fn n06_no_time_to_wait_is_no_wait() {
    let child = sleeper();
    let begin = Instant::now();
    assert!(child.wait_timeout(Duration::ZERO).unwrap().is_none());
    assert!(child.wait_deadline(begin).unwrap().is_none());
    let child = child.join_timeout(Duration::ZERO).unwrap_err();
    child.kill().unwrap();
    assert!(child.wait_timeout(LIMIT).unwrap().is_some());
}

fn n07_terminate_and_kill() {
    let child = sleeper();
    child.terminate().unwrap();
    assert!(matches!(child.join(), Err(ProcessError::Killed { signal: libc::SIGTERM, .. })));
    let child = sleeper();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(child.exit_code(), Some(-libc::SIGKILL));
    // To nobody, and nobody else.
    child.kill().unwrap();
    child.terminate().unwrap();
}

fn n08_the_end_may_be_asked_for_again() {
    let child = Process::start(|| 7).unwrap();
    for _ in 0..2 {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(child.join().unwrap(), 7);
}

fn n10_who_started_it_alone_may_join_it() {
    let child = sleeper();
    let other = Process::start(|| {
        let refused = child.wait().unwrap_err().downcast::<ProcessError>().unwrap();
        assert!(matches!(refused, ProcessError::NotOurs));
        assert!(child.kill().is_err() && !child.is_alive());
        active_children().len()
    });
    assert_eq!(other.unwrap().join().unwrap(), 0);
    assert!(child.is_alive());
    child.kill().unwrap();
    child.wait().unwrap();
}

fn descend(depth: u32) -> Vec<u32> {
    let mut depths = vec![depth];
    if depth < 3 {
        for _ in 0..2 {
            depths.extend(Process::start(|| descend(depth + 1)).unwrap().join().unwrap());
        }
    }
    depths
}

fn n11_children_of_children() {
    let depths = Process::start(|| descend(0)).unwrap().join().unwrap();
    assert_eq!(depths, [0, 1, 2, 3, 3, 2, 3, 3, 1, 2, 3, 3, 2, 3, 3]);
}

fn n12_the_descriptor_tells_of_the_end() {
    let child = sleeper();
    let error = wait_fd(&child, Interest::READABLE, Some(Duration::from_millis(1))).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    child.kill().unwrap();
    assert!(wait_fd(child.as_fd(), Interest::READABLE, Some(LIMIT)).unwrap().is_readable());
    child.wait().unwrap();
}

fn n14_a_hundred_children() {
    let children: Vec<_> = (0..100_u32)
        .map(|number| Process::start(move || (sleep(Duration::from_millis(10)), number).1).unwrap())
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        assert_eq!(child.join().unwrap(), number as u32);
    }
    let children: Vec<_> = (0..100).map(|_| sleeper()).collect();
    children.iter().for_each(|child| child.terminate().unwrap());
    for child in children {
        child.wait().unwrap();
        assert_eq!(child.exit_code(), Some(-libc::SIGTERM));
    }
}

fn n15_what_the_closure_owns_goes_with_it() {
    let (value, seen) = (Rc::new(Cell::new(1)), Rc::new(Cell::new(0)));
    let weak = Rc::downgrade(&value);
    let child = Process::start(move || value.get()).unwrap();
    assert!(weak.upgrade().is_none(), "the parent's copy is dropped");
    assert_eq!(child.join().unwrap(), 1);
    let child = Process::start(|| seen.set(7)).unwrap();
    child.join().unwrap();
    assert_eq!(seen.get(), 0, "that was a copy");
}

fn n16_each_child_has_as_many_descriptors() {
    let mut counts = Vec::new();
    let (mut alive, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        alive.push(sleeper());
        let (mine, theirs) = greenloop::process::pipe::<u8, u64>().unwrap();
        let child = Process::start(move || theirs.send(&(open_files().len() as u64)).unwrap()).unwrap();
        counts.push(mine.recv().unwrap());
        child.join().unwrap();
        // Of a channel that stays here nothing is there.
        alive.push(Process::start(|| sleep(LONG)).unwrap());
        kept.push(mine);
    }
    assert_eq!(counts, [counts[0]; 5]);
    alive.iter().for_each(|child| child.kill().unwrap());
    alive.iter().for_each(|child| assert!(!child.wait().unwrap().success()));
}

fn n17_the_child_ends_with_its_closure() {
    let child = Process::start(|| {
        drop(spawn(|| sleep(LONG)));
        yield_now();
        5
    });
    assert_eq!(child.unwrap().join().unwrap(), 5);
}

fn n18_closed_standard_streams() {
    let child = Process::start(|| {
        // SAFETY: nobody in this process uses them but `print`.
        (0..3).for_each(|number| assert_eq!(unsafe { libc::close(number) }, 0));
        print!("nowhere");
        let inner = Process::start(|| {
            print!("nowhere");
            8
        });
        inner.unwrap().join().unwrap()
    });
    assert_eq!(child.unwrap().join().unwrap(), 8);
}

fn n20_a_panic_reaches_the_parent_and_the_standard_error_once() {
    let child = Process::start(|| -> u32 { panic!("no {}", "ink") }).unwrap();
    child.wait().unwrap();
    assert_eq!(child.exit_code(), Some(101));
    let Err(ProcessError::Panicked { message, backtrace }) = child.join() else { panic!("it panicked") };
    assert_eq!(message, "no ink");
    assert!(backtrace.starts_with("at tests/processes/start.rs:"), "{backtrace}");
}

fn n21_exit_codes() {
    for code in [0, 1, 7, 255] {
        let child = Process::start(move || -> u8 { std::process::exit(code) }).unwrap();
        child.wait().unwrap();
        assert_eq!(child.exit_code(), Some(code));
        assert!(matches!(child.join(), Err(ProcessError::Exited(told)) if told == code));
    }
    let child = Process::start(|| -> u8 { std::panic::resume_unwind(Box::new(7)) }).unwrap();
    assert!(matches!(child.join(), Err(ProcessError::Panicked { message, .. }) if message == "Box<dyn Any>"));
    // SAFETY: takes no pointers.
    let child = Process::start(|| unsafe { libc::raise(libc::SIGUSR1) }).unwrap();
    assert!(matches!(child.join(), Err(ProcessError::Killed { signal: libc::SIGUSR1, core_dumped: false })));
}

fn n22_a_foreign_thread_is_refused_with_the_cure() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let refused = Process::start(|| ()).unwrap_err();
    assert!(matches!(refused, StartError::ForeignThreads { count: 1 }), "{refused:?}");
    assert!(refused.to_string().contains("process::Zygote"));
    drop(release);
    thread.join().unwrap().unwrap_err();
    Process::start(|| ()).unwrap().join().unwrap();
}

fn n23_killed_before_it_began() {
    for _ in 0..50 {
        let child = Process::start(|| 7).unwrap();
        child.kill().unwrap();
        match child.join() {
            Ok(value) => assert_eq!(value, 7),
            Err(ProcessError::Killed { signal, .. }) => assert_eq!(signal, libc::SIGKILL),
            Err(error) => panic!("{error}"),
        }
    }
}

fn a_daemon_ends_with_its_parent() {
    for is_daemon in [true, false] {
        let (told, heard) = channel::<u32>().unwrap();
        let child = Process::start(move || {
            let below = Process::builder().daemon(is_daemon).start(move || {
                told.send(&std::process::id()).unwrap();
                sleep(Duration::from_millis(if is_daemon { 3_600_000 } else { 100 }));
                told.send(&0).unwrap();
            });
            below.unwrap();
            sleep(LONG);
        })
        .unwrap();
        assert_ne!(heard.recv().unwrap(), 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(heard.recv().is_err(), is_daemon);
    }
}

fn an_idle_pool_is_no_obstacle() {
    assert_eq!(greenloop::threadpool::unblock(|| 7), 7);
    let child = Process::start(|| greenloop::threadpool::unblock(|| 8)).unwrap();
    assert_eq!(child.join().unwrap(), 8);
}

fn what_watches_the_process_is_no_obstacle() {
    // It tells of each start, which keeps the hub for longer.
    let limit = Duration::from_millis(1);
    let detector = detect(limit).on_report(|blocked| drop(blocked.to_string())).start().unwrap();
    let (sender, dumps) = std::sync::mpsc::channel();
    dump_on(SIGUSR1, move |dump| sender.send(dump.hubs().len()).unwrap()).unwrap();
    for number in 0..20 {
        let child = Process::start(move || spawn(move || number).join().unwrap()).unwrap();
        assert_eq!(child.join().unwrap(), number);
        // SAFETY: takes no pointers.
        unsafe { libc::raise(SIGUSR1) };
        while dumps.try_recv().is_err() {
            yield_now();
        }
    }
    detector.stop();
}

fn a_large_result_comes_whole() {
    let child = Process::start(|| vec![7_u8; 16 << 20]).unwrap();
    let bytes = child.join().unwrap();
    assert!(bytes.len() == 16 << 20 && bytes.iter().all(|&byte| byte == 7));
    let child = Process::start(|| (0..100_000_u64).collect::<Vec<_>>()).unwrap();
    assert!(child.join().unwrap().into_iter().eq(0..100_000));
}

fn a_panic_as_the_parent_drops_the_closure_leaves_no_child_waiting() {
    struct Panics(u32);
    impl Drop for Panics {
        fn drop(&mut self) {
            if std::process::id() == self.0 {
                panic!("dropped here");
            }
        }
    }
    let panics = Panics(std::process::id());
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Process::start(move || {
            let _panics = &panics;
        })
    }));
    assert!(started.is_err());
    until("the child is gone", || {
        active_children();
        std::fs::read_to_string("/proc/thread-self/children").unwrap().is_empty()
    });
}

fn a_result_with_descriptors_in_it() {
    let child = Process::start(|| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"from the child").unwrap();
        BTreeMap::from([("reader".to_owned(), OwnedFd::from(reader))])
    });
    let mut files = child.unwrap().join().unwrap();
    let mut text = String::new();
    std::io::PipeReader::from(files.remove("reader").unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the child");
}

fn dropped_handles_leave_no_zombie() {
    (0..20).for_each(|_| drop(Process::start(|| ()).unwrap()));
    until("they are forgotten", || active_children().is_empty());
}

fn the_output_is_written_once() {
    // To a pipe in the place of the standard output, which is then no line buffer's.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = Process::start(move || {
        // SAFETY: the number is the standard output's, which stays open.
        unsafe { libc::dup2(writer.as_raw_fd(), 1) };
        print!("parent ");
        Process::start(|| print!("child ")).unwrap().join().unwrap();
        print!("parent");
    });
    child.unwrap().join().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "parent child parent");
}

fn a_green_thread_may_start_one() {
    let value = spawn(|| {
        yield_now();
        let child = Process::start(|| {
            let tasks: Vec<_> = (0..10_u64).map(|number| spawn(move || number)).collect();
            tasks.into_iter().map(|task| task.join().unwrap()).sum::<u64>()
        });
        child.unwrap().join().unwrap()
    });
    assert_eq!(value.join().unwrap(), 45);
}

fn it_can_be_waited_for_beside_others() {
    let (long, short) = (sleeper(), Process::start(|| ()).unwrap());
    assert_eq!(wait_any([&long, &short]).unwrap().id(), short.id());
    let event = greenloop::event::Event::new();
    let all: [&dyn Waitable; 3] = [&long, &event, &short];
    assert_eq!(iwait(all).timeout(Duration::from_millis(5)).count(), 1);
    long.kill().unwrap();
    assert_eq!(iwait(all).timeout(Duration::from_millis(50)).count(), 2);
    short.join().unwrap();
}

fn a_kill_of_who_waits_leaves_it_alone() {
    let child = Rc::new(sleeper());
    let waiter = spawn({
        let child = child.clone();
        move || drop(child.wait())
    });
    yield_now();
    waiter.kill();
    assert!(waiter.join().unwrap_err().is_killed());
    assert!(with_timeout(Duration::from_millis(1), || child.wait()).is_err());
    assert!(child.is_alive());
    child.kill().unwrap();
    child.wait().unwrap();
}

fn the_end_of_one_whose_status_was_taken() {
    let child = Process::start(|| 7).unwrap();
    greenloop::process::wait_pid(child.id()).unwrap();
    let error = child.wait().unwrap_err().downcast::<ProcessError>().unwrap();
    assert!(error.to_string().contains("SIGCHLD"), "{error}");
    assert_eq!(child.exit_code(), None);
    // It was told all the same.
    assert_eq!(child.join().unwrap(), 7);
}

fn a_fork_amid_a_panic_is_refused() {
    struct Starts(Rc<Cell<bool>>);
    impl Drop for Starts {
        fn drop(&mut self) {
            self.0.set(matches!(Process::start(|| ()), Err(StartError::Unwinding(_))));
        }
    }
    let refused = Rc::new(Cell::new(false));
    let starts = Starts(refused.clone());
    let task = spawn(move || {
        let _starts = starts;
        std::panic::resume_unwind(Box::new("on"));
    });
    assert!(task.join().is_err());
    assert!(refused.get());
}
