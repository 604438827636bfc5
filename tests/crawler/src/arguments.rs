//! Arguments that are wrong, and the help that tells which are right.

use crate::program::crawler;

/// What the program says to these arguments, which it must refuse.
fn refused(arguments: &[&str]) -> String {
    let finished = crawler(2, arguments);
    assert_eq!(finished.stdout, "");
    finished.stderr.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn bad_urls_are_refused_with_the_reason() {
    assert_eq!(
        refused(&["example.com/page"]),
        "error: invalid value 'example.com/page' for '<URL>...': \
         not a whole URL, did you mean http://example.com/page?"
    );
    assert_eq!(
        refused(&["ftp://example.com/"]),
        "error: invalid value 'ftp://example.com/' for '<URL>...': only http and https can be fetched, not ftp"
    );
    assert_eq!(
        refused(&["http://127.0.0.1:99999/"]),
        "error: invalid value 'http://127.0.0.1:99999/' for '<URL>...': invalid port number"
    );
    assert_eq!(refused(&["http://"]), "error: invalid value 'http://' for '<URL>...': empty host");
}

#[test]
fn bad_options_are_refused_with_the_reason() {
    let url = "http://127.0.0.1:1/";
    let value = |option: &str, value: &str| {
        let error = refused(&[url, option, value]);
        error.rsplit_once(": ").map_or(error.clone(), |(_, reason)| reason.to_owned())
    };
    assert_eq!(value("--concurrency", "0"), "0 is not in 1..=65535");
    assert_eq!(value("--concurrency", "many"), "invalid digit found in string");
    assert_eq!(value("--timeout", "soon"), "not a number of seconds");
    assert_eq!(value("--timeout", "0"), "not a time that can be waited for");
    assert_eq!(value("--timeout", "1e19"), "not a time that can be waited for");
    assert_eq!(value("--max-delay", "1e19"), "not a time that can be waited for");
    assert_eq!(value("--timeout", "-1"), "unexpected argument '-1' found");
    assert_eq!(value("--max-bytes", "10kk"), "only one of k, M and G may follow the number");
    assert_eq!(value("--max-bytes", "99999999999G"), "too many bytes");
    assert_eq!(refused(&["--depth", "1"]), "error: the following required arguments were not provided:");
    assert!(
        refused(&[url, "--format", "xml"]).starts_with("error: invalid value 'xml' for '--format <FORMAT>'")
    );
    assert_eq!(refused(&[url, "--deep"]), "error: unexpected argument '--deep' found");
}

#[test]
fn an_unusable_authority_file_is_refused() {
    let url = "https://127.0.0.1:1/";
    assert_eq!(
        refused(&[url, "--ca-file", "/nowhere/ca.pem"]),
        "crawler: cannot use --ca-file /nowhere/ca.pem: No such file or directory (os error 2)"
    );
    assert_eq!(
        refused(&[url, "--ca-file", "/dev/null"]),
        "crawler: cannot use --ca-file /dev/null: it holds no PEM certificate"
    );
}

#[test]
fn help_names_every_option() {
    let help = crawler(0, &["--help"]).stdout;
    let limits = ["--concurrency", "--depth", "--same-host", "--timeout", "--max-bytes", "--max-delay"];
    for option in limits.into_iter().chain(["--ca-file", "--format"]) {
        assert!(help.contains(option), "{option} in {help}");
    }
    let is_patched = help.contains("--no-patch");
    assert_eq!(is_patched, cfg!(feature = "monkey"), "examples built with other features than the tests");
    assert!(help.contains("Exit status: 0 if every URL was fetched"), "{help}");
}
