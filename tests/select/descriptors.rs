use std::fs::File;
use std::io::{Read, Write, pipe};

use greenloop::channel::{bounded, never};
use greenloop::select::Select;
use greenloop::{select, spawn, yield_now};

use super::support::each_driver;
use super::{LONG, SHORT};

each_driver! {
    fn a_descriptor_beside_a_channel() {
        let (mut reader, mut writer) = pipe().unwrap();
        let (sender, receiver) = bounded(1);
        let choosing = spawn(move || {
            let mut log = Vec::new();
            while log.len() < 2 {
                select! {
                    readable(reader) -> ready => {
                        ready.unwrap();
                        let mut byte = [0];
                        reader.read_exact(&mut byte).unwrap();
                        log.push(u32::from(byte[0]));
                    }
                    recv(receiver) -> value => log.push(value.unwrap()),
                }
            }
            log
        });
        yield_now();
        writer.write_all(&[7]).unwrap();
        while sender.is_empty() && !choosing.is_finished() {
            greenloop::sleep(SHORT);
            if sender.is_empty() {
                sender.send(8).unwrap();
                break;
            }
        }
        assert_eq!(choosing.join().unwrap(), [7, 8]);
    }

    fn room_for_output() {
        let (mut reader, mut writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[0; 4096]).is_ok() {}
        let silent = never::<u32>();
        let full = select! {
            writable(writer) -> _ => false,
            recv(silent) -> _ => false,
            default(SHORT) => true,
        };
        assert!(full);
        let choosing = spawn(move || select! { writable(&writer) -> ready => ready, recv(silent) -> _ => Ok(()) });
        yield_now();
        reader.read_exact(&mut vec![0; 1 << 16]).unwrap();
        choosing.join().unwrap().unwrap();
    }

    fn what_is_always_ready_is() {
        let file = File::open("/proc/self/exe").unwrap();
        let silent = never::<u32>();
        select! {
            readable(file) -> ready => ready.unwrap(),
            recv(silent) -> _ => unreachable!(),
        }
    }

    fn a_descriptor_that_is_waited_for_twice() {
        let (reader, mut writer) = pipe().unwrap();
        let reader = std::rc::Rc::new(reader);
        let wait = || {
            let (reader, silent) = (reader.clone(), never::<u32>());
            spawn(move || select! { readable(reader) -> ready => ready.is_ok(), recv(silent) -> _ => false })
        };
        let both = [wait(), wait()];
        yield_now();
        writer.write_all(b"a").unwrap();
        assert_eq!(both.map(|task| task.join().unwrap()), [true; 2]);
    }

    fn a_descriptor_that_is_closed_before_is_an_error() {
        let (stream, _other) = greenloop::net::unix::UnixStream::pair().unwrap();
        stream.close().unwrap();
        let mut select = Select::new();
        select.readable(&stream);
        let error = select.select().readiness().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
    }

    fn a_descriptor_that_is_closed_under_the_wait_harms_nobody() {
        let (stream, _other) = greenloop::net::unix::UnixStream::pair().unwrap();
        let stream = std::rc::Rc::new(stream);
        let waiting = spawn({
            let stream = stream.clone();
            move || select! { readable(stream) -> ready => ready.is_err(), default(LONG) => false }
        });
        yield_now();
        stream.close().unwrap();
        assert!(waiting.join().unwrap());
    }
}
