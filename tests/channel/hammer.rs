use std::time::Duration;

use greenloop::channel::{Receiver, SendError, SendTimeoutError, Sender, TrySendError, bounded};

use super::LIMIT;
use super::support::conveyor::{Conveyor, Value, hammer_conveyor};
use super::support::in_any_order;

struct Channel {
    sender: Sender<Value>,
    receiver: Receiver<Value>,
}

impl Conveyor for Channel {
    fn try_put(&self, value: Value) -> Result<(), Value> {
        self.sender.try_send(value).map_err(TrySendError::into_inner)
    }

    fn put_timeout(&self, value: Value, timeout: Duration) -> Result<(), Value> {
        self.sender.send_timeout(value, timeout).map_err(SendTimeoutError::into_inner)
    }

    fn put(&self, value: Value) -> Result<(), Value> {
        self.sender.send(value).map_err(SendError::into_inner)
    }

    fn try_get(&self) -> Option<Value> {
        self.receiver.try_recv().ok()
    }

    fn get_timeout(&self, timeout: Duration) -> Option<Value> {
        self.receiver.recv_timeout(timeout).ok()
    }

    fn get(&self) -> Option<Value> {
        self.receiver.recv().ok()
    }
}

fn hammer(capacity: usize) {
    in_any_order(LIMIT, move || {
        let (sender, receiver) = bounded(capacity);
        hammer_conveyor(Channel { sender, receiver });
    });
}

#[test]
fn a_rendezvous_loses_nothing() {
    hammer(0);
}

#[test]
fn a_channel_of_one_loses_nothing() {
    hammer(1);
}

#[test]
fn a_channel_of_five_loses_nothing() {
    hammer(5);
}

#[test]
fn an_unbounded_channel_loses_nothing() {
    hammer(usize::MAX);
}
