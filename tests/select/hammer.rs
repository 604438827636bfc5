use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenloop::channel::{Receiver, Sender, bounded};
use greenloop::select::Select;
use greenloop::{JoinHandle, select, sleep, spawn, with_timeout, yield_now};

use super::LIMIT;
use super::support::{Random, Span, in_any_order};

/// How long each hammer falls.
const DURATION: Duration = Duration::from_millis(250);
/// Green threads of each of the two hubs.
const GREEN_THREADS: usize = 10;
const CHANNELS: usize = 3;
/// Longer than any wait that somebody ends: when the time is over there may be nobody.
const PATIENCE: Duration = Duration::from_millis(5);

/// A value that knows whether it was sent, and counts itself.
struct Value {
    source: usize,
    number: u64,
    is_sent: Arc<AtomicU8>,
    alive: Arc<AtomicUsize>,
    received: bool,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, SeqCst);
        if !self.received {
            assert_eq!(self.is_sent.load(SeqCst), 0, "sent, and then lost");
        }
    }
}

struct Scene {
    channels: [(Sender<Value>, Receiver<Value>); CHANNELS],
    alive: Arc<AtomicUsize>,
    sources: AtomicUsize,
    sent: AtomicUsize,
    received: AtomicUsize,
}

/// One that sends, receives and chooses at random. It sees the values of each source in order, in each channel.
struct Worker<'a> {
    scene: &'a Scene,
    random: Random,
    source: usize,
    number: u64,
    last: Vec<[Option<u64>; CHANNELS]>,
}

impl Worker<'_> {
    fn new(scene: &Scene, seed: u64) -> Worker<'_> {
        let source = scene.sources.fetch_add(1, SeqCst);
        Worker { scene, random: Random::new(seed), source, number: 0, last: Vec::new() }
    }

    fn short(&mut self) -> Duration {
        Duration::from_micros(self.random.below(300) as u64)
    }

    fn value(&mut self) -> (Value, Arc<AtomicU8>) {
        self.number += 1;
        self.scene.alive.fetch_add(1, SeqCst);
        let is_sent = Arc::new(AtomicU8::new(0));
        let (alive, number) = (self.scene.alive.clone(), self.number);
        (Value { source: self.source, number, is_sent: is_sent.clone(), alive, received: false }, is_sent)
    }

    fn sent(&self, is_sent: &AtomicU8) {
        is_sent.store(1, SeqCst);
        self.scene.sent.fetch_add(1, SeqCst);
    }

    fn taken(&mut self, mut value: Value, channel: usize) {
        value.received = true;
        self.scene.received.fetch_add(1, SeqCst);
        if self.last.len() <= value.source {
            self.last.resize(value.source + 1, [None; CHANNELS]);
        }
        let before = self.last[value.source][channel].replace(value.number);
        assert!(before < Some(value.number), "{before:?} before {}", value.number);
    }

    /// Until the time is over.
    fn work(&mut self, end: &Span) {
        while !end.is_over() {
            match self.random.below(3) {
                0 => _ = with_timeout(self.short(), || self.act()),
                _ => self.act(),
            }
        }
    }

    fn act(&mut self) {
        let [one, other, third] = [(); 3].map(|()| self.random.below(CHANNELS));
        let (how, patience) = (self.random.below(8), self.short());
        let (value, is_sent) = self.value();
        let channels = &self.scene.channels;
        let (sender, receiver, another) = (&channels[one].0, &channels[other].1, &channels[third].1);
        let received = match how {
            0 => {
                let done = sender.send_timeout(value, patience).is_ok();
                return if done {
                    self.sent(&is_sent)
                };
            }
            1 => {
                drop(value);
                receiver.recv_timeout(patience).ok().map(|value| (value, other))
            }
            2 => {
                let done = sender.try_send(value).is_ok();
                if done {
                    self.sent(&is_sent);
                }
                return yield_now();
            }
            3 => select! {
                send(sender, value) -> sent => return if sent.is_ok() { self.sent(&is_sent) },
                recv(receiver) -> value => value.ok().map(|value| (value, other)),
                default => return yield_now(),
            },
            4 => {
                drop(value);
                let mut select = Select::new();
                select.send(sender);
                select.recv(receiver);
                // Told and passed on: it does nothing.
                let _ = select.ready_timeout(patience);
                return;
            }
            5 => select! {
                recv(receiver) -> value => value.ok().map(|value| (value, other)),
                recv(another) -> value => value.ok().map(|value| (value, third)),
                default(patience) => None,
            },
            _ => select! {
                send(sender, value) -> sent => return if sent.is_ok() { self.sent(&is_sent) },
                recv(receiver) -> value => value.ok().map(|value| (value, other)),
                recv(another) -> value => value.ok().map(|value| (value, third)),
                default(if how == 6 { patience } else { PATIENCE }) => None,
            },
        };
        if let Some((value, channel)) = received {
            self.taken(value, channel);
        }
    }
}

fn supervise(scene: &Arc<Scene>, seed: u64, end: &Span) {
    let mut random = Random::new(seed);
    let start = |seed| {
        let (scene, end) = (scene.clone(), end.clone());
        spawn(move || Worker::new(&scene, seed).work(&end))
    };
    let mut tasks: Vec<JoinHandle<()>> = (0..GREEN_THREADS).map(|_| start(random.next())).collect();
    let mut killed = Vec::new();
    while !end.is_over() {
        let victim = random.below(tasks.len());
        let victim = std::mem::replace(&mut tasks[victim], start(random.next()));
        victim.try_kill();
        killed.push(victim);
        match random.below(4) {
            0 => sleep(Duration::from_micros(random.below(300) as u64)),
            _ => yield_now(),
        }
    }
    for task in tasks.into_iter().chain(killed) {
        let ended = task.join();
        assert!(ended.as_ref().err().is_none_or(|error| error.is_killed()), "{ended:?}");
    }
}

/// No value is lost, made twice, or received out of order; and what a sender was told is true.
fn hammer(capacities: [usize; CHANNELS]) {
    let scene = Arc::new(Scene {
        channels: capacities.map(bounded),
        alive: Arc::default(),
        sources: AtomicUsize::new(0),
        sent: AtomicUsize::new(0),
        received: AtomicUsize::new(0),
    });
    let end = Span::of(DURATION);
    let threads: Vec<_> = (1..=4)
        .map(|seed| {
            let (scene, end) = (scene.clone(), end.clone());
            thread::spawn(move || match seed {
                1 | 2 => Worker::new(&scene, seed).work(&end),
                _ => supervise(&scene, seed, &end),
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Nobody waits any more. What is left was sent, and is in the channels.
    let mut last = Worker::new(&scene, 1);
    for (channel, (_, receiver)) in scene.channels.iter().enumerate() {
        while let Ok(value) = receiver.try_recv() {
            last.taken(value, channel);
        }
    }
    assert_eq!(scene.alive.load(SeqCst), 0, "a value is still somewhere");
    let (sent, received) = (scene.sent.load(SeqCst), scene.received.load(SeqCst));
    assert!(sent > 0 && received >= sent, "{sent} sent, {received} received");
}

#[test]
fn a_choice_among_rendezvous_loses_nothing() {
    in_any_order(LIMIT, || hammer([0; CHANNELS]));
}

#[test]
fn a_choice_among_channels_of_one_loses_nothing() {
    in_any_order(LIMIT, || hammer([1; CHANNELS]));
}

#[test]
fn a_choice_among_all_kinds_loses_nothing() {
    in_any_order(LIMIT, || hammer([0, 2, usize::MAX]));
}
