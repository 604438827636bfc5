use std::io::{PipeReader, PipeWriter, Write};
use std::thread;

use super::*;
use crate::hub::{Config, Driver, configure};
use crate::task::{spawn, yield_now};

/// Runs `body` on a hub with io_uring, if there is such a thing.
fn on_io_uring(body: impl FnOnce() + Send + 'static) {
    if !Driver::IoUring.is_available() {
        return;
    }
    let run = move || {
        configure(Config::new().driver(Driver::IoUring)).unwrap();
        body();
    };
    thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn pipe() -> (Arc<PipeReader>, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    (Arc::new(reader), writer)
}

/// A read that io_uring does as a whole, though a pipe tells readiness: it lasts until somebody writes.
fn read_here(reader: &PipeReader, buffer: &mut [u8]) -> io::Result<usize> {
    let hub = performer().expect("the driver is io_uring");
    let entry = Entry::read(reader.as_fd(), vec![0; buffer.len()], 0, None);
    let (done, entry) = hub.reactor().perform(entry, "a test");
    let count = done.map(Done::count)?;
    buffer[..count].copy_from_slice(&entry.into_bytes()[..count]);
    Ok(count)
}

/// What lies in the pipe.
fn rest(mut reader: &PipeReader, writer: PipeWriter) -> Vec<u8> {
    drop(writer);
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    bytes
}

/// Lets the kernel hear of what was asked.
fn settle() {
    for _ in 0..3 {
        crate::task::sleep(std::time::Duration::from_nanos(1));
        yield_now();
    }
}

#[test]
fn what_was_lent_comes_back_before_a_kill_is_done() {
    on_io_uring(|| {
        for submitted in [false, true] {
            let (reader, mut writer) = pipe();
            let source = Arc::clone(&reader);
            let task = spawn(move || {
                let mut buffer = [7; 64];
                let _ = read_here(&source, &mut buffer);
            });
            yield_now();
            if submitted {
                settle();
            }
            task.kill();
            assert!(task.is_finished());
            writer.write_all(b"kept").unwrap();
            settle();
            assert_eq!(rest(&reader, writer), b"kept");
        }
    });
}

#[test]
fn a_kill_that_comes_too_late_loses_nothing() {
    on_io_uring(|| {
        for _ in 0..200 {
            let (reader, mut writer) = pipe();
            let source = Arc::clone(&reader);
            let got = Arc::new(std::sync::Mutex::new(Vec::new()));
            let sink = Arc::clone(&got);
            let task = spawn(move || {
                let mut buffer = [0; 64];
                let count = read_here(&source, &mut buffer).unwrap();
                sink.lock().unwrap().extend(&buffer[..count]);
                yield_now();
                unreachable!("the kill is raised at the next wait");
            });
            settle();
            let writes = thread::spawn(move || {
                writer.write_all(b"abc").unwrap();
                writer
            });
            task.kill();
            assert!(task.join().unwrap_err().is_killed());
            let writer = writes.join().unwrap();
            let got = std::mem::take(&mut *got.lock().unwrap());
            assert_eq!([got, rest(&reader, writer)].concat(), b"abc");
        }
    });
}

#[test]
fn a_time_limit_ends_an_operation() {
    on_io_uring(|| {
        let (reader, mut writer) = pipe();
        let mut buffer = [0; 8];
        let limit = std::time::Duration::from_millis(2);
        assert!(crate::task::with_timeout(limit, || read_here(&reader, &mut buffer)).is_err());
        writer.write_all(b"ab").unwrap();
        let read =
            crate::task::with_timeout(std::time::Duration::from_secs(60), || read_here(&reader, &mut buffer));
        assert_eq!((read.unwrap().unwrap(), &buffer[..2]), (2, &b"ab"[..]));
    });
}

#[test]
fn a_thread_that_ends_leaves_nothing_in_the_kernel() {
    let (reader, mut writer) = pipe();
    let source = Arc::clone(&reader);
    on_io_uring(move || {
        for _ in 0..3 {
            let source = Arc::clone(&source);
            spawn(move || read_here(&source, &mut [0; 64]));
        }
        settle();
    });
    writer.write_all(b"kept").unwrap();
    assert_eq!(rest(&reader, writer), b"kept");
}

#[test]
fn many_at_once_each_get_their_own() {
    on_io_uring(|| {
        let path = std::env::temp_dir().join(format!("greenloop-lent-{}", std::process::id()));
        let bytes: Vec<u8> = (0..25_000).flat_map(u32::to_be_bytes).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = Arc::new(AnyFile::new(std::fs::File::open(&path).unwrap()));
        let readers: Vec<_> = (0..1_000)
            .map(|index: usize| {
                let (file, expected) = (Arc::clone(&file), bytes[index * 10..][..100].to_vec());
                spawn(move || {
                    let mut buffer = [0; 100];
                    assert_eq!(file.read_at(&mut buffer, index as u64 * 10).unwrap(), 100);
                    assert_eq!(buffer, *expected);
                })
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        // At the file's own position each gets what no other gets, in no order.
        let readers: Vec<_> = (0..100)
            .map(|_| {
                let file = Arc::clone(&file);
                spawn(move || {
                    let mut buffer = [0; 1_000];
                    let count = file.read(&mut buffer).unwrap();
                    buffer[..count].to_vec()
                })
            })
            .collect();
        let mut read: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        read.sort_unstable();
        assert!(read.concat() == bytes);
        std::fs::remove_file(path).unwrap();
    });
}

/// The kernel locks the position while another thread reads there, and who comes then waits, whatever it asks for.
#[test]
fn nobody_reads_here_while_another_thread_has_the_position() {
    let program = std::fs::File::open("/proc/self/exe").unwrap();
    let twin = program.try_clone().unwrap();
    let file = Arc::new(AnyFile::new(program));
    let twin = file.sibling(twin);
    let (go, gone) = std::sync::mpsc::channel();
    let reads = spawn({
        let file = Arc::clone(&file);
        move || file.offload_at_position(move |_| gone.recv().map_err(io::Error::other)).unwrap()
    });
    yield_now();
    assert!(file.at_free_position(|_| ()).is_none() && twin.at_free_position(|_| ()).is_none());
    go.send(()).unwrap();
    reads.join().unwrap();
    assert!(file.at_free_position(|_| ()).is_some() && twin.at_free_position(|_| ()).is_some());
    let turn = file.position.turn.acquire();
    assert!(file.at_free_position(|_| ()).is_none() && twin.at_free_position(|_| ()).is_none());
    drop(turn);
}

#[test]
fn what_goes_past_the_memory_is_not_read_here() {
    use std::os::unix::fs::OpenOptionsExt;

    let path = std::env::temp_dir().join(format!("greenloop-direct-{}", std::process::id()));
    std::fs::write(&path, [1; 8192]).unwrap();
    let plain = AnyFile::new(std::fs::File::open(&path).unwrap());
    assert!(plain.cached);
    let direct = rustix::fs::OFlags::DIRECT.bits() as i32;
    // Some file systems do not have it.
    if let Ok(file) = std::fs::File::options().read(true).custom_flags(direct).open(&path) {
        assert!(!AnyFile::new(file).cached);
    }
    std::fs::remove_file(path).unwrap();
}
