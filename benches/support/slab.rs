//! Stacks cut from one mapping, without guards: the cheapest that a coroutine can stand on.
#![expect(unsafe_code, reason = "maps memory, and promises corosensei that it is a stack")]

use std::ptr::{self, NonNull};
use std::rc::Rc;

use corosensei::stack::{Stack, StackPointer};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// The size of each.
const STACK_BYTES: usize = 64 * 1024;

struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `stacks` with this length, and every stack in it held an `Rc` to it.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
        unmapped.expect("a mapping of our own");
    }
}

/// One stack of the slab.
pub(crate) struct SlabStack {
    mapping: Rc<Mapping>,
    index: usize,
}

// SAFETY: base and limit are addresses in this stack's own slot, multiples of the page size and so of 16, and stay as
// they are while the `Rc` keeps the mapping. The slots do not overlap. There is no guard: the bodies that run here need a
// hundredth of the space.
unsafe impl Stack for SlabStack {
    fn base(&self) -> StackPointer {
        let base = self.mapping.start.addr().saturating_add((self.index + 1) * STACK_BYTES);
        StackPointer::new(base.get()).expect("not zero")
    }

    fn limit(&self) -> StackPointer {
        let limit = self.mapping.start.addr().saturating_add(self.index * STACK_BYTES);
        StackPointer::new(limit.get()).expect("not zero")
    }
}

/// That many stacks.
pub(crate) fn stacks(count: usize) -> impl Iterator<Item = SlabStack> {
    let length = count * STACK_BYTES;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a null hint lets the kernel choose the place, so nothing that exists is mapped over.
    let start = unsafe {
        mmap_anonymous(ptr::null_mut(), length, protection, MapFlags::PRIVATE | MapFlags::NORESERVE)
    };
    let start = NonNull::new(start.expect("address space").cast()).expect("no mapping at zero");
    let mapping = Rc::new(Mapping { start, length });
    (0..count).map(move |index| SlabStack { mapping: mapping.clone(), index })
}
