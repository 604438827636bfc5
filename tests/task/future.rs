use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use greenloop::{JoinHandle, block_on, joinall, sleep, spawn, with_timeout, yield_now};

use crate::support::within;
use crate::{CountsDrops, LIMIT, LONG, Log, SHORT, raise, text};

/// A future that another OS thread completes.
#[derive(Clone, Default)]
struct Promise(Arc<Mutex<(Option<u32>, Option<Waker>)>>);

impl Promise {
    fn complete(&self, value: u32) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = Some(value);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Promise {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        let mut state = self.0.lock().unwrap();
        match state.0.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Wakes itself a number of times before it is done.
fn busy(mut turns: u32) -> impl Future<Output = ()> {
    poll_fn(move |context| {
        if turns == 0 {
            return Poll::Ready(());
        }
        turns -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn what_is_ready_does_not_yield() {
    within(LIMIT, || {
        let other = spawn(|| ());
        assert_eq!(block_on(async { 7 }), 7);
        assert!(!other.is_finished());
        block_on(busy(3));
    });
}

#[test]
fn a_waker_of_another_thread() {
    within(LIMIT, || {
        let (promises, theirs) = mpsc::channel::<(Promise, u32)>();
        let completer = thread::spawn(move || {
            for (promise, value) in theirs {
                promise.complete(value);
            }
        });
        let tasks: Vec<_> = (0..200)
            .map(|number| {
                let promises = promises.clone();
                spawn(move || {
                    let promise = Promise::default();
                    promises.send((promise.clone(), number)).unwrap();
                    block_on(promise)
                })
            })
            .collect();
        drop(promises);
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap() as usize, number);
        }
        completer.join().unwrap();
    });
}

#[test]
fn a_waker_may_come_early_late_and_often() {
    within(LIMIT, || {
        let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let wakers = kept.clone();
        let mut polls = 0;
        let polled = block_on(poll_fn(move |context| {
            polls += 1;
            // Before it is pending, and more than once.
            context.waker().wake_by_ref();
            context.waker().wake_by_ref();
            wakers.lock().unwrap().push(context.waker().clone());
            if polls == 3 { Poll::Ready(polls) } else { Poll::Pending }
        }));
        assert_eq!(polled, 3);
        // Long after the end, from here and from elsewhere, while this green thread waits for other things.
        let late = kept.lock().unwrap().drain(..).collect::<Vec<_>>();
        late[0].wake_by_ref();
        let elsewhere = thread::spawn(move || late.into_iter().for_each(Waker::wake));
        sleep(SHORT);
        elsewhere.join().unwrap();
        yield_now();
    });
}

#[test]
fn a_kill_and_a_time_limit_drop_the_future() {
    within(LIMIT, || {
        let dropped = Rc::new(Cell::new(0));
        let future = || {
            let counted = CountsDrops(dropped.clone());
            async move {
                pending::<()>().await;
                drop(counted);
            }
        };
        assert!(with_timeout(SHORT, || block_on(future())).is_err());
        assert_eq!(dropped.replace(0), 1);
        let unpolled = future();
        let task = spawn(move || block_on(unpolled));
        yield_now();
        assert_eq!(dropped.get(), 0);
        task.kill();
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_panic_of_the_future_comes_out() {
    within(LIMIT, || {
        let task = spawn(|| block_on(async { raise("in a poll") }));
        let task: JoinHandle<()> = task;
        assert_eq!(text(&*task.join().unwrap_err().into_payload()), "in a poll");
    });
}

#[test]
fn a_poll_may_wait_as_green_threads_do() {
    within(LIMIT, || {
        let log = Log::new();
        let inside = log.clone();
        let outer = spawn(move || {
            block_on(async {
                sleep(SHORT);
                inside.push("slept in a poll");
                busy(2).await;
                // One in the other.
                block_on(busy(2));
                inside.push("blocked in a poll");
            });
        });
        spawn(|| ()).join().unwrap();
        log.push("others ran");
        outer.join().unwrap();
        assert_eq!(log.take(), ["others ran", "slept in a poll", "blocked in a poll"]);
    });
}

#[test]
fn a_handle_is_a_future() {
    within(LIMIT, || {
        let sum = block_on(async {
            let slow = spawn(|| {
                sleep(SHORT);
                1
            });
            let fast = spawn(|| 2);
            let failing: JoinHandle<u32> = spawn(|| raise("broken"));
            assert!(failing.await.unwrap_err().is_panic());
            slow.await.unwrap() + fast.await.unwrap()
        });
        assert_eq!(sum, 3);
        // Of a green thread of another OS thread.
        let (handles, theirs) = mpsc::channel();
        let thread = thread::spawn(move || {
            let tasks = [spawn(|| sleep(SHORT)), spawn(|| ())];
            tasks.into_iter().for_each(|task| handles.send(task).unwrap());
            greenloop::hub::Hub::current().join();
        });
        for task in theirs {
            block_on(task).unwrap();
        }
        thread.join().unwrap();
    });
}

struct CountsWakes(AtomicU32);

impl std::task::Wake for CountsWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_handle_polled_and_given_up_goes_on() {
    within(LIMIT, || {
        let counter = Arc::new(CountsWakes(AtomicU32::new(0)));
        let waker = Waker::from(counter.clone());
        let mut context = Context::from_waker(&waker);
        let mut task = spawn(|| {
            yield_now();
            7
        });
        // Each poll takes the place of the one before.
        for _ in 0..5 {
            assert!(Pin::new(&mut task).poll(&mut context).is_pending());
        }
        joinall([&task]);
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert!(matches!(Pin::new(&mut task).poll(&mut context), Poll::Ready(Ok(7))));

        let mut given_up = spawn(|| sleep(LONG));
        assert!(Pin::new(&mut given_up).poll(&mut context).is_pending());
        yield_now();
        assert!(!given_up.try_kill());
        assert!(given_up.join().unwrap_err().is_killed());
    });
}

#[test]
fn polls_and_links_are_told_of_one_end_in_whatever_order_they_came() {
    within(LIMIT, || {
        for order in ["poll link", "link poll", "poll link poll", "poll link link poll poll"] {
            let (counter, links) = (Arc::new(CountsWakes(AtomicU32::new(0))), Arc::new(AtomicU32::new(0)));
            let waker = Waker::from(counter.clone());
            let mut task = spawn(|| ());
            for follower in order.split(' ') {
                if follower == "poll" {
                    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
                } else {
                    let links = links.clone();
                    task.link(move |_| {
                        links.fetch_add(1, Ordering::SeqCst);
                    });
                }
            }
            task.wait();
            yield_now();
            assert_eq!(counter.0.load(Ordering::SeqCst), 1, "{order}");
            assert_eq!(links.load(Ordering::SeqCst) as usize, order.matches("link").count(), "{order}");
        }
    });
}
