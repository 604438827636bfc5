//! The crate `rumqttc` as it blocks, against mosquitto.

use std::thread;

use ::rumqttc::{Client, Connection, ConnectionError, Event, MqttOptions, Packet, QoS};
use clients::interrupted::interrupted;
use clients::measure::at_once;
use clients::program::{Program, Stop, unprivileged};

use crate::{DELAY, MANY};

/// What all ask with the same number.
const REQUESTS: &str = "request/+";

fn server() -> Program {
    Program::start(Stop::TERMINATE, " running\n", |port| {
        // Without a file it listens on this machine only, for everybody.
        unprivileged(&["/usr/sbin/mosquitto", "-p", &port.to_string()])
    })
}

/// A client that has subscribed to `topic`.
fn subscribed(name: &str, port: u16, topic: &str) -> (Client, Connection) {
    let (client, mut connection) = Client::new(MqttOptions::new(name, "127.0.0.1", port), 100);
    client.subscribe(topic, QoS::AtLeastOnce).unwrap();
    while !matches!(connection.recv().unwrap().unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    (client, connection)
}

/// The next message that comes, as its topic and its text.
fn next(connection: &mut Connection) -> Result<(String, String), Box<ConnectionError>> {
    loop {
        if let Event::Incoming(Packet::Publish(message)) = connection.recv().unwrap()? {
            return Ok((message.topic, String::from_utf8(message.payload.to_vec()).unwrap()));
        }
    }
}

/// Answers each request after [`DELAY`] with its own number, until the server ends.
fn answer_requests(port: u16) {
    let (client, mut connection) = subscribed("answers", port, REQUESTS);
    thread::spawn(move || {
        while let Ok((topic, text)) = next(&mut connection) {
            let client = client.clone();
            thread::spawn(move || {
                thread::sleep(DELAY);
                client.publish(topic.replace("request", "answer"), QoS::AtLeastOnce, false, text)
            });
        }
    });
}

#[test]
fn fifty_requests_at_once() {
    let server = server();
    let port = server.port;
    answer_requests(port);
    at_once(
        "rumqttc",
        MANY,
        move |number| subscribed(&format!("client {number}"), port, &format!("answer/{number}")),
        |number, (client, connection)| {
            client.publish(format!("request/{number}"), QoS::AtLeastOnce, false, number.to_string()).unwrap();
            assert_eq!(next(connection).unwrap(), (format!("answer/{number}"), number.to_string()));
        },
    );
}

/// It connects again when it is next asked.
#[test]
fn an_interrupted_wait_for_a_message_fails() {
    let server = server();
    let port = server.port;
    let prepare = move || subscribed("client", port, "answer/0");
    let call = |(_, connection): &mut (Client, Connection)| next(connection).map(drop);
    let again = |(_, mut connection): (Client, Connection)| {
        let event = connection.recv().unwrap();
        assert!(matches!(event, Ok(Event::Incoming(Packet::ConnAck(_)))), "{event:?}");
    };
    interrupted("rumqttc", prepare, call, again);
}
