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

/// What a hub did. Wakes are numbered from `first_wake` on.
pub(super) fn story(events: &[Event], first_wake: u64) -> (Vec<Slice>, Vec<Waited>) {
    let (mut slices, mut waits) = (Vec::<Slice>::new(), Vec::new());
    let mut parked: HashMap<u64, (u64, u16)> = HashMap::new();
    let mut awaited: HashMap<u64, u64> = HashMap::new();
    let mut running: Option<Slice> = None;
    let mut next_wake = first_wake;
    for event in events {
        match event.kind {
            Kind::Run => {
                end(&mut running, event.time, None, &mut slices);
                if let Some((start, on)) = parked.remove(&event.id) {
                    waits.push(Waited { id: event.id, on, start, end: event.time });
                }
                running = Some(Slice {
                    id: event.id,
                    place: event.code,
                    start: event.time,
                    end: event.time,
                    then: None,
                    woken_by: awaited.remove(&event.id),
                    wakes: Vec::new(),
                });
            }
            Kind::Park => {
                if event.id != 0 {
                    parked.insert(event.id, (event.time, event.code));
                }
                end(&mut running, event.time, Some(event.code), &mut slices);
            }
            Kind::End => {
                parked.remove(&event.id);
                end(&mut running, event.time, None, &mut slices);
            }
            Kind::Wake => {
                if let Some(waker) = &mut running
                    && event.id != 0
                {
                    waker.wakes.push((event.time, next_wake));
                    awaited.insert(event.id, next_wake);
                    next_wake += 1;
                }
            }
            Kind::Sleep => end(&mut running, event.time, None, &mut slices),
        }
    }
    let last = events.last().map_or(0, |event| event.time);
    end(&mut running, last, None, &mut slices);
    (slices, waits)
}

fn end(running: &mut Option<Slice>, time: u64, then: Option<u16>, slices: &mut Vec<Slice>) {
    if let Some(mut slice) = running.take() {
        (slice.end, slice.then) = (time, then);
        slices.push(slice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_and_a_pong() {
        let event = |time, kind, id, code| Event { time, kind, id, code };
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
        let (slices, waits) = story(&events, 100);
        let slice = |id, start, end, then, woken_by, wakes: &[(u64, u64)]| Slice {
            id,
            place: 7,
            start,
            end,
            then,
            woken_by,
            wakes: wakes.to_vec(),
        };
        assert_eq!(
            slices,
            [
                slice(1, 2, 4, Some(8), None, &[(3, 100)]),
                slice(2, 4, 7, None, Some(100), &[(6, 101)]),
                slice(1, 7, 8, Some(8), Some(101), &[]),
                slice(1, 9, 10, None, None, &[(10, 102)]),
            ]
        );
        let waited = |start, end| Waited { id: 1, on: 8, start, end };
        assert_eq!(waits, [waited(4, 7), waited(8, 9)]);
    }
}
