use std::fs::File;
use std::io::{self, Write};

use greenloop::channel;
use greenloop::server::{ServerError, StreamServer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{open_files, run_child};
use crate::{LIMIT, LOCAL, LONG, connect, hear};

/// Conformance 156. In a process of its own, whose descriptors nobody else opens.
#[test]
fn it_goes_on_when_there_are_descriptors_again() {
    let child = run_child(LIMIT, || {
        let (tell, told) = channel::unbounded();
        let server = StreamServer::bind(LOCAL)
            .unwrap()
            .on_error(move |error| tell.send(error).unwrap())
            .handle(|mut stream, _peer| stream.write_all(b"welcome"));
        // First with plenty, so that the hub has the descriptors that it needs.
        server.start().unwrap();
        assert_eq!(hear(&server).unwrap(), "welcome");
        server.stop_accepting();
        let clients = [(); 3].map(|()| connect(&server));
        let limit = open_files().len() as u64 + 20;
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).unwrap();
        let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        server.start().unwrap();
        for _ in 0..3 {
            let ServerError::Accept(error) = told.recv().unwrap() else { panic!("another error") };
            assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
        }
        hoard.clear();
        for client in clients {
            assert_eq!(io::read_to_string(client).unwrap(), "welcome");
        }
        server.stop(LONG);
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}
