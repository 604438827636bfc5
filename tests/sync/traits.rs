use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::LockResult;

use greenloop::sync::{Condvar, Mutex, MutexGuard, Semaphore, SemaphorePermit, WaitTimeoutResult};

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
    shared::<WaitTimeoutResult>();
    synced::<MutexGuard<'_, u32>>();
    sent::<&MutexGuard<'_, u32>>();
}

#[test]
fn primitives_may_be_seen_after_unwinding() {
    unwound::<Mutex<Cell<u32>>>();
    unwound::<Condvar>();
    unwound::<Semaphore>();
}

/// The signatures are std's: code that is generic over neither can move from one to the other by its imports alone.
#[test]
fn the_mutex_has_the_face_of_std() {
    let _: fn(u32) -> Mutex<u32> = Mutex::new;
    let _: fn(Mutex<u32>) -> LockResult<u32> = Mutex::into_inner;
    let _: for<'a> fn(&'a Mutex<u32>) -> LockResult<MutexGuard<'a, u32>> = Mutex::lock;
    let _: for<'a> fn(&'a Condvar, MutexGuard<'a, u32>) -> LockResult<MutexGuard<'a, u32>> = Condvar::wait;
}
