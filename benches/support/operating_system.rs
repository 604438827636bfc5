//! OS threads, with std's primitives and std's defaults.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::output::Output;
use crate::support::runtime::Runtime;

pub(crate) struct OperatingSystem;

impl Runtime for OperatingSystem {
    type Handle = thread::JoinHandle<()>;
    fn spawn<F: FnOnce() + Send + 'static>(body: F) -> Self::Handle {
        thread::spawn(body)
    }
    fn join(handle: Self::Handle) {
        handle.join().unwrap();
    }
    fn yield_now() {
        thread::yield_now();
    }
    fn sleep(duration: Duration) {
        thread::sleep(duration);
    }

    type Event = (Mutex<bool>, Condvar);
    fn event() -> Self::Event {
        Default::default()
    }
    fn wait((set, changed): &Self::Event) {
        drop(changed.wait_while(set.lock().unwrap(), |set| !*set).unwrap());
    }
    fn set((set, changed): &Self::Event) {
        *set.lock().unwrap() = true;
        changed.notify_all();
    }

    type Sender = SyncSender<u64>;
    type Receiver = Receiver<u64>;
    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        sync_channel(capacity)
    }
    fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).unwrap();
    }
    fn receive(receiver: &Self::Receiver) -> u64 {
        receiver.recv().unwrap()
    }

    type Mutex = Mutex<u64>;
    fn mutex() -> Self::Mutex {
        Mutex::new(0)
    }
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

    fn info(output: &Output) {
        output.info("threads", thread::available_parallelism().map_or(1, |count| count.get()));
    }
}
