//! What a crawl that is stopped by a signal still says.

use crate::program::LIMIT;
use crate::server::Response;
use crate::site::{Site, page};
use crate::support::{example, within};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Has links to a page that is answered and to one that is not; tells when that one is asked for.
fn stuck() -> (Site, Receiver<()>) {
    let (sender, asked) = channel();
    let site = Site::start(move |path| match path {
        "/" => page(&["/good", "/never"]),
        "/good" => page(&[]),
        "/never" => {
            let _ = sender.send(());
            greenloop::sleep(Duration::from_secs(3600));
            page(&[])
        }
        _ => Response::status(404),
    });
    (site, asked)
}

/// Crawls with one fetch at a time, so that all else is done when `/never` is asked for, and sends the signal then.
fn stopped(arguments: &[&str], signal: Signal) -> (Site, Output) {
    let (site, asked) = stuck();
    let mut command = Command::new(example("crawler"));
    command.args(["-c1", "--timeout", "3600", &site.url("/")]).args(arguments);
    let output = within(LIMIT, move || {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        asked.recv().expect("it asks for the last page");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        child.wait_with_output().expect("it ends")
    });
    (site, output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn json_has_all_that_was_found() {
    let (site, output) = stopped(&["--format=json"], Signal::INT);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(text(&output.stderr), "crawler: stopped with 1 known URLs unvisited\n");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let urls: Vec<_> = report["pages"].as_array().expect("pages").iter().map(|page| &page["url"]).collect();
    assert_eq!(urls, [&site.url("/"), &site.url("/good")]);
    assert_eq!((&report["summary"]["fetched"], &report["summary"]["unvisited"]), (&2.into(), &1.into()));
}

#[test]
fn csv_has_all_that_was_found() {
    let (_site, output) = stopped(&["--format=csv"], Signal::TERM);
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert_eq!(text(&output.stdout).lines().count(), 3, "a header and two rows: {output:?}");
}

#[test]
fn text_ends_with_the_sum() {
    let (_site, output) = stopped(&[], Signal::INT);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let stdout = text(&output.stdout);
    assert!(stdout.lines().last().expect("a line").starts_with("2 URLs: 2 fetched"), "{output:?}");
}
