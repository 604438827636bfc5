//! io_uring by hand: one thread, one ring, as many operations under way as the others have tasks. What files cost at the least.

#![expect(unsafe_code, reason = "entries of a ring lend memory to the kernel")]

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};

use crate::calls::{BLOCK, Folder, LARGE, SMALL, SMALL_FILES, report, whole_metric};
use crate::support::arguments::Arguments;
use crate::support::clock::{Spent, Stopwatch};
use crate::support::output::Output;

/// Runs the measure that the command line names.
pub(crate) fn run(output: &Output, arguments: &Arguments) {
    let get = |key, default| arguments.get(key, default);
    match arguments.measure.as_str() {
        "file_read" => blocks(output, "file_read", get("tasks", 1), get("iters", 20_000)),
        "file_write" => blocks(output, "file_write", get("tasks", 1), get("iters", 20_000)),
        "file_sync" => blocks(output, "file_sync", get("tasks", 16), get("iters", 500)),
        "file_whole" => whole(output, get("tasks", 16), get("iters", 5_000), arguments.has("cold")),
        other => output.unsupported(other),
    }
}

/// What a slot, which stands for a task, has asked for last.
enum Step {
    Open,
    Transfer,
    Synchronize,
    Close,
}

/// Submits `entries`, each with the number of its slot, and gives every answer to `next`, which says what that slot asks for then.
/// Returns when no slot has anything under way.
fn drive(
    ring: &mut IoUring,
    entries: Vec<squeue::Entry>,
    mut next: impl FnMut(usize, i32) -> Option<squeue::Entry>,
) {
    let mut under_way = 0;
    let mut asked: VecDeque<_> = (0_u64..).zip(entries).map(|(slot, entry)| entry.user_data(slot)).collect();
    loop {
        while let Some(entry) = asked.pop_front() {
            // SAFETY: what the callers' entries refer to belongs to their slots, and lives until the last of them is answered; no slot
            // has more than one entry under way, and nobody touches its memory meanwhile.
            unsafe { ring.submission().push(&entry) }.expect("a place for each slot");
            under_way += 1;
        }
        if under_way == 0 {
            return;
        }
        ring.submit_and_wait(1).unwrap();
        let answers: Vec<_> = ring.completion().map(|answer| (answer.user_data(), answer.result())).collect();
        for (slot, result) in answers {
            under_way -= 1;
            assert!(result >= 0, "{}", std::io::Error::from_raw_os_error(-result));
            asked.extend(next(slot as usize, result).map(|entry| entry.user_data(slot)));
        }
    }
}

/// Blocks of large files, one file for each slot.
fn blocks(output: &Output, metric: &str, tasks: usize, iterations: usize) {
    let folder = Folder::new(tasks, LARGE);
    let turns = (iterations / tasks).max(1);
    let mut ring = IoUring::new(tasks as u32).unwrap();
    let open = |task| File::options().read(true).write(true).open(folder.path(task)).unwrap();
    let files: Vec<_> = (0..tasks).map(open).collect();
    let mut memory = vec![[1_u8; BLOCK]; tasks];
    let addresses: Vec<_> = memory.iter_mut().map(|block| block.as_mut_ptr()).collect();
    let mut done = vec![0; tasks];
    let entry = |slot: usize, turn: usize| {
        let (file, address) = (Fd(files[slot].as_raw_fd()), addresses[slot]);
        let offset = (turn % (LARGE / BLOCK) * BLOCK) as u64;
        match metric {
            "file_read" => opcode::Read::new(file, address, BLOCK as u32).offset(offset).build(),
            _ => opcode::Write::new(file, address, BLOCK as u32).offset(offset).build(),
        }
    };
    let mut steps: Vec<_> = (0..tasks).map(|_| Step::Transfer).collect();
    let clock = Stopwatch::start();
    drive(&mut ring, (0..tasks).map(|slot| entry(slot, 0)).collect(), |slot, result| {
        if let Step::Transfer = steps[slot] {
            assert_eq!(result as usize, BLOCK);
            if metric == "file_sync" {
                steps[slot] = Step::Synchronize;
                return Some(
                    opcode::Fsync::new(Fd(files[slot].as_raw_fd())).flags(FsyncFlags::DATASYNC).build(),
                );
            }
        }
        steps[slot] = Step::Transfer;
        done[slot] += 1;
        (done[slot] < turns).then(|| entry(slot, done[slot]))
    });
    report(output, metric, tasks, clock.stop(), turns * tasks);
}

/// Small files, each opened, read and closed.
fn whole(output: &Output, tasks: usize, iterations: usize, cold: bool) {
    let folder = Folder::new(SMALL_FILES, SMALL);
    let path = |file| CString::new(folder.path(file).as_os_str().as_bytes()).unwrap();
    let paths: Vec<_> = (0..SMALL_FILES).map(path).collect();
    let passes = iterations.div_ceil(SMALL_FILES);
    let mut ring = IoUring::new(tasks as u32).unwrap();
    let mut memory = vec![[0_u8; SMALL]; tasks];
    let addresses: Vec<_> = memory.iter_mut().map(|block| block.as_mut_ptr()).collect();
    let mut total = Spent { wall: 0.0, processor: 0.0 };
    let here = Fd(rustix::fs::CWD.as_raw_fd());
    let open = |file: usize| opcode::OpenAt::new(here, paths[file].as_ptr()).flags(0).build();
    for _ in 0..passes {
        if cold {
            folder.evict();
        }
        let mut next = tasks;
        let mut steps: Vec<_> = (0..tasks).map(|_| (Step::Open, Fd(-1))).collect();
        let clock = Stopwatch::start();
        drive(&mut ring, (0..tasks).map(open).collect(), |slot, result| match steps[slot] {
            (Step::Open, _) => {
                let file = Fd(result);
                steps[slot] = (Step::Transfer, file);
                Some(opcode::Read::new(file, addresses[slot], SMALL as u32).build())
            }
            (Step::Transfer, file) => {
                assert_eq!(result as usize, SMALL);
                steps[slot].0 = Step::Close;
                Some(opcode::Close::new(file).build())
            }
            _ => {
                steps[slot].0 = Step::Open;
                next += 1;
                (next <= SMALL_FILES).then(|| open(next - 1))
            }
        });
        let spent = clock.stop();
        total.wall += spent.wall;
        total.processor += spent.processor;
    }
    report(output, whole_metric(cold), tasks, total, passes * SMALL_FILES);
}
