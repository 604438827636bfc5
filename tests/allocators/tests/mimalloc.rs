//! mimalloc as the global allocator.

use allocators::{MANY, under};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DEFAULT: (&str, &str) = ("MIMALLOC_VERBOSE", "0");

#[test]
fn green_threads_allocate_while_os_threads_do() {
    let name = "green_threads_allocate_while_os_threads_do";
    under(name, DEFAULT, MANY, false);
}

#[test]
fn isolated_ones_allocate_too() {
    under("isolated_ones_allocate_too", DEFAULT, 2_000, true);
}
