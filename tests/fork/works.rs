use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::Duration;

use greenloop::hub::Hub;
use greenloop::io::pipe;
use greenloop::net::{TcpListener, TcpStream, lookup_host};
use greenloop::process::{Command, wait_pid};
use greenloop::threadpool::unblock;
use greenloop::{LoopExit, channel, fs, idle, sleep, spawn, with_timeout, yield_now};

use crate::support::open_files;
use crate::{LIMIT, alone, forked, succeeds};

/// A conversation over sockets, with timers, pools and other threads.
fn everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        sleep(Duration::from_millis(1));
        stream.write_all(b"hello").unwrap();
    });
    let mut text = String::new();
    TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    server.join().unwrap();
    assert_eq!(unblock(|| 7), 7);
    assert!(fs::exists("/proc").unwrap());
    assert!(lookup_host("localhost:80").unwrap().count() > 0);
    assert!(with_timeout(Duration::from_millis(1), || sleep(LIMIT)).is_err());
    let (sender, receiver) = channel::unbounded();
    let thread = std::thread::spawn(move || (0..100).for_each(|number| sender.send(number).unwrap()));
    assert!(receiver.iter().eq(0..100));
    thread.join().unwrap();
    assert!(Command::new("true").status().unwrap().success());
    Hub::current().join();
    idle();
}

/// Cases 95 and 133.
#[test]
fn everything_works_in_the_child_and_in_the_parent() {
    alone(|| {
        everything();
        let before = open_files();
        let child = forked(everything);
        everything();
        succeeds(child);
        everything();
        assert_eq!(open_files(), before);
        // One that has a hub with nothing to wait for yet, and one on a thread without a hub.
        let child = std::thread::spawn(|| forked(everything)).join().unwrap();
        succeeds(child);
        let child = std::thread::spawn(|| {
            yield_now();
            forked(everything)
        })
        .join()
        .unwrap();
        succeeds(child);
    });
}

#[test]
fn a_childs_child_works_too() {
    alone(|| {
        let child = forked(|| {
            everything();
            succeeds(forked(|| {
                everything();
                succeeds(forked(everything));
            }));
            everything();
        });
        everything();
        succeeds(child);
    });
}

/// Both know the descriptor, and neither takes it out of the other's hub.
#[test]
fn a_pipe_that_both_have_is_heard_by_both() {
    alone(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        let (mut back, mut answer) = pipe().unwrap();
        // Known to the parent's hub before the fork.
        let early = spawn(move || {
            reader.read_exact(&mut [0]).unwrap();
            reader
        });
        yield_now();
        writer.write_all(b"a").unwrap();
        let mut reader = early.join().unwrap();
        let child = forked(|| {
            let mut byte = [0];
            answer.write_all(b"begun").unwrap();
            reader.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"b");
            drop(reader.try_clone().unwrap());
            answer.write_all(&byte).unwrap();
        });
        let mut five = [0; 5];
        back.read_exact(&mut five).unwrap();
        sleep(Duration::from_millis(2));
        writer.write_all(b"b").unwrap();
        back.read_exact(&mut [0]).unwrap();
        succeeds(child);
        let late = spawn(move || reader.read(&mut [0]).unwrap());
        yield_now();
        writer.write_all(b"c").unwrap();
        assert_eq!(late.join().unwrap(), 1);
    });
}

/// What wakes one of them rings for nobody else.
#[test]
fn bells_are_heard_at_home_only() {
    alone(|| {
        yield_now();
        idle();
        sleep(Duration::from_millis(1));
        let rounds = || {
            let (sender, receiver) = channel::bounded(0);
            let thread = std::thread::spawn(move || {
                for number in 0..300 {
                    sender.send(number).unwrap();
                }
            });
            assert!(receiver.iter().eq(0..300));
            thread.join().unwrap();
        };
        rounds();
        let children: Vec<_> = (0..3).map(|_| forked(rounds)).collect();
        rounds();
        children.into_iter().for_each(succeeds);
    });
}

#[test]
fn a_deadlock_in_the_child_is_reported_there() {
    alone(|| {
        let other = spawn(|| sleep(Duration::from_millis(50)));
        let child = forked(|| {
            let deadlock = std::panic::catch_unwind(|| greenloop::event::Event::new().wait()).unwrap_err();
            assert!(deadlock.is::<LoopExit>());
        });
        succeeds(child);
        other.join().unwrap();
    });
}

/// Case 153: who forks to run another program notices nothing.
#[test]
fn a_fork_with_an_exec_is_no_concern_of_anybody() {
    alone(|| {
        let ticker = spawn(|| (0..20).for_each(|_| sleep(Duration::from_millis(1))));
        everything();
        let before = open_files();
        let mut command = Command::new("sh");
        command.args(["-c", "ls -l /proc/self/fd | wc -l"]);
        let usual = command.output().unwrap();
        // SAFETY: it does nothing; but with it std forks, where it would not otherwise.
        unsafe { command.as_std_mut().pre_exec(|| Ok(())) };
        (0..5).for_each(|_| assert_eq!(command.output().unwrap(), usual));
        assert_eq!(open_files(), before);
        ticker.join().unwrap();
    });
}

#[test]
fn many_children_at_once_each_with_a_hub() {
    alone(|| {
        let log = Arc::new(std::sync::Mutex::new(0));
        let children: Vec<_> = (0..20)
            .map(|number| {
                forked(|| {
                    let tasks: Vec<_> = (0..10).map(|_| spawn(|| sleep(Duration::from_millis(1)))).collect();
                    tasks.into_iter().for_each(|task| task.join().unwrap());
                    *log.lock().unwrap() += number;
                })
            })
            .collect();
        let waiters: Vec<_> =
            children.into_iter().map(|child| spawn(move || wait_pid(child).unwrap())).collect();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap().success()));
        assert_eq!(*log.lock().unwrap(), 0);
        // Case 151: a second time there is no such child.
        let child = forked(|| ());
        succeeds(child);
        assert_eq!(wait_pid(child).unwrap_err().raw_os_error(), Some(libc::ECHILD));
        assert!(wait_pid(0).is_err() && wait_pid(u32::MAX).is_err());
    });
}
