//! A network between a program and a server of this machine, which can be cut.

use greenloop::JoinHandle;
use greenloop::event::Event;
use greenloop::net::{Shutdown, TcpListener, TcpStream};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// It carries what is sent for as long as this is there.
pub struct Proxy {
    pub address: SocketAddr,
    /// Set while the network is there.
    whole: Rc<Event>,
    carrying: JoinHandle<io::Result<()>>,
}

impl Proxy {
    /// To the server at this port.
    pub fn start(port: u16) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let whole = Rc::new(Event::new());
        whole.set();
        let network = Rc::clone(&whole);
        let carrying = greenloop::spawn(move || accept(&listener, port, &network));
        Ok(Proxy { address, whole, carrying })
    }

    /// From now on nothing comes through for so long, and nobody is told. After that the connections that were in use are broken. Does not
    /// wait for that.
    pub fn cut(&self, time: Duration) {
        self.whole.clear();
        let whole = Rc::clone(&self.whole);
        greenloop::spawn(move || {
            greenloop::sleep(time);
            whole.set();
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.carrying.kill();
    }
}

fn accept(listener: &TcpListener, port: u16, whole: &Event) -> io::Result<()> {
    greenloop::scope(|scope| {
        loop {
            let (client, _) = listener.accept()?;
            scope.spawn(move || {
                whole.wait();
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
                greenloop::scope(|scope| {
                    scope.spawn(|| carry(&client, &server, whole));
                    carry(&server, &client, whole);
                });
            });
        }
    })
}

/// Until one end closes, or something comes while the network is cut.
fn carry(mut from: &TcpStream, mut to: &TcpStream, whole: &Event) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        if !whole.is_set() {
            whole.wait();
            break;
        }
        if to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    // So that the other direction ends too. They may be closed already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
