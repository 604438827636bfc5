//! What is patched, and what leads where.

use std::time::{Duration, Instant};

use greenloop::monkey::{Parts, is_patched, original, patch, patch_all, unpatch};

use crate::{in_a_child, patched};

/// Conformance 159.
#[test]
fn every_name_leads_here_and_patching_again_changes_nothing() {
    let first = patch_all();
    assert!(first.is_complete(), "{first}");
    let again = patch_all();
    assert_eq!(first.to_string(), again.to_string());
    assert!(is_patched(Parts::ALL));
    assert!(first.to_string().starts_with(
        "patched: Parts(TIME | SOCKET | SELECT | DNS | PROCESS | FILES | THREADS | THREAD_LOCALS)\n"
    ));
}

/// Conformance 160.
#[test]
fn a_thread_without_a_hub_blocks_as_ever() {
    patched(|| {
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(10));
        assert!(start.elapsed() >= Duration::from_millis(10));
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            use std::io::Write;
            (&other).write_all(b"x").unwrap();
        });
        use std::io::Read;
        (&one).read_exact(&mut [0]).unwrap();
        writer.join().unwrap();
    });
}

/// What is patched is one for the whole process, so a process of its own tries it.
#[test]
fn a_part_can_be_left_alone() {
    in_a_child("coverage::a_part_can_be_left_alone", || {
        assert!(!is_patched(Parts::TIME));
        patch(Parts::ALL - Parts::TIME);
        assert!(!is_patched(Parts::ALL) && is_patched(Parts::SOCKET));
        let other = greenloop::spawn(|| ());
        std::thread::sleep(Duration::from_millis(5));
        assert!(!other.is_finished(), "the sleep yielded");
        patch_all();
        std::thread::sleep(Duration::from_millis(5));
        assert!(other.is_finished());
        unpatch(Parts::ALL);
        let other = greenloop::spawn(|| ());
        std::thread::sleep(Duration::from_millis(5));
        assert!(!other.is_finished(), "the sleep yielded");
        other.join().unwrap();
    });
}

#[test]
fn the_originals_stop_the_thread() {
    patched(|| {
        let other = greenloop::spawn(|| ());
        // SAFETY: takes no pointers.
        unsafe { original::usleep(1000) };
        assert!(!other.is_finished());
        other.join().unwrap();
    });
}
