//! A pool of processes on many items.

use std::fmt;
use std::iter;

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
    /// Each item is a message to a worker, and its result one back. What takes only microseconds to compute is better given
    /// [many at a time](ProcessPool::chunked).
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

    /// Returns the pool as one that is given `size` items at a time, for jobs that take microseconds. A `size` of zero counts as one.
    ///
    /// Such a chunk is one message to a worker, and its results are one back, so an item costs a fraction of a microsecond in place of some
    /// ten. Each item still has its own result, and its own time limit. A worker that dies takes the chunk along: all of it is tried again,
    /// or has died.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |number: u64| number * number)?;
    /// let squares: Vec<u64> = pool.chunked(100).map(0..1000).into_iter().collect::<Result<_, _>>()?;
    /// assert_eq!(squares[999], 998_001);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "chunksize")]
    pub fn chunked(&self, size: usize) -> Chunked<'_, A, T> {
        Chunked { pool: self, size: size.max(1) }
    }

    fn mapped<'a, I>(&self, items: I, order: Order) -> Imap<'a, T, WorkError>
    where
        I: IntoIterator<Item = A, IntoIter: 'a>,
        T: 'a,
    {
        let (crew, limit) = (self.crew.clone(), self.limit);
        Imap::by(
            items,
            order,
            self.ahead(),
            || WorkError::Closed,
            move |_| {
                let crew = crew.clone();
                Some(move |item, reply: Reply<T, WorkError>| {
                    let send = move |mut results: Vec<_>| {
                        // One, as there is one item.
                        if let Some(result) = results.pop() {
                            reply.send(result);
                        }
                    };
                    crew.submit(vec![item], limit, Box::new(send));
                })
            },
        )
    }

    /// How many jobs keep all workers busy, while others are on their way.
    fn ahead(&self) -> usize {
        self.size().saturating_mul(self.threads).saturating_mul(2)
    }
}

/// A [`ProcessPool`] that is given many items at a time: see [`ProcessPool::chunked`].
pub struct Chunked<'p, A, T> {
    pool: &'p ProcessPool<A, T>,
    size: usize,
}

impl<A: 'static, T: 'static> Chunked<'_, A, T> {
    /// Has a job done for each item, and returns the results in the order of the items. See [`ProcessPool::map`].
    ///
    /// The calling green thread yields until all are there. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends the wait by
    /// unwinding, and the jobs go on.
    ///
    /// # Panics
    ///
    /// Panics if the iterator of the items panics.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |text: String| text.len())?;
    /// let words = ["one", "three", "eleven"].map(str::to_owned);
    /// assert_eq!(pool.chunked(2).map(words), [Ok(3), Ok(5), Ok(6)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map(&self, items: impl IntoIterator<Item = A>) -> Vec<Result<T, WorkError>> {
        self.chunks(items, Order::Given).maxsize(usize::MAX).flat_map(results).collect()
    }

    /// Has a job done for each item, and returns an iterator over the results in the order of the items.
    ///
    /// Further chunks are worked on while you take the results: twice as many as there are workers. Each `next` yields unless a result is
    /// there.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |number: u64| number * number)?;
    /// let squares = pool.chunked(10).imap(1..); // without an end
    /// assert_eq!(squares.flatten().take(3).collect::<Vec<_>>(), [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<'a, I>(&self, items: I) -> impl Iterator<Item = Result<T, WorkError>> + use<'a, A, T, I>
    where
        I: IntoIterator<Item = A, IntoIter: 'a>,
        T: 'a,
    {
        self.chunks(items, Order::Given).flat_map(results)
    }

    /// Like [`imap`](Chunked::imap), but the results of each chunk come as soon as they are there.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::processes::ProcessPool::new(2, |number: u64| number * number)?;
    /// assert_eq!(pool.chunked(3).imap_unordered(1..=4).flatten().sum::<u64>(), 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap_unordered<'a, I>(
        &self,
        items: I,
    ) -> impl Iterator<Item = Result<T, WorkError>> + use<'a, A, T, I>
    where
        I: IntoIterator<Item = A, IntoIter: 'a>,
        T: 'a,
    {
        self.chunks(items, Order::Completion).flat_map(results)
    }

    fn chunks<'a, I>(&self, items: I, order: Order) -> Imap<'a, Vec<Result<T, WorkError>>, WorkError>
    where
        I: IntoIterator<Item = A, IntoIter: 'a>,
        T: 'a,
    {
        let (crew, limit, size) = (self.pool.crew.clone(), self.pool.limit, self.size);
        let mut items = items.into_iter().fuse();
        let chunks = iter::from_fn(move || {
            let chunk: Vec<A> = items.by_ref().take(size).collect();
            (!chunk.is_empty()).then_some(chunk)
        });
        Imap::by(
            chunks,
            order,
            self.pool.ahead(),
            || WorkError::Closed,
            move |_| {
                let crew = crew.clone();
                Some(move |chunk, reply: Reply<Vec<_>, WorkError>| {
                    crew.submit(chunk, limit, Box::new(move |results| reply.send(Ok(results))));
                })
            },
        )
    }
}

/// Those of a chunk; of one that was forsaken, that.
fn results<T>(chunk: Result<Vec<Result<T, WorkError>>, WorkError>) -> Vec<Result<T, WorkError>> {
    chunk.unwrap_or_else(|error| vec![Err(error)])
}

impl<A, T> fmt::Debug for Chunked<'_, A, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Chunked").field("pool", self.pool).field("size", &self.size).finish()
    }
}
