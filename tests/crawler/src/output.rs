//! What the program prints, in each format.

use crate::program::{LIMIT, crawl, crawler};
use crate::server::Response;
use crate::site::{Site, page, tree};
use crate::support::{example, within};
use crate::tool;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{self, OpenptFlags};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

#[test]
fn csv_has_a_row_for_each_url_in_order() {
    let site = Site::start(tree);
    let (rows, errors) = crawl(&site, 1, &["--depth", "9", &site.url("/"), &site.url("/gone")]);
    let expected = [
        "http://SITE/,0,fetched,200,http://SITE/,0,126,false,2,",
        "http://SITE/gone,0,failed,404,http://SITE/gone,0,20,false,0,404 Not Found",
        "http://SITE/a,1,fetched,200,http://SITE/a,0,38,false,2,",
        "http://SITE/b,1,fetched,200,http://SITE/b,0,38,false,2,",
        "http://SITE/c,2,fetched,200,http://SITE/c,0,20,false,1,",
        "http://SITE/d,3,fetched,200,http://SITE/d,0,13,false,0,",
    ];
    assert_eq!(rows, expected);
    assert_eq!(errors, "crawler: http://SITE/gone: 404 Not Found\n");
}

#[test]
fn json_has_the_same_and_the_sum() {
    let site = Site::start(tree);
    let finished = crawler(1, &["-d0", "-fjson", &site.url("/d"), &site.url("/gone")]);
    let mut report: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    for holder in ["/pages/0", "/pages/1", "/summary"] {
        let holder = report.pointer_mut(holder).and_then(|value| value.as_object_mut()).expect("an object");
        assert!(holder.remove("milliseconds").expect("a time").is_u64());
    }
    let expected = serde_json::json!({
        "pages": [
            {"url": site.url("/d"), "depth": 0, "outcome": "fetched", "status": 200, "final_url": site.url("/d"),
             "redirects": 0, "bytes": 13, "truncated": false, "links": 0, "reason": null},
            {"url": site.url("/gone"), "depth": 0, "outcome": "failed", "status": 404, "final_url": site.url("/gone"),
             "redirects": 0, "bytes": 20, "truncated": false, "links": 0, "reason": "404 Not Found"},
        ],
        "summary": {"urls": 2, "fetched": 1, "redirected": 0, "truncated": 0, "skipped": 0, "failed": 1,
            "unvisited": 0, "bytes": 33},
    });
    assert_eq!(report, expected);
}

#[test]
fn text_has_a_line_for_each_page_and_the_sum() {
    let site = Site::start(tree);
    let finished = crawler(0, &["--concurrency", "1", &site.url("/c")]);
    let lines: Vec<_> = site.named(&finished.stdout).lines().map(untimed).collect();
    let sum = "2 URLs: 2 fetched (0 redirected, 0 cut short), 0 skipped, 0 failed; 33 bytes in TIME ms";
    assert_eq!(lines, ["200 20 B TIME ms http://SITE/c", "200 13 B TIME ms http://SITE/d", sum]);
    assert_eq!(finished.stderr, "", "no bar where there is no terminal");
}

/// A line with its times called TIME, and one space between its words.
fn untimed(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let word = |index: usize| if words.get(index + 1) == Some(&"ms") { "TIME" } else { words[index] };
    (0..words.len()).map(word).collect::<Vec<_>>().join(" ")
}

/// What the program shows on a terminal that is its standard error.
fn shown(arguments: &[&str]) -> String {
    let mut command = Command::new(example("crawler"));
    command.args(arguments);
    within(LIMIT, move || {
        let ours = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        pty::grantpt(&ours).expect("a terminal of ours");
        pty::unlockpt(&ours).expect("a terminal to open");
        let name = pty::ptsname(&ours, Vec::new()).expect("its name");
        let its =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other end");
        let mut child = command.stdout(Stdio::null()).stderr(its).spawn().expect("it starts");
        // Its end of the terminal is the child's alone, so that the last close is an error to the reader.
        drop(command);
        let mut shown = Vec::new();
        let _ = File::from(ours).read_to_end(&mut shown);
        assert!(child.wait().expect("it ends").success());
        String::from_utf8_lossy(&shown).into_owned()
    })
}

#[test]
fn a_terminal_gets_a_bar_that_is_taken_away() {
    let site = Site::start(tree);
    let shown = shown(&["-d9", &site.url("/")]);
    assert!(shown.contains("/3 "), "three pages are known after the first: {shown:?}");
    assert!(shown.ends_with("\r\u{1b}[2K"), "the line is cleared at the end: {shown:?}");
}

#[test]
fn the_demonstration_shows_how_far_it_is() {
    let shown = shown(&[]);
    // Its slow page alone takes two seconds, and the bar is drawn up to twenty times a second.
    assert!(shown.matches('\r').count() > 5, "{shown:?}");
    assert!(shown.ends_with("\r\u{1b}[2K"), "the line is cleared at the end: {shown:?}");
}

#[test]
fn a_reader_who_has_seen_enough_ends_the_crawl() {
    // Each page leads to another, for ever.
    let site = Site::start(|path| match path.trim_start_matches('/').parse::<u64>() {
        Ok(number) => page(&[&(number + 1).to_string()]),
        Err(_) => Response::status(404),
    });
    let url = site.url("/1");
    let (first, status) = within(LIMIT, move || {
        let mut command = Command::new(example("crawler"));
        let mut child =
            command.args(["-d4000000000", &url]).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("a line").expect("text");
        drop(lines);
        (first, child.wait().expect("it ends"))
    });
    assert_eq!(site.named(&untimed(&first)), "200 18 B TIME ms http://SITE/1");
    assert!(status.success());
}

#[test]
fn it_ends_when_nobody_reads_and_says_when_its_results_cannot_be_written() {
    tool::ends_quietly_when_nobody_reads("crawler", &[]);
    tool::says_when_it_cannot_write("crawler", &[]);
    // More than any buffer holds.
    let links: Vec<_> = (0..300).map(|number| format!("/{number}")).collect();
    let site = Site::start(move |path| match path {
        "/" => page(&links.iter().map(String::as_str).collect::<Vec<_>>()),
        _ => page(&[]),
    });
    for format in ["text", "json", "csv"] {
        let arguments = ["--format", format, &site.url("/")];
        tool::ends_quietly_when_nobody_reads("crawler", &arguments);
        tool::says_when_it_cannot_write("crawler", &arguments);
    }
}
