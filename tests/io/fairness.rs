use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::io::wait_readable;
use greenloop::{JoinHandle, sleep, spawn, yield_now};

use crate::support::each_driver;
use crate::{put, read_byte, readable, settle};

each_driver! {
    /// Conformance 135.
    fn a_hundred_readers_are_served_in_order() {
        let (reader, writer) = readable();
        let reader = Rc::new(reader);
        let readers: Vec<JoinHandle<u8>> = (0..100)
            .map(|_| {
                let reader = reader.clone();
                spawn(move || read_byte(&reader))
            })
            .collect();
        settle();
        put(&writer, &Vec::from_iter(0..50));
        settle();
        assert_eq!(readers.iter().filter(|reader| reader.is_finished()).count(), 50);
        put(&writer, &Vec::from_iter(50..100));
        let bytes: Vec<u8> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert_eq!(bytes, Vec::from_iter(0..100));
    }

    fn who_comes_while_others_wait_queues_up() {
        let (reader, writer) = readable();
        let reader = Rc::new(reader);
        let first = spawn({
            let reader = reader.clone();
            move || read_byte(&reader)
        });
        settle();
        put(&writer, b"12");
        // The first has not been woken yet, and the byte for it is there already.
        assert_eq!((read_byte(&reader), first.join().unwrap()), (b'2', b'1'));
    }

    fn a_reader_that_comes_again_stands_behind_the_others() {
        let (reader, writer) = readable();
        let reader = Rc::new(reader);
        let log = Rc::new(RefCell::new(Vec::new()));
        let reading = |name: char| {
            let (reader, log) = (reader.clone(), log.clone());
            spawn(move || {
                for _ in 0..3 {
                    let byte = read_byte(&reader);
                    log.borrow_mut().push((name, byte));
                }
            })
        };
        let readers = [reading('a'), reading('b')];
        settle();
        put(&writer, &[0, 1, 2, 3, 4, 5]);
        greenloop::joinall(&readers);
        assert_eq!(*log.borrow(), [('a', 0), ('b', 1), ('a', 2), ('b', 3), ('a', 4), ('b', 5)]);
    }

    /// Conformance 140: what is always ready yields once per budget.
    fn an_endless_supply_starves_nobody() {
        let (reader, writer) = readable();
        put(&writer, &[7; 60_000]);
        let left = Rc::new(Cell::new(60_000));
        let busy = spawn({
            let left = left.clone();
            move || while left.get() > 0 {
                read_byte(&reader);
                left.set(left.get() - 1);
            }
        });
        let mut turns = 0;
        while !busy.is_finished() {
            turns += 1;
            yield_now();
        }
        assert!((100..10_000).contains(&turns), "{turns} turns while 60,000 bytes were read one by one");
    }

    fn an_endless_supply_that_takes_work_delays_no_timer() {
        let (reader, writer) = readable();
        put(&writer, &[7; 60_000]);
        let done = Rc::new(Cell::new(0));
        let busy = spawn({
            let done = done.clone();
            move || loop {
                read_byte(&reader);
                done.set(done.get() + 1);
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(100) {}
            }
        });
        sleep(Duration::from_millis(1));
        assert!((1..1_000).contains(&done.get()), "{} pieces of work in a millisecond's sleep", done.get());
        busy.kill();
    }

    fn waiting_for_what_is_ready_starves_nobody() {
        let (reader, writer) = readable();
        put(&writer, b"x");
        let busy = spawn(move || (0..60_000).for_each(|_| wait_readable(&reader).unwrap()));
        let mut turns = 0;
        while !busy.is_finished() {
            turns += 1;
            yield_now();
        }
        assert!((100..10_000).contains(&turns), "{turns} turns during 60,000 waits");
    }

    /// Conformance 90.
    fn a_spinner_starves_neither_io_nor_timers() {
        let (reader, writer) = readable();
        let byte = spawn(move || read_byte(&reader));
        let nap = spawn(|| sleep(Duration::from_millis(1)));
        let spinner = spawn(|| loop {
            yield_now();
        });
        yield_now();
        put(&writer, b"x");
        assert_eq!(byte.join().unwrap(), b'x');
        nap.join().unwrap();
        spinner.kill();
    }

    fn an_idle_reader_costs_others_nothing() {
        let (idle, _writer) = readable();
        let waiting = spawn(move || read_byte(&idle));
        let (reader, writer) = readable();
        let echo = spawn(move || (0..1_000).for_each(|round| assert_eq!(read_byte(&reader), round as u8)));
        for round in 0..1_000 {
            put(&writer, &[round as u8]);
            if round % 3 == 0 {
                yield_now();
            }
        }
        echo.join().unwrap();
        assert!(!waiting.is_finished());
        waiting.kill();
    }
}
