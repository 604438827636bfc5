//! A duplex pipe between a parent and its child: both send, both receive, and the end of one is an error at the other.
//!
//! Run it with `cargo run --example process_pipe`.
//!
//! Expected output:
//!
//!     from child: "11"
//!     from child: "22"
//!     then the pipe is at its end: unexpected end of file
//!     from parent: "hello"
//!     from parent: "goodbye"
//!     a file travels as well: "written by the child"

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use greenloop::process::{Process, channel, pipe};
use tool::say;

mod tool;

fn main() -> Result<(), Box<dyn Error>> {
    tool::takes_no_arguments(include_str!("process_pipe.rs"));
    let (ours, theirs) = pipe::<String, String>()?;
    let child = Process::start(move || {
        let received = (0..2).map(|_| theirs.recv().expect("two messages")).collect::<Vec<_>>();
        for text in ["11", "22"] {
            // A parent that is gone wants nothing any more.
            let _ = theirs.send(&text.to_owned());
        }
        received
    })?;
    ours.send(&"hello".to_owned())?;
    ours.send(&"goodbye".to_owned())?;
    loop {
        match ours.recv() {
            Ok(text) => say!("from child: {text:?}"),
            Err(end) => {
                say!("then the pipe is at its end: {end}");
                break;
            }
        }
    }
    for text in child.join()? {
        say!("from parent: {text:?}");
    }
    a_file()
}

/// Descriptors are values too.
fn a_file() -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = channel::<OwnedFd>()?;
    let child = Process::start(move || {
        let mut file = File::from(receiver.recv().expect("a file"));
        file.write_all(b"written by the child").is_ok()
    })?;
    let (mut reader, writer) = std::io::pipe()?;
    sender.send(&writer.into())?;
    assert!(child.join()?);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    say!("a file travels as well: {text:?}");
    Ok(())
}
