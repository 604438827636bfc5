//! The crate `lettre`, against a small server of SMTP.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use ::lettre::transport::smtp::Error;
use ::lettre::{Message, SmtpTransport, Transport};
use clients::interrupted::interrupted;
use clients::measure::{at_once, runs};

use crate::{DELAY, MANY};

/// A server that takes `delay` for each mail, and for ever without one; and the subjects of the mails that it has taken.
fn server(delay: Option<Duration>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, subjects) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender) = (stream.unwrap(), sender.clone());
            // One that is interrupted leaves in the middle.
            thread::spawn(move || drop(serve(&stream, delay, &sender)));
        }
    });
    (port, subjects)
}

fn serve(mut stream: &TcpStream, delay: Option<Duration>, subjects: &Sender<String>) -> io::Result<()> {
    stream.write_all(b"220 localhost\r\n")?;
    let (mut is_text, mut subject) = (false, String::new());
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if let Some(text) = line.strip_prefix("Subject: ") {
            text.clone_into(&mut subject);
        }
        let answer = match line.split(' ').next().unwrap_or_default() {
            "." if is_text => {
                is_text = false;
                match delay {
                    Some(delay) => thread::sleep(delay),
                    None => continue,
                }
                let _ = subjects.send(subject.clone());
                "250 taken"
            }
            _ if is_text => continue,
            "DATA" => {
                is_text = true;
                "354 the text"
            }
            "QUIT" => "221 goodbye",
            _ => "250 yes",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}

fn send(port: u16, subject: &str) -> Result<(), Error> {
    let mail = Message::builder()
        .from("here@localhost".parse().unwrap())
        .to("there@localhost".parse().unwrap())
        .subject(subject)
        .body("A text.".to_owned())
        .unwrap();
    SmtpTransport::builder_dangerous("127.0.0.1").port(port).build().send(&mail).map(drop)
}

#[test]
fn fifty_mails_at_once() {
    let (port, subjects) = server(Some(DELAY));
    at_once("lettre", MANY, |_| (), move |number, ()| send(port, &number.to_string()).unwrap());
    let mut subjects: Vec<u32> = subjects.try_iter().map(|subject| subject.parse().unwrap()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, (0..runs(MANY)).collect::<Vec<_>>());
}

/// Each mail has a connection of its own.
#[test]
fn an_interrupted_mail_fails() {
    let ((silent, _), (port, subjects)) = (server(None), server(Some(Duration::ZERO)));
    let call = move |&mut (): &mut ()| send(silent, "never");
    interrupted("lettre", || (), call, move |()| send(port, "7").unwrap());
    assert_eq!(subjects.try_iter().collect::<Vec<_>>(), ["7"]);
}
