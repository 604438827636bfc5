//! Functions by their addresses, for a process that was forked from this one: there the same address means the same function.

use std::any::TypeId;
use std::collections::hash_map::RandomState;
use std::ffi::{CStr, c_void};
use std::hash::BuildHasher;
use std::ptr;
use std::sync::OnceLock;

/// What signs addresses, the same in a process and in those that were forked from it since [`prepare`].
static SECRET: OnceLock<RandomState> = OnceLock::new();

/// A pointer to a function.
///
/// # Safety
///
/// Of such a type only: as large as an address, and any address of a function of that type is a valid value.
pub(crate) unsafe trait FunctionPointer: Copy + 'static {}

// SAFETY: it is one.
unsafe impl<A: 'static, T: 'static> FunctionPointer for fn(A) -> T {}

/// A function's address with a signature, which only this process and those that were forked from it can have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portable {
    pub(crate) address: u64,
    pub(crate) signature: u64,
}

/// Makes the secret, before a fork.
pub(crate) fn prepare() {
    SECRET.get_or_init(RandomState::new);
}

impl Portable {
    pub(crate) fn new<F: FunctionPointer>(function: F) -> Portable {
        // SAFETY: it is a pointer, of that size.
        let address = unsafe { ptr::from_ref(&function).cast::<usize>().read() } as u64;
        Portable { address, signature: sign::<F>(address) }
    }

    /// The function. `None` if it was not made by [`new`](Portable::new) of that type, in this process or one that has the secret in
    /// common with it.
    pub(crate) fn function<F: FunctionPointer>(self) -> Option<F> {
        if self.signature != sign::<F>(self.address) {
            return None;
        }
        let address = usize::try_from(self.address).ok()?;
        // SAFETY: who has signed it with this secret and type had a function of that type there. It was the same program: the secret
        // is made anew by each, and never written anywhere. Who sends it has seen to it that the code was there at the fork.
        Some(unsafe { ptr::from_ref(&address).cast::<F>().read() })
    }
}

fn sign<F: FunctionPointer>(address: u64) -> u64 {
    SECRET.get_or_init(RandomState::new).hash_one((address, TypeId::of::<F>()))
}

/// The program and the libraries that were loaded at some time: where, and called what.
#[derive(Debug)]
pub(crate) struct Loaded(Vec<Object>);

#[derive(Debug, PartialEq)]
struct Object {
    base: usize,
    end: usize,
    name: Vec<u8>,
}

impl Loaded {
    /// Those of now.
    pub(crate) fn now() -> Loaded {
        let mut objects: Vec<Object> = Vec::new();
        // SAFETY: `note` gets a valid record each time, and the vector, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut objects).cast()) };
        Loaded(objects)
    }

    /// Whether the function is in one that was there then, and still is.
    pub(crate) fn has(&self, function: Portable) -> bool {
        let address = function.address as usize;
        let around = |object: &&Object| (object.base..object.end).contains(&address);
        Loaded::now().0.iter().find(around).is_some_and(|object| self.0.contains(object))
    }
}

extern "C" fn note(record: *mut libc::dl_phdr_info, _: usize, objects: *mut c_void) -> libc::c_int {
    // SAFETY: the loader gives a valid record.
    let record = unsafe { &*record };
    // SAFETY: see `now`.
    let objects = unsafe { &mut *objects.cast::<Vec<Object>>() };
    let ends = (0..record.dlpi_phnum).filter_map(|place| {
        // SAFETY: so many are there.
        let header = unsafe { record.dlpi_phdr.add(usize::from(place)) };
        // SAFETY: the loader has one there.
        let header = unsafe { &*header };
        (header.p_type == libc::PT_LOAD)
            .then(|| record.dlpi_addr as usize + header.p_vaddr as usize + header.p_memsz as usize)
    });
    let end = ends.max().unwrap_or(0);
    let name = match record.dlpi_name.is_null() {
        true => Vec::new(),
        // SAFETY: the loader has a C string there.
        false => unsafe { CStr::from_ptr(record.dlpi_name) }.to_bytes().to_vec(),
    };
    objects.push(Object { base: record.dlpi_addr as usize, end, name });
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(number: u32) -> u32 {
        number * 2
    }

    #[test]
    fn a_function_comes_back_as_what_it_was_alone() {
        let portable = Portable::new(double as fn(u32) -> u32);
        assert_eq!(portable.function::<fn(u32) -> u32>().unwrap()(4), 8);
        assert!(portable.function::<fn(u32) -> u64>().is_none());
        assert!(
            Portable { address: portable.address + 1, ..portable }.function::<fn(u32) -> u32>().is_none()
        );
        assert!(Loaded::now().has(portable));
        assert!(!Loaded::now().has(Portable { address: 1, ..portable }));
    }
}
