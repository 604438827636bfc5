//! What hubs did, as it was read.

use std::fmt;
use std::sync::Arc;

use super::names::Names;
use super::ring::{self, Chapter, Event, Scribe};
use super::story::{Story, stories};

/// What one hub did.
#[derive(Clone)]
pub(super) struct HubRecording {
    pub(super) scribe: Scribe,
    pub(super) events: Vec<Event>,
    pub(super) names: Arc<Names>,
}

/// What hubs did, to be written as a file. [`Recorder::snapshot`](super::Recorder::snapshot) returns it.
#[derive(Clone)]
pub struct Recording {
    pub(super) hubs: Vec<HubRecording>,
}

impl Recording {
    /// What the rings hold now of the recording of this number.
    pub(super) fn of(recording: u64) -> Recording {
        let rings = ring::all().filter(|ring| ring.belongs_to(recording));
        let hubs = rings.flat_map(|ring| {
            let chapters = ring.read(0);
            let names = Arc::new(Names::from(ring.names()));
            let hub =
                move |Chapter { scribe, events, .. }| HubRecording { scribe, events, names: names.clone() };
            chapters.into_iter().map(hub)
        });
        Recording { hubs: hubs.collect() }
    }

    /// Each hub, and what it did.
    pub(super) fn stories(&self) -> impl Iterator<Item = (&HubRecording, Story)> {
        let stories = stories(self.hubs.iter().map(|hub| (hub.scribe.hub, &hub.events[..])));
        self.hubs.iter().zip(stories)
    }

    /// Returns how many events it has.
    ///
    /// # Examples
    ///
    /// ```
    /// let recorder = greenloop::inspect::Recorder::start(0)?;
    /// let before = recorder.snapshot().events();
    /// greenloop::spawn(|| ()).join().unwrap();
    /// assert!(recorder.snapshot().events() > before);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn events(&self) -> usize {
        self.hubs.iter().map(|hub| hub.events.len()).sum()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recording").field("events", &self.events()).finish_non_exhaustive()
    }
}
