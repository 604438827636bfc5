//! The command line.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Fetches pages and follows their links, all of it in green threads on one OS thread.
///
/// Without arguments it serves a site of its own on 127.0.0.1 and shows itself on that.
///
/// Results go to standard output, one line for each URL that failed to standard error. robots.txt is honoured.
#[derive(Debug, Parser)]
#[command(
    name = "crawler",
    version,
    after_help = "Exit status: 0 if every URL was fetched or left alone as asked, \
    1 if any failed, 2 if the arguments are wrong, 130 or 143 if Ctrl-C or SIGTERM stopped it: what it had found by then is \
    printed all the same."
)]
pub struct Options {
    /// Where to start: http and https URLs
    #[arg(value_name = "URL", required = true, value_parser = parse_url)]
    pub urls: Vec<Url>,

    /// Most fetches at the same time
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// Most links to follow from a start URL to a page
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub depth: u32,

    /// Stay on the hosts of the start URLs, in links and in redirects
    #[arg(short, long)]
    pub same_host: bool,

    /// Longest time for one request and its body, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub timeout: Duration,

    /// Cut bodies off after this many bytes; k, M and G may follow the number
    #[arg(short, long, value_name = "N", default_value = "10M", value_parser = parse_bytes)]
    pub max_bytes: u64,

    /// Leave a server alone after one page if its robots.txt asks for more seconds than this between requests
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub max_delay: Duration,

    /// Trust the certificate authorities in this PEM file, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// How to print the results
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Leave the C library as it is: each fetch stops the OS thread, so that there is one at a time
    #[cfg(feature = "monkey")]
    #[arg(long)]
    pub no_patch: bool,
}

/// How to print the results.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// A line for each page as soon as it is there
    Text,
    /// One object when all is done
    Json,
    /// A header and a row for each URL when all is done
    Csv,
}

fn parse_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => format!("not a whole URL, did you mean http://{text}?"),
        other => other.to_string(),
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("only http and https can be fetched, not {}", url.scheme()));
    }
    url.set_fragment(None);
    Ok(url)
}

/// Longer than anybody waits, and short enough for every clock.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && duration <= YEAR => Ok(duration),
        _ => Err("not a time that can be waited for".to_owned()),
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['k', 'M', 'G']);
    let factor = match &text[digits.len()..] {
        "" => 1,
        "k" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err("only one of k, M and G may follow the number".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "not a number of bytes".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too many bytes".to_owned())
}
