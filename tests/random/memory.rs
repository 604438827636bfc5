//! What the process has: bytes on the heap, and open files.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::support::open_files;

/// The system's allocator, counted.
struct Counting;

/// Read when all other OS threads are still: so their order with anything else does not matter.
static LIVE: AtomicI64 = AtomicI64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is done by the system's allocator, with what the caller gave.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size as i64 - layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise is the callee's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What the process has at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holdings {
    bytes: i64,
    files: usize,
}

impl Holdings {
    pub(crate) fn now() -> Holdings {
        Holdings { files: open_files().len(), bytes: LIVE.load(Relaxed) }
    }

    /// What has become more since `before`, in words.
    pub(crate) fn more_than(self, before: Holdings) -> Option<String> {
        let (bytes, files) = (self.bytes - before.bytes, self.files as i64 - before.files as i64);
        (bytes > 0 || files > 0).then(|| format!("{bytes} bytes, {files} files"))
    }
}
