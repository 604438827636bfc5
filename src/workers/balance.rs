//! How a server's connections are spread over the workers.

use std::fmt;

/// How the connections of a server are spread over the workers. See [`Workers::serve`](super::Workers::serve).
///
/// A connection stays on its worker for as long as it lasts, so how they are spread decides how even the load is. The default is
/// [`LeastConnections`](Balance::LeastConnections).
///
/// # Examples
///
/// ```
/// use greenloop::workers::Balance;
///
/// assert_eq!(Balance::default(), Balance::LeastConnections);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Balance {
    /// One worker accepts, and each connection goes to the worker that has the fewest.
    ///
    /// It costs a message between two workers per connection, some microseconds, or what it takes to wake a worker that sleeps. In return
    /// the numbers of connections never differ by more than connections have ended. Right for connections that last.
    #[default]
    LeastConnections,
    /// One worker accepts, and the workers take turns.
    ///
    /// It costs as much as [`LeastConnections`](Balance::LeastConnections). Right for connections that are all short and alike, of which
    /// the number at a moment says little.
    RoundRobin,
    /// All workers accept from the one listener, and the kernel decides.
    ///
    /// It costs nothing per connection, but each new one may wake several workers, of which one gets it, and it is not even: whoever is
    /// quickest takes the most. A worker that computes takes none. Right for very many short connections.
    Kernel,
    /// Each worker has a listener of its own at the same address (`SO_REUSEPORT`), and the kernel spreads the connections by a hash of
    /// their addresses.
    ///
    /// It costs nothing per connection, and nobody is woken in vain. But the kernel knows nothing of who is busy: with few connections it
    /// is far from even, a connection waits for its worker though others are idle, and what waits in the queue of a listener that is
    /// closed is reset. Any process of the same user may join at the address. For TCP only.
    ReusePort,
}

impl fmt::Display for Balance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Balance::LeastConnections => "least connections",
            Balance::RoundRobin => "round robin",
            Balance::Kernel => "kernel",
            Balance::ReusePort => "reuse port",
        })
    }
}

/// The place for the next connection, of the number `turn`, where each has so many: among those that have the fewest, the next one in turn.
///
/// # Panics
///
/// If there are none.
pub(crate) fn least(counts: impl ExactSizeIterator<Item = usize>, turn: usize) -> usize {
    let places = counts.len();
    let distance = |place: usize| (place + places - turn % places) % places;
    let least = counts.enumerate().min_by_key(|&(place, count)| (count, distance(place)));
    least.expect("a worker to choose").0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_come_first_and_equals_take_turns() {
        assert_eq!(least([3, 1, 2].into_iter(), 0), 1);
        assert_eq!((0..4).map(|turn| least([0; 3].into_iter(), turn)).collect::<Vec<_>>(), [0, 1, 2, 0]);
        assert_eq!(least([1, 0, 0].into_iter(), 2), 2);
    }

    #[test]
    fn connections_that_stay_are_even() {
        let mut counts = [0_usize; 7];
        for turn in 0..1_000 {
            counts[least(counts.into_iter(), turn)] += 1;
        }
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    }
}
