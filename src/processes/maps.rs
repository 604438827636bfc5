//! A pool of processes on many items.

use super::pool::ProcessPool;
use crate::error::WorkError;
use crate::task::{Imap, Order, Reply};

impl<A: 'static, T: 'static> ProcessPool<A, T> {
    /// Has a job done for each item, and returns the results in the order of the items.
    ///
    /// The calling green thread yields until all are there. To get the first error in place of all results, collect:
    /// `.into_iter().collect::<Result<Vec<_>, _>>()`. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by
    /// unwinding, and the jobs go on.
    ///
    /// Each item is a message to a worker, and its result one back. What takes only microseconds to compute is better given many at a time,
    /// as a range or a vector: that is Python's `chunksize`.
    ///
    /// # Panics
    ///
    /// Panics if the iterator of the items panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::ops::Range;
    ///
    /// let pool = greenloop::processes::ProcessPool::new(2, |numbers: Range<u64>| numbers.sum::<u64>())?;
    /// assert_eq!(pool.map([0..1000, 1000..2000]), [Ok(499_500), Ok(1_499_500)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map(&self, items: impl IntoIterator<Item = A>) -> Vec<Result<T, WorkError>> {
        self.imap(items).maxsize(usize::MAX).collect()
    }

    /// Has a job done for each item, and returns an iterator over the results in the order of the items.
    ///
    /// Further items are worked on while you take the results: see [`Imap`], whose [`maxsize`](Imap::maxsize) is twice the number of
    /// workers at first.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |number: u64| number * number)?;
    /// let squares = pool.imap(1..); // without an end
    /// assert_eq!(squares.flatten().take(3).collect::<Vec<_>>(), [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<'a, I>(&self, items: I) -> Imap<'a, T, WorkError>
    where
        I: IntoIterator<Item = A, IntoIter: 'a>,
        T: 'a,
    {
        self.mapped(items, Order::Given)
    }

    /// Like [`imap`](ProcessPool::imap), but each result comes as soon as it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |number: u64| number * number)?;
    /// assert_eq!(pool.imap_unordered(1..=4).flatten().sum::<u64>(), 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap_unordered<'a, I>(&self, items: I) -> Imap<'a, T, WorkError>
    where
        I: IntoIterator<Item = A, IntoIter: 'a>,
        T: 'a,
    {
        self.mapped(items, Order::Completion)
    }

    fn mapped<'a, I>(&self, items: I, order: Order) -> Imap<'a, T, WorkError>
    where
        I: IntoIterator<Item = A, IntoIter: 'a>,
        T: 'a,
    {
        let most = self.size().saturating_mul(2);
        let (crew, limit) = (self.crew.clone(), self.limit);
        Imap::by(
            items,
            order,
            most,
            || WorkError::Closed,
            move |_| {
                let crew = crew.clone();
                Some(move |item, reply: Reply<T, WorkError>| {
                    crew.submit(item, limit, Box::new(move |result| reply.send(result)));
                })
            },
        )
    }
}
