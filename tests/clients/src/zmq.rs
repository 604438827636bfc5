//! libzmq, from its shared library: its own OS threads wake those that wait by eventfds, and it ends the process if those fail.

#![expect(unsafe_code, reason = "calls of a C library")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::ptr::from_ref;
use std::sync::OnceLock;

use clients::interrupted::interrupted;
use clients::library::{find, open};
use clients::measure::at_once;

// Of zmq.h, where they are part of the ABI.
const PULL: c_int = 7;
const PUSH: c_int = 8;
const RECEIVE_TIMEOUT: c_int = 27;

/// The library's functions that are used here.
struct Zmq {
    new_context: unsafe extern "C" fn() -> *mut c_void,
    end_context: unsafe extern "C" fn(*mut c_void) -> c_int,
    socket: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
    set: unsafe extern "C" fn(*mut c_void, c_int, *const c_void, usize) -> c_int,
    close: unsafe extern "C" fn(*mut c_void) -> c_int,
    bind: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    connect: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    receive: unsafe extern "C" fn(*mut c_void, *mut u8, usize, c_int) -> c_int,
    send: unsafe extern "C" fn(*mut c_void, *const u8, usize, c_int) -> c_int,
}

fn zmq() -> &'static Zmq {
    static ZMQ: OnceLock<Zmq> = OnceLock::new();
    ZMQ.get_or_init(|| {
        let library = open(c"libzmq.so.5");
        Zmq {
            // SAFETY: the function of this name has this type.
            new_context: unsafe { find(library, c"zmq_ctx_new") },
            // SAFETY: as above.
            end_context: unsafe { find(library, c"zmq_ctx_term") },
            // SAFETY: as above.
            socket: unsafe { find(library, c"zmq_socket") },
            // SAFETY: as above.
            set: unsafe { find(library, c"zmq_setsockopt") },
            // SAFETY: as above.
            close: unsafe { find(library, c"zmq_close") },
            // SAFETY: as above.
            bind: unsafe { find(library, c"zmq_bind") },
            // SAFETY: as above.
            connect: unsafe { find(library, c"zmq_connect") },
            // SAFETY: as above.
            receive: unsafe { find(library, c"zmq_recv") },
            // SAFETY: as above.
            send: unsafe { find(library, c"zmq_send") },
        }
    })
}

/// A context, and two sockets of it that know each other.
struct Pair {
    context: *mut c_void,
    push: *mut c_void,
    pull: *mut c_void,
}

impl Pair {
    fn new() -> Pair {
        const NAME: &CStr = c"inproc://pair";
        // SAFETY: takes nothing.
        let context = unsafe { (zmq().new_context)() };
        // SAFETY: an open context.
        let push = unsafe { (zmq().socket)(context, PUSH) };
        // SAFETY: as above.
        let pull = unsafe { (zmq().socket)(context, PULL) };
        // SAFETY: an open socket and a C string.
        assert_eq!(unsafe { (zmq().bind)(pull, NAME.as_ptr()) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { (zmq().connect)(push, NAME.as_ptr()) }, 0);
        Pair { context, push, pull }
    }

    /// The longest that it receives, in milliseconds.
    fn set_limit(&mut self, limit: c_int) {
        let value = from_ref(&limit).cast();
        // SAFETY: an open socket, and the type that the option has.
        let result = unsafe { (zmq().set)(self.pull, RECEIVE_TIMEOUT, value, size_of::<c_int>()) };
        assert_eq!(result, 0);
    }

    fn send(&mut self, word: [u8; 4]) {
        // SAFETY: an open socket, and four bytes.
        assert_eq!(unsafe { (zmq().send)(self.push, word.as_ptr(), word.len(), 0) }, 4);
    }

    fn receive(&mut self) -> io::Result<[u8; 4]> {
        let mut word = [0; 4];
        // SAFETY: an open socket, and `word` is valid for writes of its length.
        let count = unsafe { (zmq().receive)(self.pull, word.as_mut_ptr(), word.len(), 0) };
        if count == -1 { Err(io::Error::last_os_error()) } else { Ok(word) }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: an open socket, which nobody uses from here on.
        assert_eq!(unsafe { (zmq().close)(self.push) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { (zmq().close)(self.pull) }, 0);
        // As its manual page says: again when it was interrupted.
        // SAFETY: an open context.
        while unsafe { (zmq().end_context)(self.context) } == -1 {
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EINTR));
        }
    }
}

/// The library's own time limit ends one, and then a message is there.
#[test]
fn fifty_receives_at_once() {
    let receive_twice = |number: u32, pair: &mut Pair| {
        pair.set_limit(100);
        assert_eq!(pair.receive().unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        pair.send(number.to_be_bytes());
        assert_eq!(pair.receive().unwrap(), number.to_be_bytes());
    };
    at_once("libzmq", 50, |_| Pair::new(), receive_twice);
}

#[test]
fn an_interrupted_receive_of_libzmq_s_says_so() {
    let call = |pair: &mut Pair| {
        let errors = [pair.receive().unwrap_err(), pair.receive().unwrap_err()];
        for error in &errors {
            assert_eq!(error.raw_os_error(), Some(libc::EINTR));
        }
        Err::<(), _>(errors)
    };
    let again = |mut pair: Pair| {
        pair.send(*b"word");
        assert_eq!(&pair.receive().unwrap(), b"word");
    };
    interrupted("libzmq", Pair::new, call, again);
}
