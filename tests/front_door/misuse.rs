//! A caller's mistake is told where the caller made it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use greenloop::channel::{never, unbounded};
use greenloop::greenlet::{Generator, Yielder};
use greenloop::hub::Hub;
use greenloop::queue::{JoinableQueue, Queue};
use greenloop::select::Select;
use greenloop::sync::{BoundedSemaphore, LazyLock, Once, Semaphore};
use greenloop::{Interval, io, pool, scope, spawn};

use crate::LIMIT;
use crate::support::{finish, run_child};

greenloop::greenlet_local! {
    static LOCAL: RefCell<u32> = RefCell::new(1);
}

/// What must be told at the place of the call, each with what it says.
const MISTAKES: &[(&str, fn())] = &[
    ("the capacity of a queue must not be 0", || drop(Queue::<u32>::bounded(0))),
    ("more tasks done than items put", || JoinableQueue::<u32>::unbounded().task_done()),
    ("the period of an interval must not be zero", || {
        assert_eq!(Interval::new(Duration::ZERO).period(), LIMIT)
    }),
    ("only the main greenlet can join its hub", || Hub::current().join()),
    ("only the main greenlet can join its hub", || assert!(Hub::current().join_timeout(Duration::ZERO))),
    ("no operations have been added to `Select`", || drop(Select::new().select())),
    ("no operations have been added to `Select`", || assert_eq!(Select::new().ready(), 0)),
    ("there is no operation with this index in the `Select`", || Select::new().remove(0)),
    ("passed a receiver that wasn't selected", || {
        let (sender, receiver) = unbounded();
        sender.send(1).unwrap();
        let mut select = Select::new();
        select.recv(&receiver);
        let _ = select.select().recv(&never::<u32>());
    }),
    ("more permits than there may be", || Semaphore::new(1).release(usize::MAX)),
    ("more permits than there may be", || BoundedSemaphore::new(1).release(1)),
    ("Once instance has previously been poisoned", || {
        let once = Once::new();
        let _ = catch_unwind(|| once.call_once(|| std::panic::resume_unwind(Box::new(()))));
        once.call_once(|| ());
    }),
    ("LazyLock instance has previously been poisoned", || {
        let lazy: LazyLock<u32> = LazyLock::new(|| std::panic::resume_unwind(Box::new(())));
        let _ = catch_unwind(|| *LazyLock::force(&lazy));
        let _ = LazyLock::force(&lazy);
    }),
    ("a scoped green thread panicked", || {
        scope(|scope| drop(scope.spawn(|| std::panic::resume_unwind(Box::new(())))));
    }),
    ("a scoped green thread panicked", || {
        pool::scope(1, |pool| drop(pool.spawn(|| std::panic::resume_unwind(Box::new(())))));
    }),
    ("a generator yields in its body's own greenlet", || {
        let mut generator = Generator::new(|generator: &Yielder<(), u32>, ()| {
            let ended = scope(|scope| scope.spawn(|| generator.yield_(1)).join());
            std::panic::resume_unwind(ended.unwrap_err().into_payload());
        });
        generator.next();
    }),
    ("the value is borrowed", || LOCAL.with_borrow(|_| LOCAL.set(2))),
    ("the value is mutably borrowed", || {
        LOCAL.with_borrow_mut(|_| assert_eq!(LOCAL.with_borrow(|value| *value), 1))
    }),
    ("there is no payload of a panic", || {
        let forever = spawn(|| greenloop::sleep(LIMIT));
        forever.kill();
        drop(forever.join().unwrap_err().into_panic());
    }),
];

#[test]
fn a_mistake_is_told_where_it_was_made() {
    let scenario = || {
        for (number, &(text, mistake)) in MISTAKES.iter().enumerate() {
            set_hook(Box::new(move |info| {
                println!("{number} {} {info}", info.location().map_or("", Location::file));
            }));
            let green = spawn(move || catch_unwind(AssertUnwindSafe(mistake)).is_err());
            assert!(green.join().unwrap(), "{text}");
            drop(take_hook());
        }
    };
    let Some(child) = run_child(LIMIT, scenario) else { return };
    assert!(child.status.success(), "{child:?}");
    for (number, (text, _)) in MISTAKES.iter().enumerate() {
        let expected = format!("\n{number} tests/front_door/misuse.rs ");
        let at = child.stdout.find(&expected).unwrap_or_else(|| panic!("{text}: {}", child.stdout));
        assert!(
            child.stdout[at..].lines().take(3).any(|line| line.contains(text)),
            "{text}: {}",
            child.stdout
        );
    }
}

/// What is wrong in a `select!`, and what the compiler says.
const SELECTS: &[(&str, &str)] = &[
    ("recv(receiver) => (),", "`-> name` is missing after `recv(receiver)` in select!"),
    ("send(sender, 1) => (),", "`-> name` is missing after `send(sender, 1)` in select!"),
    ("readable(receiver) => (),", "`-> name` is missing after `readable(receiver)` in select!"),
    (
        "recv(receiver) -> _ => (), default => (), default => (),",
        "there are two `default` arms in this select!",
    ),
    ("default -> _ => (),", "`default` in select! has no result"),
    ("default(1, 2) => (),", "`default` in select! takes one time limit, or nothing"),
    ("recv() -> _ => (),", "`recv()` in select! takes one receiver"),
    ("send(sender) -> _ => (),", "`send(sender)` in select! takes a sender and a value"),
    (
        "receive(receiver) -> _ => (),",
        "an arm of select! is recv, send, readable, writable or default, and not `receive`",
    ),
    ("recv(receiver) -> number,", "after `recv(receiver)` in select! comes `-> name => body`"),
    (
        "recv(receiver) -> _ => 1 recv(receiver) -> _ => 2",
        "the body of `recv(receiver)` in select! is an expression, with a comma",
    ),
    ("3 => (),", "an arm of select! begins with recv, send, readable, writable or default: `3 => (),`"),
];

#[test]
fn a_select_says_what_is_missing() {
    let folder = std::env::temp_dir().join(format!("greenloop-select-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["select", "select_biased"] {
        let cases = SELECTS.iter().map(|(arms, _)| {
            format!("{{ let (sender, receiver) = greenloop::channel::unbounded(); greenloop::{name}! {{ {arms} }} }}\n")
        });
        let source = folder.join(format!("{name}.rs"));
        std::fs::write(&source, format!("fn main() {{\n{}}}\n", cases.collect::<String>())).unwrap();
        let mut command = Command::new(Path::new(env!("CARGO")).with_file_name("rustc"));
        command.args(["--edition", "2024", "--emit", "metadata", "--out-dir"]).arg(&folder).arg(&source);
        command.arg("--extern").arg(format!("greenloop={}", library().display()));
        command.arg("-L").arg(format!("dependency={}", dependencies().display()));
        let compiled = finish(&mut command, LIMIT);
        for (arms, expected) in SELECTS {
            assert!(compiled.stderr.contains(&format!("error: {expected}")), "{arms}: {}", compiled.stderr);
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

fn dependencies() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The library as it was built last, which is for this program.
fn library() -> PathBuf {
    let built = dependencies().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let library = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("libgreenloop-") && name.ends_with(".rlib")
    };
    built
        .filter(library)
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .expect("the library")
}

/// Nothing of this is a mistake.
#[test]
fn a_select_that_is_right_compiles() {
    let (sender, receiver) = unbounded();
    let (reader, _writer) = io::pipe().unwrap();
    let got = greenloop::select! {
        send(sender, 1) -> sent => sent.map(|()| 0).ok(),
        readable(reader) -> ready => ready.map(|()| 1).ok(),
        default(LIMIT) => None,
    };
    assert_eq!((got, receiver.try_recv()), (Some(0), Ok(1)));
}
