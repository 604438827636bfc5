//! The crawler example, run as a program: each option against sites made for the test.
//!
//! Its demonstration too, whose output is compared with what the example's header promises.

mod arguments;
mod https;
mod interrupt;
mod limits;
mod output;
mod program;
#[path = "../../support/promise.rs"]
mod promise;
#[expect(unreachable_pub, reason = "the example's own file")]
#[path = "../../../examples/crawler/src/server.rs"]
mod server;
mod site;
#[path = "../../support/mod.rs"]
mod support;
#[path = "../../support/tool.rs"]
mod tool;
mod world;

#[test]
fn the_demonstration_prints_what_the_header_promises() {
    assert_eq!(promise::broken("crawler", include_str!("../../../examples/crawler/src/main.rs")), None);
}
