//! The example prints what its header promises, and does what every tool does.

#[path = "../../../tests/support/promise.rs"]
mod promise;
#[path = "../../../tests/support/mod.rs"]
mod support;
#[path = "../../../tests/support/tool.rs"]
mod tool;

#[test]
fn it_prints_what_its_header_promises() {
    assert_eq!(promise::broken("tls_echo", include_str!("../src/main.rs")), None);
}

#[test]
fn it_refuses_wrong_arguments_and_minds_its_output() {
    tool::helps_and_refuses("tls_echo");
    tool::refuses("tls_echo", &["nonsense"], "no port: expected HOST:PORT");
    tool::ends_quietly_when_nobody_reads("tls_echo", &[]);
    tool::says_when_it_cannot_write("tls_echo", &[]);
}
