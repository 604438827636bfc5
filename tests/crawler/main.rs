//! The crawler example, run as a program: each option against sites made for the test.
//!
//! Its demonstration is run by `tests/examples.rs`, which compares it with what the example's header promises.

mod arguments;
mod https;
mod limits;
mod output;
mod program;
#[expect(unreachable_pub, reason = "the example's own file")]
#[path = "../../examples/crawler/server.rs"]
mod server;
mod site;
#[path = "../support/mod.rs"]
mod support;
