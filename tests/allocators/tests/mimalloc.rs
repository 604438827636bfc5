//! mimalloc as the global allocator.

use allocators::under;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DEFAULT: (&str, &str) = ("MIMALLOC_VERBOSE", "0");

#[test]
fn a_million_green_threads_allocate_while_os_threads_do() {
    let name = "a_million_green_threads_allocate_while_os_threads_do";
    under(name, DEFAULT, 1_000_000, false);
}

#[test]
fn isolated_ones_allocate_too() {
    under("isolated_ones_allocate_too", DEFAULT, 2_000, true);
}
