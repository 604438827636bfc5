use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use greenloop::error::{ProcessError, StartError};
use greenloop::process::{
    Incoming, Process, Sender, Wire, Zygote, active_children, channel, current, parent,
};
use greenloop::processes::ProcessPool;
use greenloop::processes::shared::{Array, Lock, Memory, Value};
use greenloop::signal::{self, SIGINT};
use greenloop::{sleep, spawn};

use crate::pools::{begin_group, press_ctrl_c};
use crate::{LIMIT, LONG, tests, until};

tests! {
    a_function_and_its_argument,
    it_starts_beside_other_threads,
    n07_terminate_and_kill_of_its_children,
    n19_killed_it_leaves_its_children_running,
    it_outlives_ctrl_c_as_its_owner_does,
    dropped_it_tells_how_its_children_end,
    n20_a_panic_comes_from_there_too tells "no ink",
    n21_exit_codes_from_there_too,
    n14_a_hundred_of_its_children,
    an_argument_that_is_an_end,
    arguments_that_are_shared_memory,
    who_is_whose,
    a_daemon_of_a_zygote_ends_with_its_program,
    a_daemon_that_computes_ends_with_its_program,
    a_start_given_up_leaves_nothing,
    killed_at_random,
}

fn a_function_and_its_argument() {
    let zygote = Zygote::start().unwrap();
    let child =
        zygote.run(|(text, count): (String, usize)| text.repeat(count), ("ab".to_owned(), 3)).unwrap();
    assert_eq!(child.join().unwrap(), "ababab");
    // What the parent has become is nothing to it.
    let child = zygote.run(|bytes: Vec<u8>| bytes.len(), vec![0; 5 << 20]).unwrap();
    assert_eq!(child.join().unwrap(), 5 << 20);
    assert!(active_children().is_empty());
}

fn it_starts_beside_other_threads() {
    let zygote = Zygote::start().unwrap();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    assert!(matches!(Process::start(|| ()), Err(StartError::ForeignThreads { .. })));
    let child = zygote.run(|number: u32| number + 1, 1).unwrap();
    assert_eq!(child.join().unwrap(), 2);
    drop(release);
    drop(thread.join());
}

fn it_outlives_ctrl_c_as_its_owner_does() {
    begin_group();
    let (told, heard) = std::sync::mpsc::channel();
    let _handler = signal::on(SIGINT, move || told.send(()).unwrap()).unwrap();
    let zygote = Zygote::start().unwrap();
    let id = zygote.id();
    let (tell, begun) = channel::<()>().unwrap();
    let live = |tell: Sender<()>| {
        tell.send(&()).unwrap();
        sleep(LONG);
    };
    let child = zygote.run(live, tell).unwrap();
    begun.recv().unwrap();
    press_ctrl_c();
    until("it is heard", || heard.try_recv().is_ok());
    // It is a process of the program's, and hears nothing.
    assert!(matches!(child.join(), Err(ProcessError::Killed { signal: SIGINT, .. })));
    let child = zygote.run(|number: u32| number + 1, 1).unwrap();
    assert_eq!(child.join().unwrap(), 2);
    assert_eq!(zygote.id(), id);
}

fn n07_terminate_and_kill_of_its_children() {
    let zygote = Zygote::start().unwrap();
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let child = zygote.run(|()| sleep(LONG), ()).unwrap();
        assert!(child.is_alive());
        assert_eq!(active_children().len(), 1);
        child.send_signal(signal).unwrap();
        assert!(matches!(child.join(), Err(ProcessError::Killed { signal: told, .. }) if told == signal));
    }
}

fn n19_killed_it_leaves_its_children_running() {
    for signal in [libc::SIGUSR1, libc::SIGKILL] {
        let zygote = Zygote::start().unwrap();
        let (go, wait) = channel::<u32>().unwrap();
        let before = zygote.run(|wait| wait.recv().unwrap() + 1, wait).unwrap();
        let ends = zygote.run(|()| sleep(LONG), ()).unwrap();
        let old = zygote.id();
        // SAFETY: takes no pointers; the number is the zygote's, which has not been waited for.
        unsafe { libc::kill(old as libc::pid_t, signal) };
        until("another", || {
            let after = zygote.run(|number: u32| number * 2, 4).unwrap();
            assert!(matches!(after.join(), Ok(8) | Err(ProcessError::Unknown(_))));
            zygote.id() != old
        });
        let after = zygote.run(|number: u32| number * 2, 4).unwrap();
        assert_eq!(after.join().unwrap(), 8);
        assert!(before.is_alive());
        go.send(&1).unwrap();
        assert_eq!(before.join().unwrap(), 2);
        ends.kill().unwrap();
        assert!(matches!(ends.join(), Err(ProcessError::Unknown(_))));
    }
}

fn dropped_it_tells_how_its_children_end() {
    let zygote = Zygote::start().unwrap();
    let (go, wait) = channel::<i32>().unwrap();
    let child = zygote.run(|wait| -> u32 { std::process::exit(wait.recv().unwrap()) }, wait).unwrap();
    let id = zygote.id() as libc::pid_t;
    drop(zygote);
    go.send(&9).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    until("it has ended, too", || {
        assert!(active_children().is_empty());
        // SAFETY: takes no pointers, and sends nothing.
        unsafe { libc::kill(id, 0) != 0 }
    });
}

fn n20_a_panic_comes_from_there_too() {
    let zygote = Zygote::start().unwrap();
    let child = zygote.run(|()| -> u32 { panic!("no ink") }, ()).unwrap();
    child.wait().unwrap();
    assert_eq!(child.exit_code(), Some(101));
    assert!(matches!(child.join(), Err(ProcessError::Panicked { message, .. }) if message == "no ink"));
}

fn n21_exit_codes_from_there_too() {
    let zygote = Zygote::start().unwrap();
    let child = zygote.run(|code: i32| -> u32 { std::process::exit(code) }, 9).unwrap();
    child.wait().unwrap();
    child.wait().unwrap();
    assert_eq!(child.exit_code(), Some(9));
    assert!(matches!(child.join(), Err(ProcessError::Exited(9))));
}

fn n14_a_hundred_of_its_children() {
    let zygote = Zygote::start().unwrap();
    let children: Vec<_> = (0..100_u32).map(|number| zygote.run(|number| number, number).unwrap()).collect();
    for (number, child) in children.into_iter().enumerate() {
        assert_eq!(child.join().unwrap(), number as u32);
    }
}

fn an_argument_that_is_an_end() {
    let zygote = Zygote::start().unwrap();
    let (sender, receiver) = channel::<u32>().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let run = |(sender, file): (Sender<u32>, OwnedFd)| {
        std::fs::File::from(file).write_all(b"written").unwrap();
        sender.send(&7).unwrap();
    };
    let child = zygote.run(run, (sender, writer.into())).unwrap();
    assert_eq!(receiver.recv().unwrap(), 7);
    assert!(receiver.recv().is_err(), "it was the only sender");
    assert_eq!(std::io::read_to_string(reader).unwrap(), "written");
    child.join().unwrap();
}

fn arguments_that_are_shared_memory() {
    let zygote = Zygote::start().unwrap();
    let (memory, array) = (Memory::new(3).unwrap(), Array::from_slice(&[1_u16, 2]).unwrap());
    let (count, lock) = (Value::new(0_u64).unwrap(), Lock::new().unwrap());
    let held = lock.lock();
    let run = |(memory, array, count, lock): (Memory, Array<u16>, Value<u64>, Lock)| {
        memory.write_at(1, b"x").unwrap();
        array.set(1, array.get(0).unwrap() + 6);
        count.update(|count| count + 1);
        assert!(lock.try_lock().is_none());
        count.update(|count| count + 1);
        drop(lock.lock());
    };
    let child = zygote.run(run, (memory.clone(), array.clone(), count.clone(), lock.clone())).unwrap();
    until("the child has found it taken", || count.get() == 2);
    drop(held);
    child.join().unwrap();
    let mut bytes = [0; 3];
    memory.read_at(0, &mut bytes).unwrap();
    assert_eq!((&bytes, array.to_vec()), (b"\0x\0", vec![1, 7]));
    assert!(<Lock as Wire>::take(&mut Incoming::new(&[])).is_none());
}

fn who_is_whose() {
    let zygote = Zygote::start().unwrap();
    let child = Process::builder().name("named").start_in(
        &zygote,
        |()| {
            let above = parent().unwrap();
            (current().name().to_owned(), above.id(), above.name().to_owned(), above.is_alive())
        },
        (),
    );
    let expected = ("named".to_owned(), std::process::id(), "main".to_owned(), true);
    assert_eq!(child.unwrap().join().unwrap(), expected);
}

fn a_daemon_of_a_zygote_ends_with_its_program() {
    let (told, heard) = channel::<u32>().unwrap();
    let program = Process::start(move || {
        let zygote = Zygote::start().unwrap();
        let lasts = |told: Sender<u32>| {
            told.send(&1).unwrap();
            sleep(LONG);
        };
        drop(Process::builder().daemon(true).start_in(&zygote, lasts, told).unwrap());
        sleep(LONG);
    });
    let program = program.unwrap();
    assert_eq!(heard.recv().unwrap(), 1);
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(heard.recv_timeout(LIMIT).is_err_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof));
}

/// Of a zygote, and of a pool: the kernel knows another parent.
fn a_daemon_that_computes_ends_with_its_program() {
    let computes = |told: Sender<u32>| {
        told.send(&1).unwrap();
        let begin = Instant::now();
        // For ever, unless the test fails.
        while begin.elapsed() < 2 * LIMIT {}
    };
    let of_zygote = move |told| {
        let zygote = Zygote::start().unwrap();
        drop(Process::builder().daemon(true).start_in(&zygote, computes, told).unwrap());
        sleep(LONG);
    };
    let of_pool = move |told| {
        let pool = ProcessPool::new(1, computes).unwrap();
        pool.apply(told).unwrap();
    };
    let programs: [&dyn Fn(Sender<u32>); 2] = [&of_zygote, &of_pool];
    for run in programs {
        let (told, heard) = channel::<u32>().unwrap();
        let program = Process::start(move || run(told)).unwrap();
        assert_eq!(heard.recv().unwrap(), 1);
        program.kill().unwrap();
        program.wait().unwrap();
        let told = heard.recv_timeout(LIMIT);
        assert!(told.is_err_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof));
    }
}

fn a_start_given_up_leaves_nothing() {
    let zygote = Zygote::start().unwrap();
    for _ in 0..50 {
        let _ = greenloop::with_timeout(Duration::from_micros(100), || {
            drop(zygote.run(|()| (), ()).unwrap());
        });
    }
    assert_eq!(zygote.run(|()| 7, ()).unwrap().join().unwrap(), 7);
    until("they are forgotten", || active_children().is_empty());
}

fn killed_at_random() {
    let zygote = Zygote::start().unwrap();
    let mut random = crate::support::Random::new(19);
    for number in 0..200_u32 {
        let child = zygote.run(|number: u32| number, number).unwrap();
        let pause = Duration::from_micros(random.below(1500) as u64);
        let killer = spawn(move || {
            sleep(pause);
            drop(child.kill());
            child
        });
        match killer.join().unwrap().join() {
            Ok(value) => assert_eq!(value, number),
            Err(ProcessError::Killed { signal: libc::SIGKILL, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
