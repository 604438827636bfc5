//! What servers answered, in files of the form WARC/1.0: a gzip member for each record, as is usual, so that one is read by its place.

use crate::fetch::Answer;
use crate::urls::shown;
use flate2::Compression;
use flate2::write::GzEncoder;
use greenloop::sync::{Mutex, PoisonError};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use ureq::http::header;
use url::Url;
use warc::{BufferedBody, Record, RecordType, TruncatedType, WarcHeader, WarcWriter};

/// After which size another file begins.
const FULL: u64 = 1 << 30;

/// The files of one process. What is written is written before its page is recorded: what a process was killed over is there more often than
/// once, or in part, and no record names it.
pub struct Archive {
    folder: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    name: String,
    file: File,
    length: u64,
}

/// Where a record is.
#[derive(Debug, Serialize)]
pub struct Place {
    file: String,
    offset: u64,
    length: u64,
}

impl Archive {
    pub fn new(folder: PathBuf) -> Archive {
        Archive { folder, open: Mutex::new(None) }
    }

    /// Writes an answer.
    pub fn write(&self, url: &Url, answer: &Answer<'_>) -> io::Result<Place> {
        let mut record = Record::<BufferedBody>::with_body(message(answer));
        record.set_warc_type(RecordType::Response);
        if answer.truncated {
            record.set_truncated_type(TruncatedType::Length);
        }
        let kind = "application/http;msgtype=response";
        for (name, value) in [(WarcHeader::TargetURI, shown(url)), (WarcHeader::ContentType, kind.to_owned())]
        {
            record.set_header(name, value).map_err(failed)?;
        }
        let bytes = member(&record)?;
        // Others write meanwhile, if this waits.
        let mut place = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match place.take().filter(|open| open.length < FULL) {
            Some(open) => open,
            None => self.begin()?,
        };
        // One that fails is not written to again: what is in it is not known.
        open.file.write_all(&bytes)?;
        let written = Place { file: open.name.clone(), offset: open.length, length: bytes.len() as u64 };
        open.length += written.length;
        *place = Some(open);
        Ok(written)
    }

    /// Begins a file, which says who wrote it.
    fn begin(&self) -> io::Result<Open> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("fleet-{now}-{}.warc.gz", std::process::id());
        let file = File::create_new(self.folder.join(&name))?;
        let about =
            concat!("software: fleet/", env!("CARGO_PKG_VERSION"), "\r\nformat: WARC File Format 1.0\r\n");
        let mut record = Record::<BufferedBody>::with_body(about);
        record.set_warc_type(RecordType::WarcInfo);
        record.set_header(WarcHeader::ContentType, "application/warc-fields").map_err(failed)?;
        let bytes = member(&record)?;
        let mut open = Open { name, file, length: bytes.len() as u64 };
        open.file.write_all(&bytes)?;
        Ok(open)
    }
}

/// The answer as it came, but for the way in which the body was transferred, which is not known any more.
fn message(answer: &Answer<'_>) -> Vec<u8> {
    let mut message = format!("HTTP/1.1 {}\r\n", answer.status).into_bytes();
    let body = answer.bytes_of_body();
    for (name, value) in answer.headers() {
        if name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH {
            message.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    message.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    message.extend_from_slice(body);
    message
}

fn member(record: &Record<BufferedBody>) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    // Not into the encoder: it takes what it is given in parts, for which the writer does not look.
    WarcWriter::new(&mut plain).write(record)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain)?;
    encoder.finish()
}

fn failed(error: warc::Error) -> io::Error {
    io::Error::other(error.to_string())
}
