//! What all handles on a manager's things have in common.

use std::any::type_name;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsFd;

use super::message::Parcel;
use crate::process::{Incoming, Wire};

/// A number for a type, the same in all processes of a program, so that a handle does not arrive as one of another kind.
pub(super) fn tag_of<T>() -> u64 {
    let mut hasher = DefaultHasher::new();
    type_name::<T>().hash(&mut hasher);
    hasher.finish()
}

/// The value in a parcel, of which the parcel keeps its copy.
pub(super) fn open<T: Wire>(parcel: &Parcel) -> Option<T> {
    open_from(&mut contents(parcel)?)
}

/// The same, if this number is before it.
pub(super) fn open_with<T: Wire>(tag: u64, parcel: &Parcel) -> Option<T> {
    let mut from = contents(parcel)?;
    if u64::take(&mut from)? == tag { open_from(&mut from) } else { None }
}

fn contents(parcel: &Parcel) -> Option<Incoming<'_>> {
    let copies = parcel.descriptors.iter().map(|descriptor| descriptor.as_fd().try_clone_to_owned().ok());
    Some(Incoming::with_descriptors(&parcel.bytes, copies.collect::<Option<_>>()?))
}

fn open_from<T: Wire>(from: &mut Incoming<'_>) -> Option<T> {
    T::take(from).filter(|_| from.is_empty())
}

/// What each handle can: be cloned, compared and sent. It has `new`, and `access`.
macro_rules! handle {
    ($name:ident $(<$($type:ident),+>)?) => {
        /// The same thing of the same manager; in another process, by connections of that process.
        impl $(<$($type),+>)? Clone for $name $(<$($type),+>)? {
            fn clone(&self) -> Self {
                Self::new(self.access().clone())
            }
        }

        /// Equal if both are the same thing of the same manager, whatever that contains.
        impl $(<$($type),+>)? PartialEq for $name $(<$($type),+>)? {
            fn eq(&self, other: &Self) -> bool {
                (self.access().manager(), self.access().object()) == (other.access().manager(), other.access().object())
            }
        }

        impl $(<$($type),+>)? Eq for $name $(<$($type),+>)? {}

        /// It is a handle on the same thing there.
        impl $(<$($type),+>)? $crate::process::Wire for $name $(<$($type),+>)? {
            fn put<'a>(&'a self, into: &mut $crate::process::Outgoing<'a>) {
                into.put_bytes(&$crate::processes::manager::proxy::tag_of::<Self>().to_le_bytes());
                self.access().put(into);
            }

            fn take(from: &mut $crate::process::Incoming<'_>) -> Option<Self> {
                let tag = u64::take(from)?;
                let access = $crate::processes::manager::hall::Access::take(from)?;
                (tag == $crate::processes::manager::proxy::tag_of::<Self>()).then(|| Self::new(access))
            }
        }

        impl $(<$($type),+>)? std::fmt::Debug for $name $(<$($type),+>)? {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.debug_struct(stringify!($name)).field("object", &self.access().object()).finish_non_exhaustive()
            }
        }
    };
}
pub(super) use handle;

/// Makes a handle of these types of an [`Access`](super::hall::Access), which can be cloned and sent.
macro_rules! proxy {
    ($(#[$attributes:meta])* $name:ident $(<$($type:ident),+>)?) => {
        $(#[$attributes])*
        pub struct $name $(<$($type),+>)? {
            access: $crate::processes::manager::hall::Access,
            types: std::marker::PhantomData<fn() -> ($($($type,)+)?)>,
        }

        impl $(<$($type),+>)? $name $(<$($type),+>)? {
            pub(super) fn new(access: $crate::processes::manager::hall::Access) -> Self {
                $name { access, types: std::marker::PhantomData }
            }

            pub(super) fn access(&self) -> &$crate::processes::manager::hall::Access {
                &self.access
            }
        }

        $crate::processes::manager::proxy::handle!($name $(<$($type),+>)?);
    };
}
pub(super) use proxy;

/// Makes a handle on what another handle is for too, to whose methods it adds its own.
macro_rules! proxy_on {
    ($(#[$attributes:meta])* $name:ident $(<$type:ident>)? on $base:ident) => {
        $(#[$attributes])*
        pub struct $name $(<$type>)?($base $(<$type>)?);

        impl $(<$type>)? $name $(<$type>)? {
            pub(super) fn new(access: $crate::processes::manager::hall::Access) -> Self {
                $name($base::new(access))
            }

            pub(super) fn access(&self) -> &$crate::processes::manager::hall::Access {
                self.0.access()
            }
        }

        impl $(<$type>)? std::ops::Deref for $name $(<$type>)? {
            type Target = $base $(<$type>)?;

            fn deref(&self) -> &$base $(<$type>)? {
                &self.0
            }
        }

        $crate::processes::manager::proxy::handle!($name $(<$type>)?);
    };
}
pub(super) use proxy_on;
