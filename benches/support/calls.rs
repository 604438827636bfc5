//! What a program calls that blocks, beside sockets: files, closures for another thread, names, child processes.

use std::fs;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::arguments::Arguments;
use crate::support::clock::{Spent, Stopwatch, now};
use crate::support::green::Green;
use crate::support::output::Output;
use crate::support::runtime::Runtime;

/// Read or written at once.
pub(crate) const BLOCK: usize = 4 * 1024;
/// How large a file is that is read or written in blocks.
pub(crate) const LARGE: usize = 1024 * 1024;
/// How large a file is that is read as a whole, and how many there are of them.
pub(crate) const SMALL: usize = 16 * 1024;
pub(crate) const SMALL_FILES: usize = 256;
/// Of /etc/hosts, so that nothing leaves the machine.
pub(crate) const NAME: &str = "localhost";
pub(crate) const CHILD: &str = "/bin/true";

/// A kind of thread, with what it has for calls that block.
pub(crate) trait Calls: Runtime {
    type File: Read + Write + Seek + Send + 'static;
    /// To read from and to write to; made where there is none.
    fn open(path: &Path) -> Self::File;
    fn synchronize(file: &Self::File);
    /// All that is in the file.
    fn read_whole(path: &Path) -> Vec<u8>;
    /// Runs `f` where it keeps nobody else waiting.
    fn unblock(f: impl FnOnce() -> u64 + Send + 'static) -> u64;
    /// How many addresses that name has.
    fn look_up(name: &str) -> usize;
    /// Runs a program to its end; whether that was a good one.
    fn run_child(program: &str) -> bool;
}

impl Calls for Green {
    type File = greenloop::fs::File;
    fn open(path: &Path) -> Self::File {
        let mut options = greenloop::fs::File::options();
        options.read(true).write(true).create(true).truncate(false).open(path).unwrap()
    }
    fn synchronize(file: &Self::File) {
        file.sync_data().unwrap();
    }
    fn read_whole(path: &Path) -> Vec<u8> {
        greenloop::fs::read(path).unwrap()
    }
    fn unblock(f: impl FnOnce() -> u64 + Send + 'static) -> u64 {
        greenloop::threadpool::unblock(f)
    }
    fn look_up(name: &str) -> usize {
        greenloop::net::lookup_host((name, 80)).unwrap().count()
    }
    fn run_child(program: &str) -> bool {
        greenloop::process::Command::new(program).status().unwrap().success()
    }
}

/// Runs the measure that the command line names, if it is one of these.
pub(crate) fn run<R: Calls>(output: &Output, arguments: &Arguments) -> bool {
    let get = |key, default| arguments.get(key, default);
    match arguments.measure.as_str() {
        "file_read" => read::<R>(output, get("tasks", 1), get("iters", 20_000)),
        "file_write" => write::<R>(output, get("tasks", 1), get("iters", 20_000)),
        "file_sync" => synchronize::<R>(output, get("tasks", 16), get("iters", 500)),
        "file_whole" => {
            read_whole::<R>(output, get("tasks", 16), get("iters", 5_000), arguments.has("cold"));
        }
        "unblock" => unblock::<R>(output, get("tasks", 1), get("iters", 50_000)),
        "names" => names::<R>(output, get("rate", 1_000), get("iters", 2_000)),
        "children" => children::<R>(output, get("tasks", 100), get("rounds", 3)),
        _ => return false,
    }
    true
}

/// `tasks` tasks that do `body` with their number, all begun together; what that took until the last has ended.
fn together<R: Calls>(tasks: usize, body: impl Fn(usize) + Clone + Send + 'static) -> Spent {
    let clock = Stopwatch::start();
    let begin = |task| {
        let body = body.clone();
        R::spawn(move || body(task))
    };
    let handles: Vec<_> = (0..tasks).map(begin).collect();
    handles.into_iter().for_each(R::join);
    clock.stop()
}

/// Two lines: wall and processor time of each of `total`.
pub(crate) fn report(output: &Output, metric: &str, tasks: usize, spent: Spent, total: usize) {
    output.metric(&format!("{metric}.K={tasks}"), spent.wall / total as f64, "ns");
    output.metric(&format!("{metric}_cpu.K={tasks}"), spent.processor / total as f64, "ns");
}

/// Blocks of large files, one for each task, which the kernel has in memory.
fn read<R: Calls>(output: &Output, tasks: usize, iterations: usize) {
    let folder = Arc::new(Folder::new(tasks, LARGE));
    let turns = (iterations / tasks).max(1);
    let spent = together::<R>(tasks, move |task| {
        let mut file = R::open(&folder.path(task));
        let mut block = [0; BLOCK];
        for turn in 0..turns {
            if turn % (LARGE / BLOCK) == 0 {
                file.rewind().unwrap();
            }
            file.read_exact(&mut block).unwrap();
        }
    });
    report(output, "file_read", tasks, spent, turns * tasks);
}

/// Blocks into large files, one for each task. None is waited for to be on the disk.
fn write<R: Calls>(output: &Output, tasks: usize, iterations: usize) {
    let folder = Arc::new(Folder::new(tasks, LARGE));
    let turns = (iterations / tasks).max(1);
    let spent = together::<R>(tasks, move |task| {
        let mut file = R::open(&folder.path(task));
        for turn in 0..turns {
            if turn % (LARGE / BLOCK) == 0 {
                file.rewind().unwrap();
            }
            file.write_all(&[turn as u8; BLOCK]).unwrap();
        }
        file.flush().unwrap();
    });
    report(output, "file_write", tasks, spent, turns * tasks);
}

/// A block into a file of each task's own, and on to the disk.
fn synchronize<R: Calls>(output: &Output, tasks: usize, iterations: usize) {
    let folder = Arc::new(Folder::new(tasks, LARGE));
    let turns = (iterations / tasks).max(1);
    let spent = together::<R>(tasks, move |task| {
        let mut file = R::open(&folder.path(task));
        for turn in 0..turns {
            file.write_all(&[turn as u8; BLOCK]).unwrap();
            file.flush().unwrap();
            R::synchronize(&file);
        }
    });
    report(output, "file_sync", tasks, spent, turns * tasks);
}

/// Small files, each opened, read and closed; `cold` if none is to be in memory.
fn read_whole<R: Calls>(output: &Output, tasks: usize, iterations: usize, cold: bool) {
    let folder = Arc::new(Folder::new(SMALL_FILES, SMALL));
    let passes = iterations.div_ceil(SMALL_FILES);
    let mut total = Spent { wall: 0.0, processor: 0.0 };
    for _ in 0..passes {
        if cold {
            folder.evict();
        }
        let next = Arc::new(AtomicUsize::new(0));
        let files = folder.clone();
        let spent = together::<R>(tasks, move |_| {
            while let file @ 0..SMALL_FILES = next.fetch_add(1, Ordering::SeqCst) {
                assert_eq!(R::read_whole(&files.path(file)).len(), SMALL);
            }
        });
        total.wall += spent.wall;
        total.processor += spent.processor;
    }
    report(output, whole_metric(cold), tasks, total, passes * SMALL_FILES);
}

pub(crate) fn whole_metric(cold: bool) -> &'static str {
    if cold { "file_cold" } else { "file_whole" }
}

/// Closures that do next to nothing.
fn unblock<R: Calls>(output: &Output, tasks: usize, iterations: usize) {
    let turns = (iterations / tasks).max(1) as u64;
    let work = move |_| (0..turns).for_each(|turn| assert_eq!(R::unblock(move || turn + 1), turn + 1));
    // The threads are made before.
    together::<R>(tasks, |_| assert_eq!(R::unblock(|| 0), 0));
    let spent = together::<R>(tasks, work);
    report(output, "unblock", tasks, spent, turns as usize * tasks);
}

/// `rate` lookups begin each second, whether those before have ended or not.
fn names<R: Calls>(output: &Output, rate: usize, iterations: usize) {
    let late = Arc::new(Mutex::new(Vec::with_capacity(iterations)));
    assert!(R::look_up(NAME) > 0);
    let clock = Stopwatch::start();
    let start = now();
    let begin = |number: usize| {
        let due = start + (number * 1_000_000_000 / rate) as u64;
        let early = due.saturating_sub(now());
        if early > 0 {
            R::sleep(Duration::from_nanos(early));
        }
        let late = late.clone();
        R::spawn(move || {
            assert!(R::look_up(NAME) > 0);
            late.lock().unwrap().push(now() - due);
        })
    };
    let handles: Vec<_> = (0..iterations).map(begin).collect();
    handles.into_iter().for_each(R::join);
    report_names(output, rate, clock.stop(), &mut late.lock().unwrap());
}

/// How long after its time each answer was there, and the processor time of a lookup.
pub(crate) fn report_names(output: &Output, rate: usize, spent: Spent, late: &mut [u64]) {
    late.sort_unstable();
    let at = |hundredth: usize| late[(late.len() * hundredth / 100).min(late.len() - 1)] as f64 / 1e3;
    output.metric(&format!("names_p50.R={rate}"), at(50), "us");
    output.metric(&format!("names_p99.R={rate}"), at(99), "us");
    output.metric(&format!("names_cpu.R={rate}"), spent.processor / late.len() as f64, "ns");
}

/// So many child processes at once, `rounds` times.
fn children<R: Calls>(output: &Output, tasks: usize, rounds: usize) {
    // What the first child needs is there before.
    assert!(R::run_child(CHILD));
    let mut total = Spent { wall: 0.0, processor: 0.0 };
    for _ in 0..rounds {
        let spent = together::<R>(tasks, |_| assert!(R::run_child(CHILD)));
        total.wall += spent.wall;
        total.processor += spent.processor;
    }
    report(output, "children", tasks, total, rounds * tasks);
}

/// Files for one measure, which go with it.
pub(crate) struct Folder {
    path: PathBuf,
    files: usize,
}

impl Folder {
    /// Of `files` files of `size` bytes each, which are on the disk and in memory.
    pub(crate) fn new(files: usize, size: usize) -> Folder {
        let folder = Folder { path: std::env::temp_dir().join(format!("greenloop-measure-{}", id())), files };
        fs::create_dir(&folder.path).unwrap();
        for file in 0..files {
            let mut file = fs::File::create(folder.path(file)).unwrap();
            file.write_all(&vec![1; size]).unwrap();
            file.sync_all().unwrap();
        }
        folder
    }

    pub(crate) fn path(&self, file: usize) -> PathBuf {
        self.path.join(file.to_string())
    }

    /// Has the kernel forget the contents of all.
    pub(crate) fn evict(&self) {
        for file in 0..self.files {
            let file = fs::File::open(self.path(file)).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
