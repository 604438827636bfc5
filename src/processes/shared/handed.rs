//! How shared memory travels to another process: as its descriptors, which make the same there.

use super::{Array, Lock, Memory, Plain, Value};
use crate::process::{Incoming, Outgoing, Wire};
use std::os::fd::{AsFd, OwnedFd};

/// The receiver has the same memory.
impl Wire for Memory {
    fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
        into.put_descriptor(self.as_fd());
    }

    fn take(from: &mut Incoming<'_>) -> Option<Memory> {
        Memory::from_descriptor(from.take_descriptor()?).ok()
    }
}

fn take_both(from: &mut Incoming<'_>) -> Option<[OwnedFd; 2]> {
    Some([from.take_descriptor()?, from.take_descriptor()?])
}

macro_rules! with_locks {
    ($([$($generics:tt)*] $type:ty, $what:literal;)*) => { $(
        #[doc = $what]
        impl<$($generics)*> Wire for $type {
            fn put<'a>(&'a self, into: &mut Outgoing<'a>) {
                self.descriptors().into_iter().for_each(|descriptor| into.put_descriptor(descriptor));
            }

            fn take(from: &mut Incoming<'_>) -> Option<$type> {
                <$type>::from_descriptors(take_both(from)?).ok()
            }
        }
    )* };
}
with_locks! {
    [] Lock, "The receiver has the same lock.";
    [T: Plain] Value<T>, "The receiver has the same value.";
    [T: Plain] Array<T>, "The receiver has the same array.";
}
