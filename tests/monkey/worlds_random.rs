//! What is random in the world of a test: the same for the same seed.

use std::collections::HashMap;
use std::ffi::c_void;
use std::hash::{BuildHasher, RandomState};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Mutex;

use greenloop::testing::{self, Search, explore};
use greenloop::{Builder, spawn};

use crate::{patched, support};

/// Fills 20 bytes by one of the ways in which C gives random ones.
type Fill = fn(*mut c_void) -> bool;

const WAYS: [Fill; 3] = [
    // SAFETY: as many bytes are there.
    |bytes| unsafe { libc::getrandom(bytes, 20, 0) } == 20,
    // SAFETY: as above.
    |bytes| unsafe { libc::getentropy(bytes, 20) } == 0,
    // SAFETY: as above.
    |bytes| unsafe { libc::syscall(libc::SYS_getrandom, bytes, 20, libc::GRND_NONBLOCK) } == 20,
];

/// What C has given, and two orders of a map.
type Drawn = (Vec<[u8; 20]>, [Vec<u32>; 2]);

/// All that is random: what C gives, and in which order a map has its keys, here and in a green thread with variables of its own.
fn drawn() -> Drawn {
    let bytes = WAYS.map(|fill| {
        let mut bytes = [0; 20];
        assert!(fill(bytes.as_mut_ptr().cast()));
        bytes
    });
    let keys = || (0..100).map(|key| (key, ())).collect::<HashMap<u32, ()>>().into_keys().collect();
    (bytes.to_vec(), [keys(), spawn(keys).join().unwrap()])
}

/// What was drawn in each of three runs.
fn explored(seed: u64) -> Vec<Drawn> {
    let all = Mutex::new(Vec::new());
    explore(Search::random(3).seed(seed), |_| all.lock().unwrap().push(drawn()));
    all.into_inner().unwrap()
}

#[test]
fn what_is_random_is_the_same_for_the_same_seed() {
    let (one, again, other) = patched(|| (explored(1), explored(1), explored(2)));
    assert_eq!(one, again);
    // Each of them is another.
    let mut all: Vec<_> = one.iter().chain(&other).flat_map(|(bytes, _)| bytes).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 2 * 3 * WAYS.len());
    let mut orders: Vec<_> = one.iter().chain(&other).flat_map(|(_, orders)| orders).collect();
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), 2 * 3 * 2);
}

#[test]
fn a_test_without_a_seed_draws_the_same_in_each_run() {
    patched(|| {
        let run = || testing::run(|_| drawn());
        assert_eq!(run(), run());
        assert_ne!(drawn(), drawn(), "outside of worlds it is the kernel's");
    });
}

/// Nothing is written there, in a world neither.
#[test]
fn the_kernel_refuses_what_it_does() {
    patched(|| {
        testing::run(|_| {
            let mut bytes = [7_u8; 300];
            // SAFETY: so many bytes are there.
            assert_eq!(unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), 300) }, -1);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), 300, 1 << 30) }, -1);
            assert_eq!(bytes, [7; 300]);
            let nowhere: *mut c_void = std::ptr::without_provenance_mut(4096);
            // SAFETY: the kernel finds out that nothing is there.
            let result = unsafe { libc::syscall(libc::SYS_getrandom, nowhere, 1, 0) };
            let error = std::io::Error::last_os_error();
            assert_eq!((result, error.raw_os_error()), (-1, Some(libc::EFAULT)));
        });
    });
}

/// A bug that only some orders of a map show.
fn order_bug(search: Search) {
    explore(search, |_| {
        let odd = || RandomState::new().hash_one(5) % 2 == 1;
        if Builder::new().isolated(true).spawn(odd).unwrap().join().unwrap() {
            resume_unwind(Box::new("the bug"));
        }
    });
}

/// Called below in a process of its own, and in all others does nothing.
#[test]
fn with_an_order_bug() {
    if std::env::var_os("GREENLOOP_TEST_BUG").is_some() {
        order_bug(Search::random(100));
    }
}

#[test]
fn what_a_failure_tells_has_its_random_bytes() {
    let told = |search: Search| {
        let failed = catch_unwind(|| patched(|| order_bug(search))).unwrap_err();
        let words = *failed.downcast::<String>().unwrap();
        assert!(!words.contains("did not fail again"), "{words}");
        words
    };
    let words = told(Search::random(100));
    (0..5).for_each(|seed| drop(told(Search::priorities(3, 100).seed(seed))));
    let schedule = words.rsplit('=').next().unwrap();
    // Without a seed in the text it is 0, as without a text.
    let mut others = (1..100).map(|seed| format!("1:r{seed}"));
    let verdict = |schedule: &str| {
        let output = support::this_program()
            .args(["--exact", "worlds_random::with_an_order_bug", "--nocapture", "--test-threads=1"])
            .env("GREENLOOP_TEST_BUG", "1")
            .env("GREENLOOP_SCHEDULE", schedule)
            .output()
            .unwrap();
        output.status.success()
    };
    assert!(!verdict(schedule) && !verdict(schedule), "{schedule}");
    assert!(others.any(|schedule| verdict(&schedule)));
}
