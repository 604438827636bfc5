//! Green threads that allocate while OS threads do, in blocks that say whose they are.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use greenloop::process::Command;
use greenloop::{Builder, JoinHandle, sleep, yield_now};

/// How many green threads allocate in all, where that has to be many.
pub const MANY: usize = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
/// The same where there are several settings.
pub const SOME: usize = MANY / 20;

/// How long a process may take.
const LIMIT: Duration = Duration::from_secs(1200);

/// How many green threads are alive at a time.
const AT_ONCE: usize = 200;

/// Says in a process's environment that it is to [work](work), and how much.
const MARK: &str = "GREENLOOP_ALLOCATORS";

/// Blocks of many sizes that say whose they are.
struct Blocks {
    blocks: VecDeque<Vec<u64>>,
    number: u64,
    made: u64,
}

impl Blocks {
    fn new(number: u64) -> Blocks {
        Blocks { blocks: VecDeque::new(), number, made: 0 }
    }

    /// Makes one and, if there are too many, frees the oldest.
    ///
    /// # Panics
    ///
    /// If a block holds what was not written there.
    fn turn_over(&mut self) {
        let length = 4 + (self.made * 7919 + self.number * 104_729) % 2500;
        self.blocks.push_back(vec![self.number ^ length; length as usize]);
        self.made += 1;
        if self.blocks.len() > 20 {
            self.check_oldest();
        }
    }

    fn check_oldest(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            let expected = self.number ^ block.len() as u64;
            assert!(block.iter().all(|word| *word == expected), "somebody else has written here");
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        while !self.blocks.is_empty() {
            self.check_oldest();
        }
    }
}

/// So many green threads allocate, yield, sleep and contend for a lock, beside three OS threads that allocate. Returns how many have
/// ended well.
fn work(count: usize, isolated: bool) -> usize {
    greenloop::monkey::patch_all();
    let stop = AtomicBool::new(false);
    let ended = Mutex::new(Vec::new());
    let ended: &'static Mutex<Vec<usize>> = Box::leak(Box::new(ended));
    thread::scope(|scope| {
        let stop = &stop;
        for number in 0..3 {
            scope.spawn(move || {
                let mut blocks = Blocks::new(number);
                while !stop.load(Ordering::Relaxed) {
                    blocks.turn_over();
                }
            });
        }
        let mut tasks: VecDeque<JoinHandle<()>> = VecDeque::new();
        for number in 0..count {
            let body = move || {
                let mut blocks = Blocks::new(number as u64 + 3);
                blocks.turn_over();
                yield_now();
                blocks.turn_over();
                if number % 16 == 0 {
                    sleep(Duration::from_micros(50));
                }
                blocks.turn_over();
                ended.lock().expect("no panic").push(number);
            };
            tasks.push_back(Builder::new().isolated(isolated).spawn(body).expect("a green thread"));
            if tasks.len() >= AT_ONCE {
                tasks.pop_front().expect("one of them").join().expect("no panic");
            }
        }
        tasks.into_iter().for_each(|task| task.join().expect("no panic"));
        stop.store(true, Ordering::Relaxed);
    });
    let mut ended = ended.lock().expect("no panic");
    ended.sort_unstable();
    ended.dedup();
    ended.len()
}

/// Runs `work` in a process of its own, which is this one again with the one test `name`, which calls this; `settings` is a variable
/// of the environment that an allocator reads when it begins.
///
/// # Panics
///
/// If that process fails, or has not ended in twenty minutes.
pub fn under(name: &str, settings: (&str, &str), count: usize, isolated: bool) {
    let asked = format!("{count} {isolated} {}", settings.1);
    if let Ok(mark) = std::env::var(MARK) {
        if mark == asked {
            assert_eq!(work(count, isolated), count);
        }
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--test-threads=1"])
        .env(MARK, &asked)
        .env(settings.0, settings.1)
        .spawn()
        .expect("a child");
    if let Some(status) = child.wait_timeout(LIMIT).expect("its status") {
        return assert!(status.success(), "{asked}: {status}");
    }
    child.kill().expect("it is there");
    panic!("{asked}: hangs");
}
