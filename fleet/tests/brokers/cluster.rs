//! A cluster of Redis of two servers, each of which has half of the queues.

use crate::engines::{has_program, redis_server, told};
use clients::folder::Folder;
use clients::measure::patched;
use clients::program::Program;
use fleet::{Broker, Completion, NewJob, Redis};
use redis::Connection;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn connect(server: &Program) -> Connection {
    redis::Client::open(format!("redis://127.0.0.1:{}/", server.port)).unwrap().get_connection().unwrap()
}

fn ask<T: redis::FromRedisValue>(connection: &mut Connection, command: &str) -> T {
    let mut words = command.split(' ');
    let mut asked = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        asked.arg(word);
    });
    asked.query(connection).unwrap()
}

#[test]
fn a_queue_is_found_on_whichever_server_of_a_cluster_has_it() {
    if !has_program("redis-server") {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let folders = [Folder::new("fleet-cluster"), Folder::new("fleet-cluster")];
    let servers = folders.each_ref().map(|folder| {
        redis_server(&[
            "--cluster-enabled",
            "yes",
            "--dir",
            &folder.file(""),
            "--cluster-node-timeout",
            "5000",
        ])
    });
    let ports = servers.each_ref().map(|server| server.port);
    patched(move || {
        let [mut one, mut two] = servers.each_ref().map(connect);
        let ids: [String; 2] = [&mut one, &mut two].map(|server| ask(server, "CLUSTER MYID"));
        ask::<()>(&mut one, "CLUSTER ADDSLOTSRANGE 0 8191");
        ask::<()>(&mut two, "CLUSTER ADDSLOTSRANGE 8192 16383");
        ask::<()>(&mut two, "CLUSTER SET-CONFIG-EPOCH 2");
        ask::<()>(&mut one, &format!("CLUSTER MEET 127.0.0.1 {}", ports[1]));
        let start = Instant::now();
        for server in [&mut one, &mut two] {
            while !ask::<String>(server, "CLUSTER INFO").contains("cluster_state:ok") {
                assert!(start.elapsed() < Duration::from_secs(30), "they do not come together");
                sleep(Duration::from_millis(5));
            }
        }
        let open = |port: u16, queue: &str| Redis::open(&format!("redis://127.0.0.1:{port}/"), queue);
        // Of slots 15495 and 3300.
        for (queue, slot) in [("a", 15_495), ("b", 3_300)] {
            assert_eq!(ask::<u32>(&mut one, &format!("CLUSTER KEYSLOT fleet:{{{queue}}}:next")), slot);
            let brokers = ports.map(|port| open(port, queue).unwrap());
            brokers[0].push(&[NewJob::new(queue), NewJob::new("lane").lane("lane", Duration::ZERO)]).unwrap();
            let jobs = brokers[1].take(9, Duration::from_secs(100)).unwrap();
            assert_eq!(jobs.len(), 2);
            for job in &jobs {
                assert!(brokers[0].done(&job.lease(), Completion::new().record(&job.payload)).unwrap());
            }
            assert_eq!(brokers[1].records(0, 9).unwrap().len(), 2);
            brokers[0].purge().unwrap();
            assert_eq!(brokers[1].status().unwrap(), fleet::Status::default());
        }
        // While the other one goes, key by key, nobody does anything to half of it.
        let broker = open(ports[0], "a").unwrap();
        broker.push(&[NewJob::new("one"), NewJob::new("two").unique("two")]).unwrap();
        ask::<()>(&mut one, &format!("CLUSTER SETSLOT 15495 IMPORTING {}", ids[1]));
        ask::<()>(&mut two, &format!("CLUSTER SETSLOT 15495 MIGRATING {}", ids[0]));
        let keys: Vec<String> = ask(&mut two, "CLUSTER GETKEYSINSLOT 15495 100");
        assert!(keys.len() > 2, "{keys:?}");
        for (moved, key) in keys.iter().enumerate() {
            assert_eq!(told(broker.push(&[NewJob::new("three")])), "Unreachable");
            assert_eq!(told(broker.take(9, Duration::from_secs(100))), "Unreachable");
            assert_eq!(ask::<usize>(&mut one, "CLUSTER COUNTKEYSINSLOT 15495"), moved);
            ask::<()>(&mut two, &format!("MIGRATE 127.0.0.1 {} {key} 0 5000", ports[0]));
        }
        for server in [&mut one, &mut two] {
            ask::<()>(server, &format!("CLUSTER SETSLOT 15495 NODE {}", ids[0]));
        }
        let jobs = broker.take(9, Duration::from_secs(100)).unwrap();
        assert_eq!(jobs.iter().map(|job| job.payload.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(broker.push(&[NewJob::new("two").unique("two")]).unwrap(), 0);
        // Its slot goes to the other one, with nothing in it.
        let broker = open(ports[0], "b").unwrap();
        ask::<()>(&mut one, "DEL fleet:{b}:next fleet:{b}:layout");
        for server in [&mut two, &mut one] {
            ask::<()>(server, &format!("CLUSTER SETSLOT 3300 NODE {}", ids[1]));
        }
        broker.push(&[NewJob::new("moved")]).unwrap();
        assert_eq!(ask::<u32>(&mut two, "XLEN fleet:{b}:jobs:1"), 1);
        // Whose server knows no other.
        ask::<()>(&mut two, "CLUSTER DELSLOTS 3300");
        assert_eq!(told(broker.status()), "Unreachable");
    });
}
