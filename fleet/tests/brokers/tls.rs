//! Connections that are encrypted, to servers that are trusted or not.

use crate::engines::{has_program, postgresql, told};
use clients::folder::Folder;
use clients::measure::patched;
use clients::program::{Program, Stop};
use fleet::{Broker, NewJob, Postgres, Redis};
use rcgen::generate_simple_self_signed;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A certificate of this name and its key, in files of these names with `.pem`, and both as text.
fn certify(folder: &Folder, file: &str, name: &str) -> [String; 2] {
    let own = generate_simple_self_signed([name.to_owned()]).unwrap();
    let texts = [own.cert.pem(), own.signing_key.serialize_pem()];
    for (text, kind) in texts.iter().zip(["certificate", "key"]) {
        fs::write(folder.path.join(format!("{file}-{kind}.pem")), text).unwrap();
    }
    texts
}

#[test]
fn a_connection_to_redis_is_encrypted_and_its_server_verified() {
    if !has_program("redis-server") {
        return println!("left out: there is no redis-server here, see `.ci/run`");
    }
    let folder = Folder::new("fleet-tls");
    certify(&folder, "own", "localhost");
    certify(&folder, "other", "localhost");
    let server = Program::start(Stop::TERMINATE, "Ready to accept connections", |port| {
        let port = port.to_string();
        let [certificate, key] = ["own-certificate.pem", "own-key.pem"].map(|name| folder.file(name));
        let server =
            ["redis-server", "--bind", "127.0.0.1", "--port", "0", "--tls-port", &port, "--save", ""];
        let tls = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        server.iter().chain(&tls).map(|argument| (*argument).to_owned()).collect()
    });
    patched(move || {
        let open = |scheme: &str, host: &str, more: &str| {
            Redis::open(&format!("{scheme}://{host}:{}/{more}", server.port), "tls")
        };
        let trusting = |file: &str| format!("?sslrootcert={}", folder.file(file));
        let broker = open("rediss", "localhost", &trusting("own-certificate.pem")).unwrap();
        assert_eq!(broker.push(&[NewJob::new("job")]).unwrap(), 1);
        assert_eq!(broker.status().unwrap().ready, 1);
        assert_eq!(told(open("rediss", "localhost", &trusting("other-certificate.pem"))), "Untrusted");
        // As the system's would be, and the name is not its own.
        assert_eq!(told(open("rediss", "localhost", "")), "Untrusted");
        assert_eq!(told(open("rediss", "127.0.0.1", &trusting("own-certificate.pem"))), "Untrusted");
        assert_eq!(told(open("redis", "localhost", "")), "Unreachable");
        assert_eq!(told(open("rediss", "localhost", "#insecure")), "Address");
        assert_eq!(told(open("rediss", "localhost", &trusting("none.pem"))), "Address");
        assert_eq!(told(open("rediss", "localhost", &trusting("own-key.pem"))), "Address");
    });
}

#[test]
fn a_connection_to_postgresql_is_encrypted_and_its_server_verified() {
    let Some(server) = postgresql() else { return };
    let folder = Folder::new("fleet-tls");
    let texts = certify(&folder, "own", "localhost");
    certify(&folder, "other", "localhost");
    let url = server.url.clone();
    patched(move || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let data: String = client.query_one("show data_directory", &[]).unwrap().get(0);
        for (text, name) in texts.iter().zip(["server.crt", "server.key"]) {
            // So that the server's user has it, and no other.
            let lines = format!("select unnest(string_to_array(trim('{text}', E'\\n'), E'\\n'))");
            client
                .batch_execute(&format!("copy ({lines}) to program 'umask 077; cat > {data}/{name}'"))
                .unwrap();
        }
        client.batch_execute("alter system set ssl = on").unwrap();
        client.batch_execute("select pg_reload_conf()").unwrap();
        let trusting = |mode: &str, host: &str, file: &str| {
            let url = url.replacen("127.0.0.1", host, 1);
            Postgres::open(&format!("{url}?sslmode={mode}&sslrootcert={}", folder.file(file)), "tls")
        };
        // A reload takes a moment.
        let start = Instant::now();
        let broker = loop {
            match trusting("verify-full", "localhost", "own-certificate.pem") {
                Ok(broker) => break broker,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{error}"),
            }
            sleep(Duration::from_millis(5));
        };
        assert_eq!(broker.push(&[NewJob::new("job")]).unwrap(), 1);
        let sql = "select count(*) from pg_stat_ssl where ssl";
        assert_eq!(client.query_one(sql, &[]).unwrap().get::<_, i64>(0), 1);
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(told(trusting(mode, "localhost", "other-certificate.pem")), "Untrusted");
            assert_eq!(told(trusting(mode, "127.0.0.1", "own-certificate.pem")), "Untrusted");
        }
        assert_eq!(told(trusting("require", "localhost", "none.pem")), "Address");
        assert_eq!(told(trusting("often", "localhost", "own-certificate.pem")), "Address");
    });
}
