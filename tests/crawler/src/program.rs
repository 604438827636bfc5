//! Running the program and reading what it prints.

use crate::site::Site;
use crate::support::{Finished, example, finish};
use std::process::Command;
use std::time::Duration;

/// A bound for one run of the program; each ends of itself much sooner.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs the program, which must end with this exit code.
pub(crate) fn crawler(code: i32, arguments: &[&str]) -> Finished {
    let finished = finish(Command::new(example("crawler")).args(arguments), LIMIT);
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
    finished
}

/// The columns of the CSV but for the time, with the addresses named.
pub(crate) fn rows(site: &Site, finished: &Finished) -> Vec<String> {
    let mut lines = csv::Reader::from_reader(finished.stdout.as_bytes());
    let header = lines.headers().expect("a header").iter().collect::<Vec<_>>().join(",");
    assert_eq!(
        header,
        "url,depth,outcome,status,final_url,redirects,bytes,truncated,links,milliseconds,reason"
    );
    let row = |record: csv::StringRecord| {
        assert!(record[9].parse::<u64>().is_ok(), "{record:?}");
        let columns = record.iter().enumerate().filter(|(index, _)| *index != 9);
        site.named(&columns.map(|(_, column)| column).collect::<Vec<_>>().join(","))
    };
    lines.records().map(|record| row(record.expect("a row"))).collect()
}

/// Crawls as CSV, and gives the rows and the errors.
pub(crate) fn crawl(site: &Site, code: i32, arguments: &[&str]) -> (Vec<String>, String) {
    let finished = crawler(code, &[arguments, &["--format", "csv"]].concat());
    (rows(site, &finished), site.named(&finished.stderr))
}
