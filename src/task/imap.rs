//! A function over many elements, several at a time: what the pools of green threads and of OS threads have in common.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Failure, JoinError};
use crate::hub::waitset::WaitSet;

use super::current::current;

/// An iterator over the results of a pool's `imap` and `imap_unordered`.
///
/// Nothing begins before the first [`next`](Iterator::next). Each call of `next` begins as many elements as the pool has room
/// for, and yields until a result is there: the next one in order for `imap`, the first one for `imap_unordered`. At most
/// [`maxsize`](Imap::maxsize) elements are begun and not yet returned, so a slow consumer or an endless iterator does not fill
/// the memory.
///
/// If an element panics or is killed, its result is an `Err`, and the others go on. A kill or an enclosing
/// [`with_timeout`](crate::with_timeout) ends the wait and loses no result.
///
/// If you drop the iterator, the results are lost: elements that have begun run to their end, and the rest never begin.
///
/// # Examples
///
/// ```
/// let pool = greenloop::pool::Pool::new(2);
/// let mut squares = pool.imap(1..=3, |number| number * number);
/// assert_eq!(squares.next().unwrap().unwrap(), 1);
/// assert_eq!(squares.map(Result::unwrap).collect::<Vec<_>>(), [4, 9]);
/// ```
#[must_use = "iterators are lazy: no element is begun before `next`"]
pub struct Imap<'a, T, E = JoinError> {
    begin: Box<dyn FnMut(bool) -> Begun + 'a>,
    results: Arc<WaitSet<Numbered<T, E>>>,
    order: Order,
    most: usize,
    begun: usize,
    given: usize,
    /// Whether all elements have been begun.
    ended: bool,
    /// In order only: what has come, from number `given` on.
    early: VecDeque<Option<Result<T, E>>>,
}

/// A result with the number of its element.
type Numbered<T, E> = (usize, Result<T, E>);

/// Which result comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Given,
    Completion,
}

/// What came of the attempt to begin an element.
enum Begun {
    Yes,
    /// There is no room for it now.
    Full,
    /// There is none.
    None,
}

impl<'a, T: 'a> Imap<'a, T> {
    /// Maps `items` by `function`, at most `most` at a time. `room` finds a place for the next, and waits for one if it is
    /// told to; what it returns begins the element there.
    pub(crate) fn new<I, F, P>(
        items: I,
        function: F,
        order: Order,
        most: usize,
        mut room: impl FnMut(bool) -> Option<P> + 'a,
    ) -> Imap<'a, T>
    where
        I: IntoIterator,
        I::IntoIter: 'a,
        F: Fn(I::Item) -> T + 'a,
        P: FnOnce(Element<F, I::Item, T>),
    {
        let function = Arc::new(function);
        Imap::by(
            items,
            order,
            most,
            || Failure::Killed.of_job(),
            move |wait| {
                let place = room(wait)?;
                let function = function.clone();
                Some(move |item, reply| place(Element { function, item, reply }))
            },
        )
    }
}

impl<'a, T: 'a, E: 'a> Imap<'a, T, E> {
    /// Like [`new`](Imap::new), where what is found for an item begins it, and sends its result by the reply. One that sends nothing is
    /// `forsaken`.
    pub(crate) fn by<I, P>(
        items: I,
        order: Order,
        most: usize,
        forsaken: fn() -> E,
        mut room: impl FnMut(bool) -> Option<P> + 'a,
    ) -> Imap<'a, T, E>
    where
        I: IntoIterator,
        I::IntoIter: 'a,
        P: FnOnce(I::Item, Reply<T, E>),
    {
        let results = Arc::new(WaitSet::default());
        let mailbox = results.clone();
        let mut items = items.into_iter().enumerate().peekable();
        let begin = move |wait| {
            // First, since for nothing no room need be waited for.
            if items.peek().is_none() {
                return Begun::None;
            }
            let Some(place) = room(wait) else { return Begun::Full };
            let Some((number, item)) = items.next() else { return Begun::None };
            let reply = Reply { number, mailbox: Some(mailbox.clone()), forsaken };
            place(item, reply);
            Begun::Yes
        };
        Imap {
            begin: Box::new(begin),
            results,
            order,
            most: most.max(1),
            begun: 0,
            given: 0,
            ended: false,
            early: VecDeque::new(),
        }
    }
}

impl<T, E> Imap<'_, T, E> {
    /// Lets at most `most` elements be begun and not yet returned. A `most` of zero counts as one.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = greenloop::pool::Pool::new(3);
    /// let squares = pool.imap(1_u64.., |number| number * number).maxsize(10);
    /// assert_eq!(squares.flatten().take(4).collect::<Vec<_>>(), [1, 4, 9, 16]);
    /// ```
    pub fn maxsize(mut self, most: usize) -> Self {
        self.most = most.max(1);
        self
    }

    /// Begins what there is room for; waits for room only if no result would come otherwise.
    fn fill(&mut self) {
        while !self.ended && self.begun - self.given < self.most {
            match (self.begin)(self.begun == self.given) {
                Begun::Yes => self.begun += 1,
                Begun::Full => return,
                Begun::None => self.ended = true,
            }
        }
    }

    /// Keeps what has come, and returns what is next, if that has come.
    fn sort(&mut self, (number, result): Numbered<T, E>) -> Option<Result<T, E>> {
        if self.order == Order::Completion {
            return Some(result);
        }
        let place = number - self.given;
        if self.early.len() <= place {
            self.early.resize_with(place + 1, || None);
        }
        self.early[place] = Some(result);
        self.early_one()
    }

    fn early_one(&mut self) -> Option<Result<T, E>> {
        let result = self.early.front_mut()?.take()?;
        self.early.pop_front();
        Some(result)
    }
}

impl<T, E> Iterator for Imap<'_, T, E> {
    type Item = Result<T, E>;

    fn next(&mut self) -> Option<Result<T, E>> {
        loop {
            self.fill();
            if self.begun == self.given {
                return None;
            }
            let next = self.early_one().or_else(|| {
                let result = self.results.wait("imap", None)?;
                self.sort(result)
            });
            if next.is_some() {
                self.given += 1;
                return next;
            }
        }
    }
}

impl<T, E> FusedIterator for Imap<'_, T, E> {}

impl<T, E> fmt::Debug for Imap<'_, T, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Imap").field("given", &self.given).field("begun", &self.begun).finish()
    }
}

/// One element on its way.
pub(crate) struct Element<F, A, T> {
    function: Arc<F>,
    item: A,
    reply: Reply<T, JoinError>,
}

impl<F: Fn(A) -> T, A, T> Element<F, A, T> {
    /// Runs the function and sends its result.
    pub(crate) fn run(self) {
        let Element { function, item, reply } = self;
        reply.send(call(&*function, item));
    }
}

/// Calls the function with one element, and keeps what it raises.
pub(crate) fn call<A, T>(function: impl FnOnce(A) -> T, item: A) -> Result<T, JoinError> {
    // What a panic leaves half done is the function's own, and the payload goes to whoever has the result.
    let result = catch_unwind(AssertUnwindSafe(|| function(item)));
    result.map_err(|payload| Failure::from_payload(payload).of_current())
}

/// [Calls](call) the function with each element, in turn, and gives what comes of it. While nothing is raised, that is one plain loop.
pub(crate) fn call_each<A, T>(
    function: impl Fn(A) -> T,
    mut items: impl Iterator<Item = A>,
    mut give: impl FnMut(Result<T, JoinError>),
) {
    loop {
        // As above.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            for item in items.by_ref() {
                give(Ok(function(item)));
            }
        }));
        match ended {
            Ok(()) => return,
            Err(payload) => give(Err(Failure::from_payload(payload).of_current())),
        }
    }
}

impl Failure {
    /// The error, of the green thread that runs, or else of a job.
    #[cold]
    fn of_current(self) -> JoinError {
        match current() {
            Some(current) => self.of(current.shared_name(), current.spawned_at()),
            None => self.of_job(),
        }
    }
}

/// Sends a result in any case: one that is dropped says that the element was killed.
pub(crate) struct Reply<T, E> {
    number: usize,
    mailbox: Option<Arc<WaitSet<Numbered<T, E>>>>,
    forsaken: fn() -> E,
}

impl<T, E> Reply<T, E> {
    pub(crate) fn send(mut self, result: Result<T, E>) {
        self.post(result);
    }

    fn post(&mut self, result: Result<T, E>) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.post((self.number, result));
        }
    }
}

impl<T, E> Drop for Reply<T, E> {
    fn drop(&mut self) {
        if self.mailbox.is_some() {
            let error = (self.forsaken)();
            self.post(Err(error));
        }
    }
}
