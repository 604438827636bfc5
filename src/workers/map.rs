//! Many items at a time, on all workers.

use std::iter;
use std::sync::Arc;

use super::Workers;
use super::parts::{join, parts};
use crate::error::{Failure, JoinError};
use crate::task::{self, Element, Imap, Order};

/// How many parts a map has for each worker: more of them end more evenly, and cost more.
const PARTS: usize = 64;

fn killed<T>() -> Result<T, JoinError> {
    Err(Failure::Killed.of_job())
}

impl Workers {
    /// Calls `function` with each item on the workers, and returns the results in the order of the items.
    ///
    /// The items are dealt out in parts of neighbours, 64 for each worker, so that small items cost little; whoever has ended a part takes
    /// the next, and writes the results where they are returned. An iterator that knows how many items it has is dealt out while it goes
    /// on, others when they have ended; if one panics, so does this, and the calls run on. The call yields until all results are there. If a call panics, its result is an `Err`, and the others go on; if the
    /// workers are stopped, so are the results of all that has not ended. A kill or an enclosing [`with_timeout`](crate::with_timeout) ends
    /// the wait by unwinding, and the calls run on.
    ///
    /// # Examples
    ///
    /// ```
    /// let workers = greenloop::workers::Workers::new();
    /// let squares: Result<Vec<u64>, _> = workers.map(1..=1000, |number: u64| number * number).into_iter().collect();
    /// assert_eq!(squares.unwrap()[999], 1_000_000);
    /// ```
    #[doc(alias("chunksize", "par_iter"))]
    #[track_caller]
    pub fn map<I, F, T>(&self, items: I, function: F) -> Vec<Result<T, JoinError>>
    where
        I: IntoIterator<Item: Send + 'static>,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        let function = Arc::new(function);
        let mut items = items.into_iter().fuse();
        let mut results = Vec::new();
        // A second time only if there are more than it has said.
        loop {
            let next = match items.size_hint() {
                (least, Some(most)) if least == most && least > 0 => {
                    self.map_some(least, &mut items, &function)
                }
                _ => {
                    let rest: Vec<_> = items.by_ref().collect();
                    if rest.is_empty() {
                        return results;
                    }
                    self.map_some(rest.len(), rest.into_iter(), &function)
                }
            };
            match results.is_empty() {
                true => results = next,
                false => results.extend(next),
            }
        }
    }

    /// Maps the next `count` items at most.
    #[track_caller]
    fn map_some<A, F, T>(
        &self,
        count: usize,
        mut items: impl Iterator<Item = A>,
        function: &Arc<F>,
    ) -> Vec<Result<T, JoinError>>
    where
        A: Send + 'static,
        F: Fn(A) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        let size = count.div_ceil(PARTS * self.number()).max(1);
        let mut jobs = Vec::with_capacity(count.div_ceil(size));
        for mut results in parts(count, size) {
            let items: Vec<A> = items.by_ref().take(results.room()).collect();
            let (number, function, crew) = (items.len(), function.clone(), self.crew().clone());
            let job = self.spawn(move || {
                let mut items = items.into_iter();
                let wanted = iter::from_fn(|| if crew.kills() { None } else { items.next() });
                task::call_each(&*function, wanted, |result| results.push(result));
                items.for_each(|_| results.push(killed()));
                results
            });
            jobs.push((number, job));
        }
        // Of a part that was killed, all items were.
        let killed = |number| (0..number).map(|_| killed()).collect();
        let ended = jobs.into_iter().map(|(number, job)| job.join().unwrap_or_else(|_killed| killed(number)));
        join(ended.collect()).unwrap_or_else(|parts| parts.into_iter().flatten().collect())
    }

    /// Calls `function` with each item on the workers, and returns an iterator over the results in the order of the items.
    ///
    /// Each item is a green thread. Further items run while you take the results: see [`Imap`], whose [`maxsize`](Imap::maxsize) is four
    /// times the number of workers at first. The items are taken from their iterator on the calling thread, as they are needed.
    ///
    /// # Examples
    ///
    /// ```
    /// let workers = greenloop::workers::Workers::new();
    /// let halves: Vec<u32> = workers.imap([6, 4, 2], |number: u32| number / 2).flatten().collect();
    /// assert_eq!(halves, [3, 2, 1]);
    /// ```
    #[track_caller]
    pub fn imap<'a, I, F, T>(&self, items: I, function: F) -> Imap<'a, T>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        self.mapped(items, function, Order::Given)
    }

    /// Like [`imap`](Workers::imap), but each result comes as soon as it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let workers = greenloop::workers::Workers::new();
    /// let sum: u32 = workers.imap_unordered([6, 4, 2], |number: u32| number / 2).flatten().sum();
    /// assert_eq!(sum, 6);
    /// ```
    #[track_caller]
    pub fn imap_unordered<'a, I, F, T>(&self, items: I, function: F) -> Imap<'a, T>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        self.mapped(items, function, Order::Completion)
    }

    fn mapped<'a, I, F, T>(&self, items: I, function: F, order: Order) -> Imap<'a, T>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        let workers = self.clone();
        Imap::new(items, function, order, 4 * self.number(), move |_| {
            let workers = workers.clone();
            Some(move |element: Element<F, I::Item, T>| drop(workers.spawn(move || element.run())))
        })
    }
}
