//! What takes values in at one end and gives them out at the other, hammered: a channel, a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use greenloop::{with_timeout, yield_now};

use super::hammer::{hammer_with, perhaps_limited, short};
use super::{Random, Span};

/// Who hands over a value knows by the answer whether it was taken.
pub(crate) trait Conveyor: Send + Sync + 'static {
    /// Whether each value of one source comes out before its younger ones.
    const KEEPS_ORDER: bool = true;

    fn try_put(&self, value: Value) -> Result<(), Value>;
    fn put_timeout(&self, value: Value, timeout: Duration) -> Result<(), Value>;
    fn put(&self, value: Value) -> Result<(), Value>;
    fn try_get(&self) -> Option<Value>;
    fn get_timeout(&self, timeout: Duration) -> Option<Value>;
    fn get(&self) -> Option<Value>;
}

/// What its sender and its receiver know of a value.
const UNDECIDED: u8 = 0;
const SENT: u8 = 1;
const REFUSED: u8 = 2;

/// A value that knows where it came from, and counts itself.
pub(crate) struct Value {
    number: u64,
    source: usize,
    verdict: Arc<AtomicU8>,
    alive: Arc<AtomicUsize>,
    received: bool,
}

impl Value {
    /// By this, values of one source are in the order in which they were made.
    pub(crate) fn key(&self) -> (u64, usize) {
        (self.number, self.source)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, SeqCst);
        if !self.received {
            assert_ne!(self.verdict.load(SeqCst), SENT, "sent, and then lost");
        }
    }
}

struct Scene<C> {
    conveyor: C,
    alive: Arc<AtomicUsize>,
    sources: AtomicUsize,
    sent: AtomicUsize,
    received: AtomicUsize,
}

/// Puts numbered values until the time is over, in every way that there is.
fn put(scene: &Scene<impl Conveyor>, random: &mut Random, end: &Span) {
    let source = scene.sources.fetch_add(1, SeqCst);
    for number in 0.. {
        if end.is_over() {
            return;
        }
        let verdict = Arc::new(AtomicU8::new(UNDECIDED));
        scene.alive.fetch_add(1, SeqCst);
        let alive = scene.alive.clone();
        let value = Value { source, number, verdict: verdict.clone(), alive, received: false };
        let (how, patience) = (random.below(4), short(random));
        perhaps_limited(random, || {
            let answer = match how {
                0 => Ok(scene.conveyor.try_put(value)),
                1 => Ok(scene.conveyor.put_timeout(value, patience)),
                // With a limit always: when the time is over there may be nobody to get it.
                _ => with_timeout(Duration::from_millis(5), || scene.conveyor.put(value)),
            };
            match answer {
                Ok(Ok(())) => told(scene, &verdict, SENT),
                Ok(Err(value)) => {
                    told(scene, &verdict, REFUSED);
                    drop(value);
                }
                Err(_) => yield_now(),
            }
        });
        if how == 0 {
            yield_now();
        }
    }
}

fn told<C>(scene: &Scene<C>, verdict: &AtomicU8, what: u8) {
    let before = verdict.swap(what, SeqCst);
    assert!(before == UNDECIDED || (before == SENT && what == SENT));
    if what == SENT {
        scene.sent.fetch_add(1, SeqCst);
    }
}

/// Gets values until the time is over, in every way that there is.
fn get(scene: &Scene<impl Conveyor>, random: &mut Random, end: &Span) {
    let mut last: Vec<Option<u64>> = Vec::new();
    while !end.is_over() {
        let (how, patience) = (random.below(4), short(random));
        perhaps_limited(random, || {
            let value = match how {
                0 => scene.conveyor.try_get(),
                1 => scene.conveyor.get_timeout(patience),
                _ => with_timeout(Duration::from_millis(5), || scene.conveyor.get()).ok().flatten(),
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

/// Each who gets sees the values of each source in order.
fn taken<C: Conveyor>(scene: &Scene<C>, mut value: Value, last: &mut Vec<Option<u64>>) {
    assert_ne!(value.verdict.load(SeqCst), REFUSED, "refused, and yet received");
    value.received = true;
    scene.received.fetch_add(1, SeqCst);
    if last.len() <= value.source {
        last.resize(value.source + 1, None);
    }
    let before = last[value.source].replace(value.number);
    assert!(before < Some(value.number) || !C::KEEPS_ORDER, "{before:?} before {}", value.number);
}

/// No value is lost, made twice, or received out of order; and what its sender was told is true. Returns the conveyor, empty.
pub(crate) fn hammer_conveyor<C: Conveyor>(conveyor: C) -> C {
    let scene = Arc::new(Scene {
        conveyor,
        alive: Arc::default(),
        sources: AtomicUsize::new(0),
        sent: AtomicUsize::new(0),
        received: AtomicUsize::new(0),
    });
    hammer_with({
        let scene = scene.clone();
        move |number, random, end| match number % 2 {
            0 => put(&scene, random, end),
            _ => get(&scene, random, end),
        }
    });
    // Nobody waits any more. What is left was sent, and is in there.
    let mut last = Vec::new();
    while let Some(value) = scene.conveyor.try_get() {
        taken(&scene, value, &mut last);
    }
    assert_eq!(scene.alive.load(SeqCst), 0, "a value is still somewhere");
    let (sent, received) = (scene.sent.load(SeqCst), scene.received.load(SeqCst));
    assert!(sent > 0 && received >= sent, "{sent} sent, {received} received");
    Arc::into_inner(scene).expect("all workers have ended").conveyor
}
