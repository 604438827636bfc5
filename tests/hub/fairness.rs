use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloop::io::wait_readable;
use greenloop::{sleep, spawn, yield_now};

use crate::support::{each_driver, put, read_byte, readable};

each_driver! {
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
