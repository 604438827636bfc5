//! What the crawl has found: a record of each URL, as text, JSON or CSV, and their sum.

use crate::crawl::Crawl;
use crate::urls::shown;
use serde::{Serialize, Serializer};
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;
use url::Url;

/// How the fetch of a URL ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Fetched,
    Skipped,
    Failed,
}

/// One URL of the crawl; a row of the report.
#[derive(Debug, Serialize)]
pub struct Record {
    #[serde(serialize_with = "as_text")]
    pub url: Url,
    /// Steps from the nearest start URL.
    pub depth: u32,
    pub outcome: Outcome,
    /// The last status that a server answered with.
    pub status: Option<u16>,
    /// Where the redirects led; `url` itself without any.
    #[serde(serialize_with = "as_text")]
    pub final_url: Url,
    pub redirects: u32,
    /// How much of the body was read.
    pub bytes: u64,
    /// The body was longer than the limit.
    pub truncated: bool,
    /// The different links of the page.
    pub links: usize,
    /// From its turn to its end, the wait for robots.txt and for the server's pace included.
    pub milliseconds: u64,
    /// Why it was skipped or has failed.
    pub reason: Option<String>,
}

impl Record {
    pub fn new(url: Url) -> Record {
        Record {
            final_url: url.clone(),
            url,
            depth: 0,
            outcome: Outcome::Fetched,
            status: None,
            redirects: 0,
            bytes: 0,
            truncated: false,
            links: 0,
            milliseconds: 0,
            reason: None,
        }
    }

    /// Marks the URL as one that the crawl leaves alone.
    pub fn skip(&mut self, reason: &str) {
        self.outcome = Outcome::Skipped;
        self.reason = Some(reason.to_owned());
    }
}

fn as_text<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(url))
}

/// One line: what came of the URL, its size, its time, and itself.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outcome, self.status) {
            (Outcome::Fetched, Some(status)) => write!(f, "{status:<7}")?,
            (Outcome::Skipped, _) => f.write_str("skipped")?,
            _ => f.write_str("failed ")?,
        }
        write!(f, " {:>9} B {:>6} ms  {}", self.bytes, self.milliseconds, shown(&self.url))?;
        if self.redirects > 0 {
            write!(f, " -> {}", shown(&self.final_url))?;
        }
        if self.truncated {
            f.write_str(" (cut short)")?;
        }
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// The sum of a crawl.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub urls: usize,
    pub fetched: usize,
    pub redirected: usize,
    pub truncated: usize,
    pub skipped: usize,
    pub failed: usize,
    /// Known when the crawl was stopped, but not visited.
    pub unvisited: usize,
    pub bytes: u64,
    pub milliseconds: u64,
}

impl Summary {
    pub fn of(crawl: &Crawl, elapsed: Duration) -> Summary {
        let Crawl { records, unvisited, .. } = crawl;
        let milliseconds = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        let (urls, unvisited) = (records.len(), *unvisited);
        let mut summary = Summary { urls, unvisited, milliseconds, ..Summary::default() };
        for record in records {
            match record.outcome {
                Outcome::Fetched => summary.fetched += 1,
                Outcome::Skipped => summary.skipped += 1,
                Outcome::Failed => summary.failed += 1,
            }
            summary.redirected += usize::from(record.outcome == Outcome::Fetched && record.redirects > 0);
            summary.truncated += usize::from(record.truncated);
            summary.bytes += record.bytes;
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            urls,
            fetched,
            redirected,
            truncated,
            skipped,
            failed,
            unvisited: _,
            bytes,
            milliseconds,
        } = self;
        write!(f, "{urls} URLs: {fetched} fetched ({redirected} redirected, {truncated} cut short), ")?;
        write!(f, "{skipped} skipped, {failed} failed; {bytes} bytes in {milliseconds} ms")
    }
}

/// Writes one JSON object: the records and their sum.
pub fn write_json(mut to: impl Write, records: &[Record], summary: &Summary) -> io::Result<()> {
    #[derive(Serialize)]
    struct Report<'a> {
        pages: &'a [Record],
        summary: &'a Summary,
    }
    serde_json::to_writer_pretty(&mut to, &Report { pages: records, summary })?;
    writeln!(to)
}

/// Writes a header line and a line for each record.
pub fn write_csv(to: impl Write, records: &[Record]) -> io::Result<()> {
    let mut rows = csv::Writer::from_writer(to);
    for record in records {
        rows.serialize(record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            other => io::Error::other(format!("{other:?}")),
        })?;
    }
    rows.flush()
}
