use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use greenloop::event::Event;
use greenloop::io::pipe;
use greenloop::process::{Command, Stdio};
use greenloop::{Waitable, iwait, sleep, spawn, wait_any, wait_timeout, yield_now};

use crate::support::{each_driver, open_files, run_child, within};
use crate::{LIMIT, LONG, cat, shell};

each_driver! {
    fn others_run_while_one_waits_for_a_child() {
        let mut child = cat().spawn().unwrap();
        let stdin = child.stdin.take();
        let waiter = spawn(move || child.wait().unwrap());
        (0..10).for_each(|_| sleep(Duration::from_millis(1)));
        assert!(!waiter.is_finished());
        drop(stdin);
        assert!(waiter.join().unwrap().success());
    }

    fn statuses_are_those_of_std() {
        assert_eq!(shell("exit 0").status().unwrap().code(), Some(0));
        assert_eq!(shell("exit 42").status().unwrap().code(), Some(42));
        assert_eq!(shell("kill -USR1 $$").status().unwrap().signal(), Some(10));
        let error = Command::new("/no/such/program").status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = Command::new("/").output().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let error = shell("true").current_dir("/no/such/folder").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    fn a_wait_with_a_limit_ends_in_time_or_with_the_child() {
        let mut child = cat().spawn().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.wait_timeout(Duration::from_millis(2)).unwrap(), None);
        drop(child.stdin.take());
        let status = child.wait_timeout(LONG).unwrap().unwrap();
        assert!(status.success());
        // It stays known.
        assert_eq!(child.try_wait().unwrap(), Some(status));
        assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), Some(status));
        assert_eq!(child.wait().unwrap(), status);
        child.kill().unwrap();
        child.send_signal(15).unwrap();
    }

    fn many_children_at_once() {
        let children = (0..50).map(|code| spawn(move || shell(&format!("exit {code}")).status().unwrap().code()));
        let codes: Vec<_> = children.collect::<Vec<_>>().into_iter().map(|child| child.join().unwrap()).collect();
        assert!(codes.into_iter().eq((0..50).map(Some)));
    }

    fn children_are_waited_for_beside_other_things() {
        let mut children: Vec<_> = (0..3).map(|_| cat().spawn().unwrap()).collect();
        let mut inputs: Vec<_> = children.iter_mut().map(|child| child.stdin.take()).collect();
        let event = Event::new();
        let objects: [&dyn Waitable; 2] = [&children[1], &event];
        assert!(wait_timeout(objects, Duration::from_millis(2)).is_empty());
        inputs[1] = None;
        wait_any(objects).unwrap();
        assert!(children[1].is_ready() && !event.is_ready());
        // In the order in which they end; who lives on is forgotten with the iterator.
        let mut ended = iwait(&children);
        assert_eq!(ended.next().unwrap().id(), children[1].id());
        inputs[2] = None;
        assert_eq!(ended.next().unwrap().id(), children[2].id());
        drop(ended);
        assert!(!children[0].is_ready());
        drop(inputs);
        assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
        // Ready still, with the status known.
        assert_eq!(iwait(&children).count(), 3);
    }
}

/// Case 151.
#[test]
fn a_child_that_somebody_else_waited_for_is_no_child_any_more() {
    within(LIMIT, || {
        let mut child = cat().spawn().unwrap();
        drop(child.stdin.take());
        let pid = rustix::process::Pid::from_raw(child.id() as i32);
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
        let error = child.wait().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::CHILD.raw_os_error()));
        let error = child.try_wait().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::CHILD.raw_os_error()));
    });
}

#[test]
fn bad_signals_are_refused() {
    within(LIMIT, || {
        let mut child = cat().spawn().unwrap();
        assert_eq!(child.send_signal(1000).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(child.send_signal(-1).unwrap_err().kind(), ErrorKind::InvalidInput);
        child.send_signal(0).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.wait().unwrap();
    });
}

/// Case 150: what is nonblocking here blocks there, though a clone of it is in use here.
#[test]
fn a_childs_standard_streams_block() {
    within(LIMIT, || {
        let (reader, mut writer) = pipe().unwrap();
        let clone = reader.try_clone().unwrap();
        let flags = shell("cat /proc/self/fdinfo/0 /proc/self/fdinfo/1").stdin(reader).output().unwrap();
        let flags = String::from_utf8(flags.stdout).unwrap();
        let words: Vec<_> = flags.lines().filter_map(|line| line.strip_prefix("flags:")).collect();
        assert_eq!(words.len(), 2, "{flags}");
        for word in words {
            let flags = u32::from_str_radix(word.trim(), 8).unwrap();
            assert_eq!(flags & rustix::fs::OFlags::NONBLOCK.bits(), 0, "{word}");
        }
        let reader = spawn(move || std::io::Read::read(&mut &clone, &mut [0; 8]).unwrap());
        yield_now();
        writer.write_all(b"abc").unwrap();
        assert_eq!(reader.join().unwrap(), 3);
    });
}

#[test]
fn nothing_stays_open_and_no_signal_is_caught() {
    let child = run_child(LIMIT, || {
        let everything = || {
            shell("cat; exit 1").output().unwrap();
            shell("true").status().unwrap();
            let mut child = cat().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            assert!(wait_timeout([&child], Duration::from_millis(1)).is_empty());
            child.wait().unwrap();
            let late = shell("exec sleep 1000").output_timeout(Duration::from_millis(1));
            assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(Command::new("/no/such/program").output().is_err());
        };
        everything();
        let before = open_files();
        (0..5).for_each(|_| everything());
        assert_eq!(open_files(), before);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        let sigchld = 17;
        assert_eq!(u64::from_str_radix(caught, 16).unwrap() >> (sigchld - 1) & 1, 0);
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}

#[test]
fn a_command_tells_what_was_set() {
    let mut command = Command::new("program");
    command.arg("one").args(["two"]).env("NAME", "value").env_remove("OTHER").current_dir("/tmp");
    assert_eq!(command.get_program(), "program");
    assert!(command.get_args().eq(["one", "two"]));
    assert_eq!(command.get_envs().count(), 2);
    assert_eq!(command.get_current_dir().unwrap(), std::path::Path::new("/tmp"));
    assert_eq!(format!("{command:?}"), format!("{:?}", command.as_std()));
}
