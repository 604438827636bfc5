//! jemalloc as the global allocator.

use allocators::{MANY, SOME, under};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const VARIABLE: &str = "_RJEM_MALLOC_CONF";

#[test]
fn green_threads_allocate_while_os_threads_do() {
    let name = "green_threads_allocate_while_os_threads_do";
    under(name, (VARIABLE, ""), MANY, false);
}

#[test]
fn any_setting_is_right() {
    for setting in [
        "narenas:1",
        "narenas:1,tcache:false",
        "tcache:false",
        "background_thread:true",
        "percpu_arena:percpu",
        "narenas:1,dirty_decay_ms:0,muzzy_decay_ms:0",
    ] {
        under("any_setting_is_right", (VARIABLE, setting), SOME, false);
    }
}

#[test]
fn isolated_ones_allocate_too() {
    for setting in ["", "narenas:1", "narenas:1,tcache:false"] {
        under("isolated_ones_allocate_too", (VARIABLE, setting), 2_000, true);
    }
}
