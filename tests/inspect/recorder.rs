use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::channel::{bounded, unbounded};
use greenloop::inspect::{self, HubMetrics, Occasion, Recorder, Recording};
use greenloop::process::{Fork, fork, wait_pid};
use greenloop::testing;
use greenloop::{Builder, joinall, sleep, spawn, with_timeout, yield_now};
use serde_json::Value;

use crate::support::{finish, this_program, until, within};
use crate::{LIMIT, LONG, alone};

/// Those of the calling thread's hub, which it has.
fn own() -> HubMetrics {
    inspect::metrics().hubs()[0].clone()
}

fn timed<R>(run: impl FnOnce() -> R) -> (R, HubMetrics) {
    yield_now();
    inspect::time_slices(true);
    let result = run();
    let metrics = own();
    inspect::time_slices(false);
    (result, metrics)
}

#[test]
fn each_switch_is_counted_once() {
    let _alone = alone();
    within(LIMIT, || {
        let counts = |times: usize| {
            let run = move || {
                let both = [(); 2].map(|()| spawn(move || (0..times).for_each(|_| yield_now())));
                joinall(&both);
            };
            let ((), metrics) = timed(run);
            (metrics.slices.unwrap().count(), metrics.delays.unwrap().count())
        };
        let (slices, delays) = counts(1000);
        let more = counts(3000);
        // Main may go on once more, before the second has ended.
        assert!(
            more.0.abs_diff(slices + 4000) <= 2 && more.1.abs_diff(delays + 4000) <= 2,
            "{more:?} {slices} {delays}"
        );
        // The two begin, main goes on when they have ended.
        assert!((2002..2010).contains(&slices) && (2000..2010).contains(&delays), "{slices} {delays}");
        let ((), metrics) = timed(|| (0..500).for_each(|_| spawn(|| ()).join().unwrap()));
        assert!((1000..1010).contains(&metrics.slices.unwrap().count()));
        // Off, nobody asks.
        assert_eq!((own().slices, own().delays), (None, None));
    });
}

#[test]
fn a_slice_is_as_long_as_it_runs_and_who_waits_for_it_is_late() {
    let _alone = alone();
    within(LIMIT, || {
        let start = Instant::now();
        let ((), metrics) = timed(|| {
            let (sender, receiver) = unbounded();
            let waiter = spawn(move || receiver.recv().unwrap());
            yield_now();
            let keeper = spawn(move || {
                sender.send(7).unwrap();
                // std's, which keeps the hub.
                thread::sleep(Duration::from_millis(20));
            });
            assert_eq!(waiter.join().unwrap(), 7);
            keeper.join().unwrap();
            // In which nobody runs.
            sleep(Duration::from_millis(30));
        });
        let (slices, delays) = (metrics.slices.as_ref().unwrap(), metrics.delays.as_ref().unwrap());
        assert!(slices.quantile(1.0) >= Duration::from_millis(20));
        assert!(delays.sum() >= Duration::from_millis(20), "{delays:?}");
        assert!(slices.sum() + Duration::from_millis(30) <= start.elapsed(), "{slices:?}");
    });
}

#[test]
fn prometheus_gets_the_histograms() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        inspect::time_slices(true);
        spawn(yield_now).join().unwrap();
        let metrics = inspect::metrics();
        inspect::time_slices(false);
        let text = metrics.to_string();
        let hub = &metrics.hubs()[0];
        for (name, histogram) in [("run_slice_seconds", &hub.slices), ("ready_delay_seconds", &hub.delays)] {
            let (count, id) = (histogram.as_ref().unwrap().count(), hub.thread_id);
            let of_hub = |line: &&str| line.contains(&format!("hub=\"{id}\""));
            let lines: Vec<_> = text.lines().filter(of_hub).filter(|line| line.contains(name)).collect();
            let number = |line: &&str| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
            let (buckets, rest) = lines.split_at(lines.len() - 2);
            assert!(buckets.windows(2).all(|pair| number(&pair[0]) <= number(&pair[1])), "{lines:?}");
            assert!(buckets.last().unwrap().contains("le=\"+Inf\"") && buckets.len() > 20);
            assert_eq!((number(buckets.last().unwrap()), number(&rest[1])), (count as f64, count as f64));
            assert!(text.contains(&format!("# TYPE greenloop_{name} histogram")));
        }
    });
}

/// As a program reads it.
fn parsed(recording: &Recording) -> Vec<Value> {
    let mut json = Vec::new();
    recording.write_json(&mut json).unwrap();
    let mut value: Value = serde_json::from_slice(&json).expect("JSON");
    match value["traceEvents"].take() {
        Value::Array(events) => events,
        other => panic!("{other}"),
    }
}

fn of_phase<'a>(events: &'a [Value], phase: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["ph"] == phase).collect()
}

fn nanoseconds(value: &Value) -> u64 {
    (value.as_f64().unwrap() * 1000.0).round() as u64
}

/// A ping-pong of two, of whom one has a name.
fn play(times: usize) {
    let (there, arrives) = bounded(1);
    let (back, returns) = bounded(1);
    let ponger = Builder::new().name("ponger").spawn(move || {
        for number in arrives {
            back.send(number).unwrap();
        }
    });
    let pinger = spawn(move || {
        for number in 0..times {
            there.send(number).unwrap();
            assert_eq!(returns.recv().unwrap(), number);
        }
    });
    pinger.join().unwrap();
    ponger.unwrap().join().unwrap();
}

/// What a recorder has of that.
fn recording_of(times: usize) -> Recording {
    yield_now();
    let recorder = Recorder::start(1 << 20).unwrap();
    play(times);
    recorder.snapshot()
}

/// Holds it to the rules of the format, and of time.
fn assert_sound(events: &[Value]) {
    for event in events {
        assert!(event["pid"].is_u64() && event["name"].is_string(), "{event}");
    }
    // Those of one hub do not overlap.
    let mut ends: HashMap<u64, u64> = HashMap::new();
    for slice in of_phase(events, "X") {
        let (thread, start) = (slice["tid"].as_u64().unwrap(), nanoseconds(&slice["ts"]));
        let end = ends.entry(thread).or_insert(0);
        assert!(start + 1 >= *end, "{slice}");
        *end = start + nanoseconds(&slice["dur"]);
    }
    // Each arrow that ends has begun, before.
    let begun: HashMap<_, _> = of_phase(events, "s")
        .into_iter()
        .map(|arrow| (arrow["id"].as_u64().unwrap(), nanoseconds(&arrow["ts"])))
        .collect();
    let mut ended = HashSet::new();
    for arrow in of_phase(events, "f") {
        let id = arrow["id"].as_u64().unwrap();
        assert!(begun[&id] <= nanoseconds(&arrow["ts"]) && ended.insert(id), "{arrow}");
    }
    // Each wait has two ends.
    let waits =
        |phase| of_phase(events, phase).into_iter().map(|end| (end["id"].clone(), end["name"].clone()));
    assert!(waits("b").eq(waits("e")));
}

#[test]
fn who_ran_who_woke_whom_and_who_waited_on_what() {
    let _alone = alone();
    within(LIMIT, || {
        let events = parsed(&recording_of(50));
        assert_sound(&events);
        let here = |name: &Value| name.as_str().unwrap().starts_with("tests/inspect/recorder.rs:");
        let slices = of_phase(&events, "X");
        let of_ponger = slices.iter().filter(|slice| slice["name"] == "ponger").count();
        let of_pinger = slices.iter().filter(|slice| here(&slice["name"])).count();
        assert!((50..=52).contains(&of_ponger) && (50..=52).contains(&of_pinger), "{of_ponger} {of_pinger}");
        let waits = of_phase(&events, "b");
        assert!(waits.iter().filter(|wait| wait["name"] == "Receiver::recv").count() >= 98);
        assert!(slices.iter().any(|slice| slice["name"] == "main"));
        // Each wakes the other, each time.
        assert!(of_phase(&events, "f").len() >= 98);
        assert_eq!(events.iter().filter(|event| event["name"] == "thread_name").count(), 1 + others(&events));
    });
}

/// Hubs of other tests.
fn others(events: &[Value]) -> usize {
    let threads: HashSet<_> = events.iter().filter_map(|event| event["tid"].as_u64()).collect();
    threads.len() - 1
}

#[test]
fn a_small_ring_keeps_the_last() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        let recorder = Recorder::start(0).unwrap();
        (0..5000).for_each(|_| spawn(yield_now).join().unwrap());
        Builder::new().name("the last").spawn(|| ()).unwrap().join().unwrap();
        let recording = recorder.snapshot();
        let events = parsed(&recording);
        assert_sound(&events);
        assert!(recording.events() >= 1023 && recording.events() < 20_000, "{recording:?}");
        assert_eq!(of_phase(&events, "X").iter().filter(|slice| slice["name"] == "the last").count(), 1);
    });
}

#[test]
fn a_hub_that_is_kept_is_seen_from_outside_and_all_are_in_one_file() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        let recorder = Arc::new(Recorder::start(1 << 16).unwrap());
        let (go_on, gone_on) = mpsc::channel::<()>();
        let (keeps, is_kept) = mpsc::channel();
        let other = thread::Builder::new().name("kept".to_owned()).spawn(move || {
            let keeper = Builder::new().name("keeper").spawn(move || {
                yield_now();
                keeps.send(()).unwrap();
                let _ = gone_on.recv();
            });
            drop(spawn(yield_now));
            keeper.unwrap().join().unwrap();
        });
        is_kept.recv().unwrap();
        let events = parsed(&recorder.snapshot());
        drop(go_on);
        other.unwrap().join().unwrap();
        assert!(events.iter().any(|event| event["args"]["name"] == "kept"));
        // It runs for the second time, and has not come to an end.
        let slices: Vec<_> = of_phase(&events, "X");
        let of_keeper: Vec<_> = slices.iter().filter(|slice| slice["name"] == "keeper").collect();
        assert_eq!(of_keeper.len(), 2);
        assert_eq!(of_keeper[0]["args"]["then waits on"], "its turn");
        assert_eq!(of_keeper[1]["args"]["then waits on"], "");
    });
}

/// The fields of a message of Perfetto's: number, value or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut found = Vec::new();
    let varint = |bytes: &mut &[u8]| {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let (&first, rest) = bytes.split_first().expect("a whole number");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            shift += 7;
            if first < 0x80 {
                return value;
            }
        }
    };
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (value, length) = match key & 7 {
            0 => (varint(&mut bytes), 0),
            1 => (u64::from_le_bytes(bytes[..8].try_into().unwrap()), 8),
            2 => {
                let length = varint(&mut bytes) as usize;
                (length as u64, length)
            }
            other => panic!("wire type {other}"),
        };
        let (content, rest) = bytes.split_at(length);
        found.push((key >> 3, value, content));
        bytes = rest;
    }
    found
}

/// What a trace in Perfetto's format tells.
#[derive(Default)]
struct Told {
    /// The names of the slices that begin, in order, and how many end.
    begun: Vec<String>,
    ended: usize,
    /// Arrows that begin, and that end.
    arrows: (usize, usize),
    /// The last time of each sequence.
    times: HashMap<u64, u64>,
}

/// Reads it, by the rules of the format.
fn told(trace: &[u8]) -> Told {
    let value = |fields: &[(u64, u64, &[u8])], number| {
        fields.iter().find(|field| field.0 == number).map(|field| field.1)
    };
    let (mut told, mut names, mut tracks) = (Told::default(), HashMap::new(), HashSet::new());
    let mut open: HashMap<u64, u64> = HashMap::new();
    for (number, _, packet) in fields(trace) {
        assert_eq!(number, 1);
        let packet = fields(packet);
        let Some(sequence) = value(&packet, 10) else { continue };
        // What is told for the first time is so in the packet that needs it first.
        for &(_, _, content) in packet.iter().filter(|field| field.0 == 12) {
            let name = fields(fields(content)[0].2);
            names.insert((sequence, name[0].1), String::from_utf8(name[1].2.to_vec()).unwrap());
        }
        for &(number, _, content) in &packet {
            match number {
                6 => {
                    let clocks: Vec<_> = fields(content).into_iter().map(|clock| fields(clock.2)).collect();
                    assert_eq!(clocks.iter().filter(|clock| value(clock, 3) == Some(1)).count(), 1);
                    told.times.insert(sequence, value(&clocks[0], 2).unwrap());
                }
                59 => {
                    assert_eq!(value(&fields(content), 58), Some(64));
                    let defaults = fields(fields(content)[0].2);
                    assert!(tracks.insert(value(&defaults, 11).unwrap()));
                }
                11 => {
                    let event = fields(content);
                    // What has passed since the packet before of the same sequence.
                    let time = told.times.get_mut(&sequence).unwrap();
                    *time += value(&packet, 8).unwrap();
                    told.arrows.0 += usize::from(value(&event, 47).is_some());
                    told.arrows.1 += usize::from(value(&event, 48).is_some());
                    match value(&event, 9).unwrap() {
                        1 => {
                            told.begun.push(names[&(sequence, value(&event, 10).unwrap())].clone());
                            assert_eq!(open.insert(sequence, *time), None);
                        }
                        2 => {
                            assert!(open.remove(&sequence).unwrap() <= *time);
                            told.ended += 1;
                        }
                        3 => assert!(open.contains_key(&sequence)),
                        other => panic!("type {other}"),
                    }
                }
                _ => {}
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    told
}

impl Told {
    fn count(&self, name: &str) -> usize {
        self.begun.iter().filter(|begun| *begun == name).count()
    }
}

#[test]
fn perfettos_own_format_has_the_same() {
    let _alone = alone();
    within(LIMIT, || {
        let recording = recording_of(50);
        let mut trace = Vec::new();
        recording.write_perfetto(&mut trace).unwrap();
        let told = told(&trace);
        let events = parsed(&recording);
        assert_eq!((told.begun.len(), told.ended), (of_phase(&events, "X").len(), told.begun.len()));
        assert_eq!(told.arrows, (of_phase(&events, "s").len(), of_phase(&events, "f").len()));
        assert!((50..=52).contains(&told.count("ponger")), "{:?}", told.begun);
        let last = of_phase(&events, "X").iter().map(|slice| nanoseconds(&slice["ts"])).max().unwrap();
        assert!(told.times.values().any(|time| *time >= last), "{:?} {last}", told.times);
        assert!(trace.len() < 26 * recording.events(), "{} {recording:?}", trace.len());
    });
}

#[test]
fn it_is_saved_on_occasion_and_once() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        let recorder = Recorder::start(1 << 16).unwrap();
        let saved = |path: &PathBuf| {
            until(|| path.exists());
            let told = told(&fs::read(path).unwrap());
            fs::remove_file(path).unwrap();
            told
        };
        let path = own_file("panic");
        recorder.save_on(Occasion::Panic, &path).unwrap();
        let panics = |name| Builder::new().name(name).spawn(|| panic!("on purpose")).unwrap().join();
        assert!(panics("panics").is_err());
        assert_eq!(saved(&path).count("panics"), 1);
        assert!(panics("panics again").is_err());
        assert!(!path.exists());

        let (path, limit) = (own_file("limit"), Duration::from_millis(1));
        recorder.save_on(Occasion::TimeLimit, &path).unwrap();
        let waits = move || assert!(with_timeout(limit, || sleep(LONG)).is_err());
        Builder::new().name("waits").spawn(waits).unwrap().join().unwrap();
        assert!(saved(&path).count("waits") >= 1);

        let path = own_file("ended");
        recorder.save_on(Occasion::Panic, &path).unwrap();
        drop(recorder);
        assert!(panics("late").is_err());
        assert!(!path.exists());
    });
}

#[test]
fn a_ring_that_no_memory_can_hold_is_refused_and_another_one_begins() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        for bytes in [usize::MAX, isize::MAX as usize] {
            assert_eq!(Recorder::start(bytes).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        Recorder::start(0).unwrap().finish().unwrap();
    });
}

/// Set where a test is to do what its child process does.
const CHILD: &str = "GREENLOOP_TEST_OF_RECORDER";

/// Whether this is the process in which the test is to run; else it has run in one of its own.
fn in_own_process(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut program = this_program();
    let finished = finish(program.args([test, "--exact", "--nocapture"]).env(CHILD, "1"), LIMIT);
    assert!(finished.status.success(), "{finished:?}");
    false
}

#[test]
fn a_panic_is_an_occasion_also_after_a_call_that_could_not_prepare_for_one() {
    if !in_own_process("recorder::a_panic_is_an_occasion_also_after_a_call_that_could_not_prepare_for_one") {
        return;
    }
    struct Saves<'a>(&'a Recorder, &'a PathBuf);
    impl Drop for Saves<'_> {
        fn drop(&mut self) {
            let save = AssertUnwindSafe(|| self.0.save_on(Occasion::Panic, self.1));
            assert!(catch_unwind(save).is_err(), "amid a panic there is no setting a hook");
        }
    }
    let (recorder, path) = (Recorder::start(1 << 16).unwrap(), own_file("amid-a-panic"));
    let saves = Saves(&recorder, &path);
    let panics = AssertUnwindSafe(move || {
        let _saves = saves;
        panic!("on purpose");
    });
    assert!(catch_unwind(panics).is_err());
    recorder.save_on(Occasion::Panic, &path).unwrap();
    assert!(spawn(|| panic!("on purpose")).join().is_err());
    fs::remove_file(&path).unwrap();
}

#[test]
#[expect(unsafe_code, reason = "fork has no safe form")]
fn what_the_parent_of_a_fork_is_to_save_the_child_does_not() {
    if !in_own_process("recorder::what_the_parent_of_a_fork_is_to_save_the_child_does_not") {
        return;
    }
    let recorder = Recorder::start(1 << 16).unwrap();
    let (parents, childs) = (own_file("of-the-parent"), own_file("of-the-child"));
    recorder.save_on(Occasion::Panic, &parents).unwrap();
    // SAFETY: the other OS thread only waits for this one, and has no part in what the child uses.
    match unsafe { fork() }.unwrap() {
        Fork::Child => {
            let recorder = Recorder::start(1 << 16).unwrap();
            recorder.save_on(Occasion::Panic, &childs).unwrap();
            assert!(spawn(|| panic!("on purpose")).join().is_err());
            let saved = [&parents, &childs].map(|path| fs::remove_file(path).is_ok());
            std::process::exit(i32::from(saved[0]) + 2 * i32::from(saved[1]));
        }
        Fork::Parent { child } => assert_eq!(wait_pid(child).unwrap().code(), Some(2)),
    }
}

/// With `pip install perfetto`. Its trace processor is a program that the package downloads, which is not to be had everywhere.
#[test]
fn perfettos_own_descriptors_know_all_of_it() {
    let _alone = alone();
    within(LIMIT, || {
        let recording = recording_of(50);
        let path = own_file("schema");
        recording.write_perfetto(fs::File::create(&path).unwrap()).unwrap();
        let expected = told(&fs::read(&path).unwrap());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/inspect/perfetto_schema.py");
        let run = Command::new("python3").arg(script).stdin(fs::File::open(&path).unwrap()).output();
        fs::remove_file(&path).unwrap();
        let Some(run) = run.ok().filter(|run| run.status.code() != Some(77)) else {
            println!("left out: there is no Python with the package perfetto");
            return;
        };
        let (text, errors) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
        assert!(run.status.success(), "{errors}");
        let count = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
        assert_eq!(count("TYPE_SLICE_BEGIN"), expected.begun.len());
        assert_eq!(count("TYPE_SLICE_END"), expected.ended);
        assert_eq!(count("TYPE_INSTANT\t1 0"), expected.arrows.0);
        assert_eq!(count("TYPE_SLICE_BEGIN\t0 1"), expected.arrows.1);
        assert_eq!(text.lines().filter(|line| line.ends_with("\tponger")).count(), expected.count("ponger"));
    });
}

/// A path for a test's own file.
fn own_file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("greenloop-{name}-{}", std::process::id()))
}

#[test]
fn a_file_has_all_that_happened() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        let path = own_file("recording");
        let recorder = Recorder::file(&path, 1 << 30).unwrap();
        assert_eq!(Recorder::file(&path, 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
        for name in ["first thread", "second thread"] {
            let thread = move || Builder::new().name(name).spawn(yield_now).unwrap().join().unwrap();
            thread::spawn(thread).join().unwrap();
        }
        play(3000);
        assert_eq!(recorder.lost(), 0);
        recorder.finish().unwrap();
        let told = told(&fs::read(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert_eq!(told.begun.len(), told.ended);
        assert!((3000..=3002).contains(&told.count("ponger")), "{}", told.count("ponger"));
        assert_eq!((told.count("first thread"), told.count("second thread")), (2, 2));
        assert!(told.arrows.1 >= 5998 && told.arrows.0 >= told.arrows.1, "{:?}", told.arrows);
        // The recording has ended.
        assert!(Recorder::start(0).is_ok());
    });
}

#[test]
fn a_file_that_is_full_goes_on_in_another_one() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        let path = own_file("turned");
        let recorder = Recorder::file(&path, 1 << 14).unwrap();
        let former = PathBuf::from(format!("{}.1", path.display()));
        // It is turned over for a second time.
        let mut seen = None;
        let mut turns = 0;
        while turns < 2 {
            play(20);
            sleep(Duration::from_millis(5));
            let now = fs::metadata(&former).ok().map(|file| file.ino());
            turns += usize::from(now != seen);
            seen = now;
        }
        Builder::new().name("the last").spawn(|| ()).unwrap().join().unwrap();
        recorder.finish().unwrap();
        let [last, before] = [&path, &former].map(|path| told(&fs::read(path).unwrap()));
        let lengths = [&path, &former].map(|path| fs::metadata(path).unwrap().len());
        [&path, &former].iter().for_each(|path| fs::remove_file(path).unwrap());
        assert_eq!((last.count("the last"), before.count("the last")), (1, 0));
        assert!(before.count("ponger") > 20, "{:?}", before.begun);
        assert!(lengths[1] > 1 << 13, "{lengths:?}");
    });
}

#[test]
fn an_arrow_leads_to_who_was_woken_on_another_hub() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        let recorder = Recorder::start(1 << 20).unwrap();
        let (there, arrives) = bounded(0);
        let (back, returns) = bounded(0);
        let other = thread::spawn(move || {
            let echoes = move || arrives.iter().for_each(|number: u32| back.send(number).unwrap());
            Builder::new().name("echoes").spawn(echoes).unwrap().join().unwrap();
        });
        let asks = Builder::new().name("asks").spawn(move || {
            for number in 0..20 {
                there.send(number).unwrap();
                assert_eq!(returns.recv().unwrap(), number);
            }
        });
        asks.unwrap().join().unwrap();
        other.join().unwrap();
        let events = parsed(&recorder.snapshot());
        assert_sound(&events);
        let runs_at = |arrow: &Value| {
            let time = nanoseconds(&arrow["ts"]);
            let contains = |slice: &&&Value| {
                let start = nanoseconds(&slice["ts"]);
                slice["tid"] == arrow["tid"]
                    && (start..=start + nanoseconds(&slice["dur"]) + 1).contains(&time)
            };
            of_phase(&events, "X")
                .iter()
                .find(contains)
                .map(|slice| slice["name"].as_str().unwrap().to_owned())
        };
        let begun: HashMap<_, _> =
            of_phase(&events, "s").into_iter().map(|arrow| (arrow["id"].to_string(), arrow)).collect();
        let arrows: Vec<_> = of_phase(&events, "f")
            .into_iter()
            .map(|head| (begun[&head["id"].to_string()], head))
            .filter(|(tail, head)| tail["tid"] != head["tid"])
            .filter_map(|(tail, head)| runs_at(tail).zip(runs_at(head)))
            .collect();
        let count =
            |from: &str, to: &str| arrows.iter().filter(|arrow| arrow.0 == from && arrow.1 == to).count();
        let [there, back] = [count("asks", "echoes"), count("echoes", "asks")];
        assert!(there >= 10 && back >= 10, "{there} {back} {arrows:?}");
    });
}

#[test]
fn what_ended_os_threads_did_stays() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        let recorder = Recorder::start(1 << 16).unwrap();
        let names: Vec<_> = (0..30).map(|number| format!("of thread {number}")).collect();
        for name in &names {
            let name = name.clone();
            thread::spawn(|| Builder::new().name(name).spawn(yield_now).unwrap().join().unwrap())
                .join()
                .unwrap();
        }
        let events = parsed(&recorder.snapshot());
        assert_sound(&events);
        let slices = of_phase(&events, "X");
        for name in names {
            assert_eq!(slices.iter().filter(|slice| slice["name"] == name).count(), 2, "{name}");
        }
    });
}

#[test]
fn a_world_has_its_own_time() {
    let _alone = alone();
    within(LIMIT, || {
        yield_now();
        inspect::time_slices(true);
        let recorder = Recorder::start(1 << 16).unwrap();
        let elapsed = thread::spawn(|| {
            testing::run(|world| {
                let sleeper = spawn(|| sleep(Duration::from_secs(3600)));
                sleeper.join().unwrap();
                assert!(
                    inspect::metrics().hubs()[0].slices.as_ref().unwrap().sum() < Duration::from_secs(60)
                );
                world.elapsed()
            })
        });
        assert_eq!(elapsed.join().unwrap(), Duration::from_secs(3600));
        let events = parsed(&recorder.snapshot());
        assert_sound(&events);
        inspect::time_slices(false);
    });
}

#[test]
fn who_waits_is_killed_at_random_also_where_that_is_recorded() {
    let _alone = alone();
    within(LIMIT, || {
        let _recorder = Recorder::start(1 << 16).unwrap();
        let elapsed = thread::spawn(|| {
            testing::run(|world| {
                let waits = spawn(|| sleep(LONG));
                yield_now();
                world.faults().kill(1.0);
                yield_now();
                assert!(waits.join().unwrap_err().is_killed());
                world.elapsed()
            })
        });
        assert_eq!(elapsed.join().unwrap(), Duration::ZERO);
    });
}
