use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};
use greenloop::{JoinHandle, sleep, spawn, with_timeout, yield_now};

use super::LIMIT;
use super::support::{Random, within};

/// How long each hammer falls.
const DURATION: Duration = Duration::from_millis(250);
/// Green threads of each of the two hubs, half of which send.
const GREEN_THREADS: usize = 12;

/// What its sender and its receiver know of a value.
const UNDECIDED: u8 = 0;
const SENT: u8 = 1;
const REFUSED: u8 = 2;

/// A value that knows where it came from, and counts itself.
struct Value {
    source: usize,
    number: u64,
    verdict: Arc<AtomicU8>,
    alive: Arc<AtomicUsize>,
    received: bool,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, SeqCst);
        if !self.received {
            assert_ne!(self.verdict.load(SeqCst), SENT, "sent, and then lost");
        }
    }
}

struct Scene {
    sender: Sender<Value>,
    receiver: Receiver<Value>,
    alive: Arc<AtomicUsize>,
    sources: AtomicUsize,
    sent: AtomicUsize,
    received: AtomicUsize,
}

fn short(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(300) as u64)
}

fn perhaps_limited(random: &mut Random, wait: impl FnOnce()) {
    match random.below(3) {
        0 => _ = with_timeout(short(random), wait),
        _ => wait(),
    }
}

/// Sends numbered values until the time is over, in every way that there is.
fn send(scene: &Scene, seed: u64, end: Instant) {
    let mut random = Random::new(seed);
    let source = scene.sources.fetch_add(1, SeqCst);
    for number in 0.. {
        if Instant::now() >= end {
            return;
        }
        let verdict = Arc::new(AtomicU8::new(UNDECIDED));
        scene.alive.fetch_add(1, SeqCst);
        let alive = scene.alive.clone();
        let value = Value { source, number, verdict: verdict.clone(), alive, received: false };
        let (how, patience) = (random.below(4), short(&mut random));
        perhaps_limited(&mut random, || {
            let refused = match how {
                0 => scene.sender.try_send(value).map_err(TrySendError::into_inner),
                1 => scene.sender.send_timeout(value, patience).map_err(SendTimeoutError::into_inner),
                // With a limit always: when the time is over there may be nobody to receive it.
                _ => {
                    let sent = with_timeout(Duration::from_millis(5), || scene.sender.send(value).is_ok());
                    return if sent == Ok(true) { told(scene, &verdict, SENT) } else { yield_now() };
                }
            };
            match refused {
                Ok(()) => told(scene, &verdict, SENT),
                Err(value) => {
                    told(scene, &verdict, REFUSED);
                    drop(value);
                }
            }
        });
        if how == 0 {
            yield_now();
        }
    }
}

fn told(scene: &Scene, verdict: &AtomicU8, what: u8) {
    let before = verdict.swap(what, SeqCst);
    assert!(before == UNDECIDED || (before == SENT && what == SENT));
    if what == SENT {
        scene.sent.fetch_add(1, SeqCst);
    }
}

/// Receives until the time is over, in every way that there is.
fn receive(scene: &Scene, seed: u64, end: Instant) {
    let mut random = Random::new(seed);
    let mut last: Vec<Option<u64>> = Vec::new();
    while Instant::now() < end {
        let (how, patience) = (random.below(4), short(&mut random));
        perhaps_limited(&mut random, || {
            let value = match how {
                0 => scene.receiver.try_recv().ok(),
                1 => scene.receiver.recv_timeout(patience).ok(),
                _ => with_timeout(Duration::from_millis(5), || scene.receiver.recv().ok()).ok().flatten(),
            };
            if let Some(value) = value {
                taken(scene, value, &mut last);
            }
        });
        if how == 0 {
            yield_now();
        }
    }
}

/// Each receiver sees the values of each source in order.
fn taken(scene: &Scene, mut value: Value, last: &mut Vec<Option<u64>>) {
    assert_ne!(value.verdict.load(SeqCst), REFUSED, "refused, and yet received");
    value.received = true;
    scene.received.fetch_add(1, SeqCst);
    if last.len() <= value.source {
        last.resize(value.source + 1, None);
    }
    let before = last[value.source].replace(value.number);
    assert!(before < Some(value.number), "{before:?} before {}", value.number);
}

fn supervise(scene: &Arc<Scene>, seed: u64, end: Instant) {
    let mut random = Random::new(seed);
    let start = |number: usize, seed| {
        let scene = scene.clone();
        spawn(
            move || {
                if number.is_multiple_of(2) { send(&scene, seed, end) } else { receive(&scene, seed, end) }
            },
        )
    };
    let mut tasks: Vec<JoinHandle<()>> =
        (0..GREEN_THREADS).map(|number| start(number, random.next())).collect();
    let mut killed = Vec::new();
    while Instant::now() < end {
        let victim = random.below(tasks.len());
        let victim = std::mem::replace(&mut tasks[victim], start(victim, random.next()));
        victim.try_kill();
        killed.push(victim);
        match random.below(4) {
            0 => sleep(short(&mut random)),
            _ => yield_now(),
        }
    }
    for task in tasks.into_iter().chain(killed) {
        let ended = task.join();
        assert!(ended.as_ref().err().is_none_or(|error| error.is_killed()), "{ended:?}");
    }
}

/// No value is lost, made twice, or received out of order; and what a sender was told is true.
fn hammer(capacity: usize) {
    let (sender, receiver) = bounded(capacity);
    let scene = Arc::new(Scene {
        sender,
        receiver,
        alive: Arc::default(),
        sources: AtomicUsize::new(0),
        sent: AtomicUsize::new(0),
        received: AtomicUsize::new(0),
    });
    let end = Instant::now() + DURATION;
    let threads: Vec<_> = (1..=4)
        .map(|seed| {
            let scene = scene.clone();
            thread::spawn(move || match seed {
                1 => send(&scene, seed, end),
                2 => receive(&scene, seed, end),
                _ => supervise(&scene, seed, end),
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Nobody waits any more. What is left was sent, and is in the channel.
    let mut last = Vec::new();
    while let Ok(value) = scene.receiver.try_recv() {
        taken(&scene, value, &mut last);
    }
    assert_eq!(scene.alive.load(SeqCst), 0, "a value is still somewhere");
    let (sent, received) = (scene.sent.load(SeqCst), scene.received.load(SeqCst));
    assert!(sent > 0 && received >= sent, "{sent} sent, {received} received");
}

#[test]
fn a_rendezvous_loses_nothing() {
    within(LIMIT, || hammer(0));
}

#[test]
fn a_channel_of_one_loses_nothing() {
    within(LIMIT, || hammer(1));
}

#[test]
fn a_channel_of_five_loses_nothing() {
    within(LIMIT, || hammer(5));
}

#[test]
fn an_unbounded_channel_loses_nothing() {
    within(LIMIT, || hammer(usize::MAX));
}
