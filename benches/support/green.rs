//! Green threads, with greenloop's primitives and default settings.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use greenloop::JoinHandle;
use greenloop::channel::{Receiver, Sender};
use greenloop::event::Event;
use greenloop::greenlet::Greenlet;
use greenloop::net::{TcpListener, TcpStream};
use greenloop::sync::Mutex;

use super::output::Output;
use super::runtime::Runtime;

pub(crate) struct Green;

impl Runtime for Green {
    type Handle = JoinHandle<()>;
    #[inline]
    fn spawn<F: FnOnce() + Send + 'static>(body: F) -> Self::Handle {
        greenloop::spawn(body)
    }
    #[inline]
    fn join(handle: Self::Handle) {
        handle.join().unwrap();
    }
    #[inline(always)]
    fn yield_now() {
        greenloop::yield_now();
    }
    fn sleep(duration: Duration) {
        greenloop::sleep(duration);
    }

    type Event = Event;
    fn event() -> Event {
        Event::new()
    }
    fn wait(event: &Event) {
        event.wait();
    }
    fn set(event: &Event) {
        event.set();
    }

    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;
    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        greenloop::channel::bounded(capacity)
    }
    #[inline(always)]
    fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).unwrap();
    }
    #[inline(always)]
    fn receive(receiver: &Self::Receiver) -> u64 {
        receiver.recv().unwrap()
    }

    type Mutex = Mutex<u64>;
    fn mutex() -> Self::Mutex {
        Mutex::new(0)
    }
    #[inline]
    fn with_lock(mutex: &Self::Mutex, body: impl FnOnce(&mut u64)) {
        body(&mut mutex.lock().unwrap());
    }

    type Listener = TcpListener;
    type Stream = TcpStream;
    fn listen(port: u16) -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap()
    }
    fn port(listener: &TcpListener) -> u16 {
        listener.local_addr().unwrap().port()
    }
    fn accept(listener: &TcpListener) -> TcpStream {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
    fn connect(port: u16) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn pingpong(iterations: usize) -> bool {
        let rounds = iterations / 2;
        let partner: Rc<RefCell<Option<Greenlet<usize>>>> = Rc::default();
        let one = Greenlet::new({
            let partner = partner.clone();
            move |mut value| {
                let other = partner.borrow_mut().take().unwrap();
                for _ in 0..rounds {
                    value = other.switch(value + 1).unwrap();
                }
                value
            }
        });
        let other = Greenlet::new({
            let one = one.clone();
            move |mut value| {
                loop {
                    value = one.switch(value + 1).unwrap();
                }
            }
        });
        *partner.borrow_mut() = Some(other);
        assert_eq!(one.switch(0).unwrap(), rounds * 2);
        true
    }

    fn info(output: &Output) {
        output.info("version", env!("CARGO_PKG_VERSION"));
    }
}
