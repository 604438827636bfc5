//! The example prints what its header promises, and does what every tool does.

#[path = "../../../tests/support/promise.rs"]
mod promise;
#[path = "../../../tests/support/mod.rs"]
mod support;
#[path = "../../../tests/support/tool.rs"]
mod tool;

#[test]
fn it_prints_what_its_header_promises() {
    assert_eq!(promise::broken("ip_to_db", include_str!("../src/main.rs")), None);
}

#[test]
fn it_refuses_wrong_arguments_and_minds_its_output() {
    tool::helps_and_refuses("ip_to_db");
    tool::refuses("ip_to_db", &["nonsense"], "not a URL of http or https");
    tool::refuses("ip_to_db", &["ftp://127.0.0.1/"], "not a URL of http or https");
    tool::ends_quietly_when_nobody_reads("ip_to_db", &[]);
    tool::says_when_it_cannot_write("ip_to_db", &[]);
    // A port that the kernel gives to nobody.
    let run = tool::run("ip_to_db", &["http://127.0.0.77:1/"]);
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(run.stderr, "ip_to_db: 1.1.1.1: io: Connection refused (os error 111)\n");
}

#[cfg(not(feature = "mysql"))]
#[test]
fn it_says_what_it_was_built_without() {
    let run = tool::run("ip_to_db", &["--database", "mysql://root@127.0.0.1/places"]);
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(run.stderr, "ip_to_db: built without the cargo feature `mysql`\n");
}
