//! The connection to a program.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

/// A program that answers.
#[derive(Debug)]
pub(crate) struct Attached {
    requests: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Attached {
    pub(crate) fn to(path: &Path) -> io::Result<Attached> {
        let requests = UnixStream::connect(path)?;
        let answers = BufReader::new(requests.try_clone()?);
        Ok(Attached { requests, answers })
    }

    pub(crate) fn ask(&mut self, request: &str) -> io::Result<Value> {
        writeln!(self.requests, "{request}")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the program has gone"));
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// The answer as it goes into a file.
    pub(crate) fn ask_for_text(&mut self, request: &str) -> io::Result<String> {
        let answer = self.ask(request)?;
        Ok(answer["text"].as_str().map_or_else(|| answer.to_string(), str::to_owned))
    }
}
