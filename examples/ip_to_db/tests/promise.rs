//! The example prints what its header promises.

#[path = "../../../tests/support/promise.rs"]
mod promise;
#[path = "../../../tests/support/mod.rs"]
mod support;

#[test]
fn it_prints_what_its_header_promises() {
    assert_eq!(promise::broken("ip_to_db", include_str!("../src/main.rs")), None);
}
