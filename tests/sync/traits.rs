use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::LockResult;

use greenloop::sync::{
    Barrier, BoundedSemaphore, Condvar, LazyLock, Mutex, MutexGuard, Once, OnceLock, ReentrantLock, RwLock,
    RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit, WaitGroup, WaitTimeoutResult,
};

fn shared<T: Send + Sync + ?Sized>() {}
fn sent<T: Send>() {}
fn synced<T: Sync>() {}
fn unwound<T: UnwindSafe + RefUnwindSafe>() {}

/// Conformance 167: all primitives work between OS threads; the negatives are doctests that must not compile.
#[test]
fn primitives_are_shared_between_threads() {
    shared::<Mutex<u32>>();
    shared::<Mutex<Cell<u32>>>();
    shared::<Mutex<dyn Iterator<Item = u32> + Send>>();
    shared::<Condvar>();
    shared::<Semaphore>();
    shared::<SemaphorePermit<'_>>();
    shared::<BoundedSemaphore>();
    shared::<RwLock<u32>>();
    sent::<RwLock<Cell<u32>>>();
    synced::<RwLockReadGuard<'_, u32>>();
    synced::<RwLockWriteGuard<'_, u32>>();
    shared::<ReentrantLock<Cell<u32>>>();
    shared::<Barrier>();
    shared::<WaitGroup>();
    shared::<Once>();
    shared::<OnceLock<u32>>();
    sent::<OnceLock<Cell<u32>>>();
    shared::<LazyLock<u32, Cell<u32>>>();
    shared::<WaitTimeoutResult>();
    synced::<MutexGuard<'_, u32>>();
    sent::<&MutexGuard<'_, u32>>();
}

#[test]
fn primitives_may_be_seen_after_unwinding() {
    unwound::<Mutex<Cell<u32>>>();
    unwound::<Condvar>();
    unwound::<Semaphore>();
    unwound::<BoundedSemaphore>();
    unwound::<RwLock<Cell<u32>>>();
    unwound::<ReentrantLock<u32>>();
    unwound::<Barrier>();
    unwound::<WaitGroup>();
    unwound::<Once>();
    unwound::<OnceLock<u32>>();
    unwound::<LazyLock<u32>>();
}

/// The signatures are std's: code that is generic over neither can move from one to the other by its imports alone.
#[test]
fn the_locks_have_the_face_of_std() {
    let _: fn(u32) -> Mutex<u32> = Mutex::new;
    let _: fn(Mutex<u32>) -> LockResult<u32> = Mutex::into_inner;
    let _: for<'a> fn(&'a Mutex<u32>) -> LockResult<MutexGuard<'a, u32>> = Mutex::lock;
    let _: for<'a> fn(&'a Condvar, MutexGuard<'a, u32>) -> LockResult<MutexGuard<'a, u32>> = Condvar::wait;
    let _: for<'a> fn(&'a RwLock<u32>) -> LockResult<RwLockReadGuard<'a, u32>> = RwLock::read;
    let _: for<'a> fn(&'a RwLock<u32>) -> LockResult<RwLockWriteGuard<'a, u32>> = RwLock::write;
    let _: for<'a> fn(&'a LazyLock<u32>) -> &'a u32 = LazyLock::force;
    let _: fn(&Once, fn()) = Once::call_once;
}

/// A guard of a longer life serves where one of a shorter is asked for, as std's does.
#[test]
fn a_read_guard_is_covariant() {
    fn shorter<'short>(guard: RwLockReadGuard<'short, &'static str>) -> RwLockReadGuard<'short, &'short str> {
        guard
    }
    let lock = RwLock::new("text");
    assert_eq!(*shorter(lock.read().unwrap()), "text");
    assert!(lock.try_write().is_ok(), "it was unlocked");
}
