//! The scheduler of the room `workers` with 1 to 64 workers, in simulated time.
//!
//! The pure files are the library's own: the queues, where a worker looks, whom to wake, and how connections are spread. What stands here
//! in the place of hubs and OS threads is a clock, what each step costs, and the order in which a hub takes those steps.

#[path = "../../src/sys/atomic.rs"]
#[expect(unsafe_code, reason = "as in the room `sys`")]
#[allow(dead_code, unused_imports, unused_macros, reason = "the file has more than the pure files use")]
mod atomic;
#[path = "../../src/workers/balance.rs"]
#[allow(dead_code, unreachable_pub, rustdoc::broken_intra_doc_links, reason = "there are no `Workers` here")]
mod balance;
#[path = "../../src/workers/idle.rs"]
mod idle;
#[path = "../../src/sys/lock.rs"]
#[expect(unsafe_code, reason = "as in the room `sys`")]
#[allow(dead_code, reason = "the file has more than the pure files use")]
mod lock;
#[path = "../../src/workers/offers.rs"]
#[allow(dead_code, reason = "no worker ends here")]
mod offers;
#[path = "../../src/workers/search.rs"]
mod search;
#[path = "../../src/sys/section.rs"]
#[allow(dead_code, unexpected_cfgs, reason = "the file has more than the pure files use")]
mod section;

pub mod connections;
pub mod random;
pub mod simulation;
pub mod workloads;

mod sys {
    pub(crate) use crate::{atomic, lock};
}

/// Who has a lock that is contended offers its processor: here never, since there is one OS thread.
mod original {
    #[expect(unsafe_code, reason = "declared as the C library's")]
    pub(crate) unsafe fn sched_yield() {
        unreachable!("one OS thread contends with nobody");
    }
}
