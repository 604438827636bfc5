//! Who waits for one another in a circle.

use std::collections::{HashMap, HashSet};

/// The circles among `waits`, each of which says who waits for whom; one waits for one other at most. Each circle begins with its
/// smallest number.
pub(super) fn cycles(waits: impl IntoIterator<Item = (u64, u64)>) -> Vec<Vec<u64>> {
    let waits: HashMap<u64, u64> = waits.into_iter().collect();
    let mut starts: Vec<u64> = waits.keys().copied().collect();
    starts.sort_unstable();
    // From which start each was come to first.
    let mut seen = HashMap::new();
    let mut found = Vec::new();
    for start in starts {
        let mut at = start;
        while let Some(&next) = waits.get(&at)
            && !seen.contains_key(&at)
        {
            seen.insert(at, start);
            at = next;
        }
        // Come to again on the same way: it goes round.
        if seen.get(&at) == Some(&start) && waits.contains_key(&at) {
            found.push(round(&waits, at));
        }
    }
    found
}

/// Those, and all who wait for one of them or for one who does, each once, those first and the others in the order of `waits`.
pub(super) fn with_those_who_wait(mut found: Vec<u64>, waits: &[(u64, u64)]) -> Vec<u64> {
    let mut waiting: HashMap<u64, Vec<u64>> = HashMap::new();
    for &(from, to) in waits {
        waiting.entry(to).or_default().push(from);
    }
    let mut known: HashSet<u64> = found.iter().copied().collect();
    let mut next = 0;
    while let Some(awaited) = found.get(next) {
        next += 1;
        let more = waiting.remove(awaited).unwrap_or_default();
        found.extend(more.into_iter().filter(|&one| known.insert(one)));
    }
    found
}

fn round(waits: &HashMap<u64, u64>, start: u64) -> Vec<u64> {
    let mut way = vec![start];
    let mut at = waits[&start];
    while at != start {
        way.push(at);
        at = waits[&at];
    }
    let smallest = way.iter().enumerate().min_by_key(|&(_, number)| number).map_or(0, |(place, _)| place);
    way.rotate_left(smallest);
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_no_circle() {
        assert_eq!(cycles([]), Vec::<Vec<u64>>::new());
        assert_eq!(cycles([(1, 2), (2, 3), (7, 3)]), Vec::<Vec<u64>>::new());
    }

    #[test]
    fn each_circle_is_found_once_whoever_waits_for_its_members() {
        let waits = [(5, 4), (4, 9), (9, 5), (1, 5), (2, 1), (30, 30), (41, 40), (40, 41), (3, 9)];
        assert_eq!(cycles(waits), [vec![4, 9, 5], vec![30], vec![40, 41]]);
    }

    #[test]
    fn who_waits_for_a_circle_is_found_behind_it() {
        let waits = [(5, 4), (4, 5), (1, 5), (2, 1), (7, 8), (3, 1)];
        assert_eq!(with_those_who_wait(vec![4, 5], &waits), [4, 5, 1, 2, 3]);
        assert_eq!(with_those_who_wait(vec![], &waits), Vec::<u64>::new());
    }

    #[test]
    fn any_shape_agrees_with_going_round_from_each() {
        let mut state = 7_u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        for _ in 0..2000 {
            let size = random() % 12 + 1;
            let mut waits = Vec::new();
            for from in 0..size {
                if random() % 4 > 0 {
                    waits.push((from, random() % size));
                }
            }
            let next = |at| waits.iter().find(|&&(from, _)| from == at).map(|&(_, to)| to);
            let returns = |start: u64| {
                let mut at = next(start);
                for _ in 0..size {
                    if at == Some(start) {
                        return true;
                    }
                    at = at.and_then(next);
                }
                false
            };
            let members: Vec<u64> = (0..size).filter(|&start| returns(start)).collect();
            let mut found: Vec<u64> = cycles(waits.iter().copied()).concat();
            found.sort_unstable();
            assert_eq!(found, members, "{waits:?}");
        }
    }
}
