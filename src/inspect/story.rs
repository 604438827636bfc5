//! What the events of a hub tell: who ran from when to when, who woke whom, who waited.

use std::collections::HashMap;

use super::ring::{Event, Kind};

/// A stretch in which one ran.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Slice {
    pub(super) id: u64,
    pub(super) place: u16,
    pub(super) start: u64,
    pub(super) end: u64,
    /// The code of what it waits on after that; `None` if it has ended, or the recording has.
    pub(super) then: Option<u16>,
    /// The number of the wake by which it went on, if who ran then did that.
    pub(super) woken_by: Option<u64>,
    /// The wakes that it did: when, and the number of each.
    pub(super) wakes: Vec<(u64, u64)>,
}

/// A stretch in which one waited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Waited {
    pub(super) id: u64,
    pub(super) on: u16,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The wakes of a recording, by number, so that an arrow leads from each to what it has set going.
#[derive(Default)]
pub(super) struct Wakes {
    last: u64,
    /// Those that are on their way to another hub: its number, and the code of the wait.
    called: HashMap<(u64, u16), u64>,
}

impl Wakes {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// What a hub did, as it is told event by event.
#[derive(Default)]
pub(super) struct Story {
    hub: u64,
    /// What has come to an end since somebody took it.
    pub(super) slices: Vec<Slice>,
    pub(super) waits: Vec<Waited>,
    running: Option<Slice>,
    /// Who waits, since when, and on what.
    parked: HashMap<u64, (u64, u16)>,
    /// By which wake each goes on.
    awaited: HashMap<u64, u64>,
    last: u64,
}

impl Story {
    pub(super) fn of_hub(hub: u64) -> Story {
        Story { hub, ..Story::default() }
    }

    pub(super) fn hear(&mut self, event: &Event, wakes: &mut Wakes) {
        self.last = event.time;
        match event.kind {
            Kind::Run => {
                self.end_slice(event.time, None);
                if let Some((start, on)) = self.parked.remove(&event.id) {
                    self.waits.push(Waited { id: event.id, on, start, end: event.time });
                }
                self.running = Some(Slice {
                    id: event.id,
                    place: event.code,
                    start: event.time,
                    end: event.time,
                    then: None,
                    woken_by: self.awaited.remove(&event.id),
                    wakes: Vec::new(),
                });
            }
            Kind::Park => {
                if event.id != 0 {
                    self.parked.insert(event.id, (event.time, event.code));
                }
                self.end_slice(event.time, Some(event.code));
            }
            Kind::End => {
                self.parked.remove(&event.id);
                self.end_slice(event.time, None);
            }
            Kind::Wake if event.id != 0 => {
                let number = match &mut self.running {
                    Some(waker) => {
                        let number = wakes.next();
                        waker.wakes.push((event.time, number));
                        Some(number)
                    }
                    // By the hub: for another one, it may be.
                    None => wakes.called.remove(&(self.hub, event.code)),
                };
                if let Some(number) = number {
                    self.awaited.insert(event.id, number);
                }
            }
            Kind::Call => {
                if let Some(waker) = &mut self.running {
                    let number = wakes.next();
                    waker.wakes.push((event.time, number));
                    wakes.called.insert((event.id, event.code), number);
                }
            }
            Kind::Wake => {}
            Kind::Sleep => self.end_slice(event.time, None),
        }
    }

    /// Ends it with its last event.
    pub(super) fn close(&mut self) {
        self.end_slice(self.last, None);
    }

    fn end_slice(&mut self, time: u64, then: Option<u16>) {
        if let Some(mut slice) = self.running.take() {
            (slice.end, slice.then) = (time, then);
            self.slices.push(slice);
        }
    }
}

/// What hubs did, of each of which its number and its events are given.
pub(super) fn stories<'a>(hubs: impl Iterator<Item = (u64, &'a [Event])>) -> Vec<Story> {
    let (mut stories, mut all) = (Vec::new(), Vec::new());
    for (hub, events) in hubs {
        all.extend(events.iter().map(|event| (stories.len(), event)));
        stories.push(Story::of_hub(hub));
    }
    // One hub calls before another one wakes.
    all.sort_by_key(|(_, event)| event.time);
    let mut wakes = Wakes::default();
    all.into_iter().for_each(|(place, event)| stories[place].hear(event, &mut wakes));
    stories.iter_mut().for_each(Story::close);
    stories
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: u64, kind: Kind, id: u64, code: u16) -> Event {
        Event { time, kind, id, code }
    }

    fn slice(id: u64, [start, end]: [u64; 2], then: Option<u16>, woken_by: Option<u64>) -> Slice {
        Slice { id, place: 7, start, end, then, woken_by, wakes: Vec::new() }
    }

    #[test]
    fn a_ping_and_a_pong() {
        let events = [
            event(1, Kind::Park, 9, 5),
            event(2, Kind::Run, 1, 7),
            event(3, Kind::Wake, 2, 0),
            event(4, Kind::Park, 1, 8),
            event(4, Kind::Run, 2, 7),
            event(6, Kind::Wake, 1, 0),
            event(7, Kind::End, 2, 0),
            event(7, Kind::Run, 1, 7),
            event(8, Kind::Park, 1, 8),
            event(8, Kind::Sleep, 0, 0),
            event(9, Kind::Wake, 1, 0),
            event(9, Kind::Run, 1, 7),
            event(10, Kind::Wake, 3, 0),
        ];
        let [story] = &stories([(5, &events[..])].into_iter())[..] else { panic!("of one hub") };
        assert_eq!(
            story.slices,
            [
                Slice { wakes: vec![(3, 1)], ..slice(1, [2, 4], Some(8), None) },
                Slice { wakes: vec![(6, 2)], ..slice(2, [4, 7], None, Some(1)) },
                slice(1, [7, 8], Some(8), Some(2)),
                Slice { wakes: vec![(10, 3)], ..slice(1, [9, 10], None, None) },
            ]
        );
        let waited = |start, end| Waited { id: 1, on: 8, start, end };
        assert_eq!(story.waits, [waited(4, 7), waited(8, 9)]);
    }

    #[test]
    fn a_wake_leads_to_another_hub() {
        let sleeper = [
            event(1, Kind::Park, 4, 8),
            event(1, Kind::Sleep, 0, 0),
            event(6, Kind::Wake, 4, 99),
            event(7, Kind::Run, 4, 7),
            event(8, Kind::End, 4, 0),
        ];
        let waker = [
            event(2, Kind::Run, 3, 7),
            event(5, Kind::Call, 1, 99),
            // To a third one.
            event(5, Kind::Call, 3, 99),
            event(9, Kind::Park, 3, 8),
        ];
        let stories = stories([(1, &sleeper[..]), (2, &waker[..])].into_iter());
        assert_eq!(stories[0].slices, [slice(4, [7, 8], None, Some(1))]);
        let wakes = vec![(5, 1), (5, 2)];
        assert_eq!(stories[1].slices, [Slice { wakes, ..slice(3, [2, 9], Some(8), None) }]);
    }
}
