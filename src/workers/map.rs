//! Many items at a time, on all workers.

use std::sync::Arc;

use super::Workers;
use crate::error::{Failure, JoinError};
use crate::task::{self, Element, Imap, Order};

/// How many parts a map has for each worker: more of them are more even, and cost more.
const PARTS: usize = 16;

impl Workers {
    /// Calls `function` with each item on the workers, and returns the results in the order of the items.
    ///
    /// The items are dealt out in parts of neighbours, sixteen for each worker, so that small items cost little; whoever has ended a part
    /// takes the next. The call yields until all results are there. If a call panics, its result is an `Err`, and the others go on; if the
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
        let items: Vec<I::Item> = items.into_iter().collect();
        let count = items.len();
        let part = count.div_ceil(PARTS * self.number()).max(1);
        let function = Arc::new(function);
        let mut items = items.into_iter();
        let mut jobs = Vec::with_capacity(count.div_ceil(part));
        while items.len() > 0 {
            let part: Vec<I::Item> = items.by_ref().take(part).collect();
            let (size, function, crew) = (part.len(), function.clone(), self.crew().clone());
            let call = move |item| match crew.kills() {
                false => task::call(&*function, item),
                true => Err(Failure::Killed.of_job()),
            };
            jobs.push((size, self.spawn(move || part.into_iter().map(call).collect::<Vec<_>>())));
        }
        let mut results = Vec::with_capacity(count);
        for (size, job) in jobs {
            match job.join() {
                Ok(part) => results.extend(part),
                // All of its items were.
                Err(_killed) => results.extend((0..size).map(|_| Err(Failure::Killed.of_job()))),
            }
        }
        results
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
