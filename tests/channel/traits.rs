use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};

use greenloop::channel::{
    IntoIter, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, bounded,
};

fn shared<T: Send + Sync>() {}
fn unwound<T: UnwindSafe + RefUnwindSafe>() {}
fn error<T: std::error::Error + 'static>() {}

/// Conformance 167: both ends may go to, and be shared with, other threads if the values may go there.
#[test]
fn ends_are_shared_between_threads() {
    shared::<Sender<Cell<u32>>>();
    shared::<Receiver<Cell<u32>>>();
    shared::<IntoIter<u32>>();
    unwound::<Sender<Cell<u32>>>();
    unwound::<Receiver<Cell<u32>>>();
}

#[test]
fn errors_are_small_and_give_the_value_back() {
    error::<SendError<Cell<u32>>>();
    error::<TrySendError<Cell<u32>>>();
    error::<SendTimeoutError<Cell<u32>>>();
    assert_eq!(size_of::<SendError<u64>>(), 8);
    assert_eq!(TrySendError::from(SendError(1)), TrySendError::Disconnected(1));
    assert_eq!(SendTimeoutError::from(SendError(1)), SendTimeoutError::Disconnected(1));
    assert_eq!(TryRecvError::from(RecvError), TryRecvError::Disconnected);
    assert_eq!(RecvTimeoutError::from(RecvError), RecvTimeoutError::Disconnected);
    assert_eq!(TrySendError::Full(1).into_inner(), 1);
    assert_eq!(format!("{:?}: {0}", SendError(1)), "SendError(..): sending on a disconnected channel");
    assert_eq!(format!("{:?}: {0}", TrySendError::Full(1)), "Full(..): sending on a full channel");
    assert_eq!(
        format!("{:?}: {0}", SendTimeoutError::Timeout(1)),
        "SendTimeoutError(..): timed out waiting on send operation"
    );
    assert_eq!(RecvTimeoutError::Timeout.to_string(), "timed out waiting on receive operation");
    assert_eq!(RecvTimeoutError::Disconnected.to_string(), "channel is empty and disconnected");
}

#[test]
fn ends_are_shown_without_their_values() {
    let (sender, receiver) = bounded(3);
    sender.send(Cell::new(1)).unwrap();
    assert_eq!(format!("{sender:?} {receiver:?}"), "Sender { len: 1, .. } Receiver { len: 1, .. }");
    assert_eq!(format!("{:?}", receiver.iter()), "Iter { .. }");
}
