//! Many items at a time, on as many processors: what a pool of OS threads has in common with one of green threads.

use super::job::Job;
use super::{ThreadPool, crew, no_thread};
use crate::error::JoinError;
use crate::task::{self, Element, Imap, JoinHandle, Order};

impl ThreadPool {
    /// Calls `function` with each item on the threads of this pool, and returns the results in the order of the items.
    ///
    /// The calling green thread yields until all results are there. If a call panics, its result is an `Err`. To get the first
    /// error in place of all results, collect: `.into_iter().collect::<Result<Vec<_>, _>>()`. A kill or an enclosing
    /// [`with_timeout`](crate::with_timeout) ends the wait by unwinding, and the calls run on. On a thread that belongs to a
    /// pool, the calls are made on that thread, one after another.
    ///
    /// # Panics
    ///
    /// Panics if there is no thread and none can be made, or if the iterator of the items panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::threadpool::ThreadPool;
    ///
    /// let sums: Result<Vec<u64>, _> = ThreadPool::default().map([10, 100], |end| (1..=end).sum()).into_iter().collect();
    /// assert_eq!(sums.unwrap(), [55, 5050]);
    /// ```
    pub fn map<I, F, T>(&self, items: I, function: F) -> Vec<Result<T, JoinError>>
    where
        I: IntoIterator<Item: Send + 'static>,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        self.imap(items, function).maxsize(usize::MAX).collect()
    }

    /// Calls `function` with each item, and returns an iterator over the results in the order of the items.
    ///
    /// Further items run while you take the results: see [`Imap`], whose [`maxsize`](Imap::maxsize) is twice the number of
    /// threads at first. The items are taken from their iterator on the calling thread, as they are needed: an iterator over a
    /// file's lines will do.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(2);
    /// let mut parts = pool.imap([6_u32, 0, 3], |divisor| 12_u32.checked_div(divisor));
    /// assert_eq!(parts.next().unwrap().unwrap(), Some(2));
    /// assert_eq!(parts.flatten().collect::<Vec<_>>(), [None, Some(4)]);
    /// ```
    pub fn imap<'a, I, F, T>(&self, items: I, function: F) -> Imap<'a, T>
    where
        I: IntoIterator<IntoIter: 'a, Item: Send + 'static>,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        self.mapped(items, function, Order::Given)
    }

    /// Like [`imap`](ThreadPool::imap), but each result comes as soon as it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(2);
    /// let total: u64 = pool.imap_unordered(1..=4_u64, |number| number * number).flatten().sum();
    /// assert_eq!(total, 30);
    /// ```
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
        let crew = self.crew().clone();
        let most = self.size().max(1).saturating_mul(2);
        Imap::new(items, function, order, most, move |_| {
            let crew = crew.clone();
            Some(move |element: Element<F, I::Item, T>| {
                if crew::is_worker() {
                    // It would wait for a thread that may be its own.
                    element.run();
                } else {
                    crew.submit(Box::new(|| element.run())).unwrap_or_else(no_thread);
                }
            })
        })
    }

    /// Runs `function` on a thread of this pool, and returns its result.
    ///
    /// It is like [`unblock`](ThreadPool::unblock), but a panic in `function` is returned as an error. If you stop waiting,
    /// `function` still runs to its end. The job is queued, however many are. On a thread that belongs to a pool `function`
    /// simply runs, and a panic goes on there.
    ///
    /// # Errors
    ///
    /// Returns a [`JoinError`] with the payload if `function` panicked.
    ///
    /// # Panics
    ///
    /// Panics if there is no thread and none can be made.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::threadpool::ThreadPool::new(1);
    /// assert_eq!(pool.apply(|| 2 + 2).unwrap(), 4);
    /// assert!(pool.apply(|| -> u32 { std::panic::resume_unwind(Box::new("no")) }).unwrap_err().is_panic());
    /// ```
    pub fn apply<F, T>(&self, function: F) -> Result<T, JoinError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if crew::is_worker() { Ok(function()) } else { self.submit(function).join() }
    }

    /// Queues `function`, and calls `callback` with its value. Never yields.
    ///
    /// The job is queued, however many are. `callback` runs in the green thread that is returned, on the calling thread's hub, so
    /// it may use what is not `Send`. If `function` panics, so does that green thread, and `callback` is not called. If you kill
    /// the green thread, the job runs on.
    ///
    /// To wait until the callback has run, join the green thread. [`ThreadPool::join`] waits for the job alone.
    ///
    /// # Panics
    ///
    /// Panics if there is no thread and none can be made.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let pool = greenloop::threadpool::ThreadPool::new(1);
    /// let length = Rc::new(Cell::new(0));
    /// let seen = length.clone();
    /// let task = pool.apply_async(|| "text".to_owned(), move |text| seen.set(text.len()));
    /// assert_eq!(task.join().unwrap(), "text");
    /// assert_eq!(length.get(), 4);
    /// ```
    #[track_caller]
    pub fn apply_async<F, T, C>(&self, function: F, callback: C) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: FnOnce(&T) + 'static,
    {
        let job = self.submit(function);
        task::spawn(move || {
            let value = job.take().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
            callback(&value);
            value
        })
    }

    /// Queues a job without waiting for room.
    fn submit<F, T>(&self, function: F) -> Job<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, task) = Job::detached_by_drop(function);
        self.crew().submit(task).unwrap_or_else(no_thread);
        job
    }
}
