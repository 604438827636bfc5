use std::cell::RefCell;
use std::rc::Rc;

use greenloop::{JoinHandle, spawn};

use crate::support::{each_driver, put, read_byte, readable, settle};

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
}
