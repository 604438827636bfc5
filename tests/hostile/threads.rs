//! Work that may never end beside work that must.

use std::fs::{create_dir, remove_dir_all};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenloop::fs::{self, File, OpenOptions};
use greenloop::net::lookup_host;
use greenloop::process::Command;
use greenloop::threadpool::unblock;
use greenloop::{JoinHandle, killall, sleep, spawn, with_timeout};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::LIMIT;
use super::support::{each_driver, run_child};

/// More than any pool has threads.
const MANY: usize = 100;

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("greenloop-hostile-{}-{number}", std::process::id()));
        create_dir(&path).unwrap();
        Folder(path)
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What has begun for one that was killed goes on, and may make a file where a named pipe was until just now.
        while let Err(error) = remove_dir_all(&self.0) {
            assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
        }
    }
}

/// Whether a process has ended and been waited for.
fn is_gone(process: u32) -> bool {
    !Path::new(&format!("/proc/{process}")).exists()
}

/// Does one of everything that must end.
fn files_names_and_children(folder: &Folder) {
    with_timeout(LIMIT / 2, || {
        let path = folder.0.join("file");
        fs::write(&path, "text").unwrap();
        let mut text = String::new();
        File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), &fs::read(&path).unwrap()[..]), ("text", &b"text"[..]));
        assert_eq!(fs::copy(&path, folder.0.join("copy")).unwrap(), 4);
        fs::remove_file(&path).unwrap();
        let localhost = lookup_host("localhost:80").unwrap().next().unwrap();
        assert!(localhost.ip().is_loopback());
        let child = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let number = child.id();
        drop(child);
        while !is_gone(number) {
            sleep(Duration::from_millis(1));
        }
    })
    .expect("nothing of that is behind what never ends");
}

/// In a process of its own, whose pools are full.
#[test]
fn users_work_that_does_not_end_keeps_out_nothing_of_the_librarys() {
    let child = run_child(LIMIT, || {
        let (ends, end) = channel::<()>();
        let end = Arc::new(Mutex::new(end));
        let blocked: Vec<_> = (0..MANY)
            .map(|_| {
                let end = end.clone();
                spawn(move || unblock(move || end.lock().unwrap().recv().is_ok()))
            })
            .collect();
        sleep(Duration::from_millis(1));
        files_names_and_children(&Folder::new());
        killall(&blocked);
        files_names_and_children(&Folder::new());
        drop(ends);
    });
    let Some(child) = child else { return };
    assert!(child.status.success(), "{child:?}");
}

fn openers<T: 'static>(fifos: &[PathBuf], open: fn(PathBuf) -> std::io::Result<T>) -> Vec<JoinHandle<bool>> {
    fifos.iter().cloned().map(|fifo| spawn(move || open(fifo).is_ok())).collect()
}

fn open_to_write(path: PathBuf) -> std::io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

each_driver! {
    fn named_pipes_that_nobody_opens_keep_out_nothing() {
        let folder = Folder::new();
        let fifos: Vec<_> = (0..MANY).map(|number| folder.fifo(&number.to_string())).collect();
        let (to_read, to_write) = fifos.split_at(MANY / 2);
        let mut waiting = openers(to_read, File::open);
        waiting.extend(openers(to_read, fs::read));
        waiting.extend(openers(to_write, open_to_write));
        waiting.extend(openers(to_write, |path| fs::write(path, "text")));
        waiting.extend(openers(to_write, |path| fs::copy("/proc/self/exe", &path)));
        sleep(Duration::from_millis(10));
        files_names_and_children(&folder);
        killall(&waiting);
        files_names_and_children(&folder);
        // In the end nobody is left who would read; a call on an OS thread goes on for a moment after the kill of who waits for it.
        for fifo in to_read {
            let nonblocking = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
            while let Ok(_read) = rustix::fs::open(fifo, nonblocking, Mode::empty()) {
                sleep(Duration::from_millis(1));
            }
            assert_eq!(rustix::fs::open(fifo, nonblocking, Mode::empty()).unwrap_err(), rustix::io::Errno::NXIO);
        }
    }

    /// The other ends are std's, on OS threads: as they open for each other.
    fn a_named_pipe_opens_when_its_other_end_does() {
        let folder = Folder::new();
        let path = folder.fifo("pipe");
        // One that has it open and writes nothing yet.
        let (go, gone) = channel::<()>();
        let writer = thread::spawn({
            let path = path.clone();
            move || {
                let mut file = std::fs::File::options().write(true).open(path).unwrap();
                gone.recv().unwrap();
                file.write_all(b"late").unwrap();
            }
        });
        let mut reader = File::open(&path).unwrap();
        go.send(()).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "late");
        writer.join().unwrap();
        drop(reader);
        // One that has gone by then.
        let contents = spawn({
            let path = path.clone();
            move || fs::read(path)
        });
        sleep(Duration::from_millis(1));
        thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, "whole").unwrap()
        });
        assert_eq!(contents.join().unwrap().unwrap(), b"whole");
        // One that reads.
        let reader = thread::spawn({
            let path = path.clone();
            move || std::fs::read(path).unwrap()
        });
        fs::write(&path, "to std").unwrap();
        assert_eq!(reader.join().unwrap(), b"to std");
        // For both it waits for nobody.
        let both = File::options().read(true).write(true).open(&path).unwrap();
        assert!(!rustix::fs::fcntl_getfl(&both).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    }
}
