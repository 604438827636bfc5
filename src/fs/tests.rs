use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::*;
use crate::hub::{Config, Driver, configure};
use crate::task::{spawn, with_timeout, yield_now};
use crate::threadpool::offload;

/// All threads for files are busy, so that nothing begins, on a driver that leaves all to them.
#[test]
fn what_has_not_begun_is_not_done() {
    let run = || {
        configure(Config::new().driver(Driver::Epoll)).unwrap();
        let path = std::env::temp_dir().join(format!("greenloop-not-begun-{}", std::process::id()));
        std::fs::write(&path, "before").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let (open, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let busy: Vec<_> = (0..64)
            .map(|_| {
                let gate = gate.clone();
                spawn(move || offload(move || Ok(gate.lock().unwrap().recv().is_err())))
            })
            .collect();
        yield_now();
        let soon = Duration::from_millis(5);
        assert!(with_timeout(soon, || write(&path, "after")).is_err());
        assert!(with_timeout(soon, || remove_file(&path)).is_err());
        assert!(with_timeout(soon, || (&file).write_all(b"after")).is_err());
        let mut buffer = vec![0; 6];
        assert!(with_timeout(soon, || (&file).read(&mut buffer)).is_err());
        assert!(with_timeout(soon, || file.try_lock()).is_err());
        let killed = spawn({
            let path = path.clone();
            move || rename(&path, "elsewhere")
        });
        yield_now();
        killed.kill();
        drop(open);
        assert!(busy.into_iter().all(|task| task.join().unwrap().unwrap()));
        assert_eq!(read(&path).unwrap(), b"before");
        assert_eq!(buffer, [0; 6]);
        File::open(&path).unwrap().try_lock().unwrap();
        remove_file(path).unwrap();
    };
    thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
