//! libcurl, from its shared library: opened at run time, it is linked with no regard to greenloop.

#![expect(unsafe_code, reason = "calls of a C library")]

use std::ffi::{CStr, CString, c_int, c_long, c_uint, c_void};
use std::ptr::{from_mut, null_mut};
use std::sync::OnceLock;
use std::time::Duration;

use clients::interrupted::interrupted;
use clients::library::{find, open};
use clients::measure::compare;
use clients::slow_server::{ANSWER, SilentServer, slow_server};

const FETCHES: u32 = 50;

// Of curl.h, where they are part of the ABI.
const OK: c_int = 0;
const RECEIVE_ERROR: c_int = 56;
const GLOBAL_DEFAULT: c_long = 3;
const NO_SIGNAL: c_int = 99;
const WRITE_DATA: c_int = 10_001;
const URL: c_int = 10_002;
const PROXY: c_int = 10_004;
const WRITE_FUNCTION: c_int = 20_011;

type Write = unsafe extern "C" fn(*const u8, usize, usize, *mut Vec<u8>) -> usize;

/// What `curl_multi_info_read` tells of.
#[repr(C)]
struct Message {
    kind: c_int,
    handle: *mut c_void,
    /// Of the transfer, as a word.
    result: usize,
}

/// The library's functions that are used here.
struct Curl {
    init: unsafe extern "C" fn() -> *mut c_void,
    set: unsafe extern "C" fn(*mut c_void, c_int, ...) -> c_int,
    perform: unsafe extern "C" fn(*mut c_void) -> c_int,
    cleanup: unsafe extern "C" fn(*mut c_void),
    multi_init: unsafe extern "C" fn() -> *mut c_void,
    multi_add: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
    multi_perform: unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int,
    multi_poll: unsafe extern "C" fn(*mut c_void, *mut c_void, c_uint, c_int, *mut c_int) -> c_int,
    multi_message: unsafe extern "C" fn(*mut c_void, *mut c_int) -> *const Message,
    multi_remove: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
    multi_cleanup: unsafe extern "C" fn(*mut c_void) -> c_int,
}

fn curl() -> &'static Curl {
    static CURL: OnceLock<Curl> = OnceLock::new();
    CURL.get_or_init(Curl::load)
}

impl Curl {
    fn load() -> Curl {
        let library = open(c"libcurl.so.4");
        // SAFETY: the function of this name has this type.
        let global_init: unsafe extern "C" fn(c_long) -> c_int =
            unsafe { find(library, c"curl_global_init") };
        // SAFETY: before any other call of the library, and once.
        assert_eq!(unsafe { global_init(GLOBAL_DEFAULT) }, OK);
        Curl {
            // SAFETY: the function of this name has this type.
            init: unsafe { find(library, c"curl_easy_init") },
            // SAFETY: as above.
            set: unsafe { find(library, c"curl_easy_setopt") },
            // SAFETY: as above.
            perform: unsafe { find(library, c"curl_easy_perform") },
            // SAFETY: as above.
            cleanup: unsafe { find(library, c"curl_easy_cleanup") },
            // SAFETY: as above.
            multi_init: unsafe { find(library, c"curl_multi_init") },
            // SAFETY: as above.
            multi_add: unsafe { find(library, c"curl_multi_add_handle") },
            // SAFETY: as above.
            multi_perform: unsafe { find(library, c"curl_multi_perform") },
            // SAFETY: as above.
            multi_poll: unsafe { find(library, c"curl_multi_poll") },
            // SAFETY: as above.
            multi_message: unsafe { find(library, c"curl_multi_info_read") },
            // SAFETY: as above.
            multi_remove: unsafe { find(library, c"curl_multi_remove_handle") },
            // SAFETY: as above.
            multi_cleanup: unsafe { find(library, c"curl_multi_cleanup") },
        }
    }

    /// Runs `with` with a handle for a GET of `url`, and returns the body.
    fn transfer(&self, url: &CStr, with: impl FnOnce(*mut c_void) -> c_int) -> Result<Vec<u8>, c_int> {
        let mut body = Vec::new();
        // SAFETY: the library is initialised.
        let handle = unsafe { (self.init)() };
        assert!(!handle.is_null());
        // SAFETY: an open handle, and the type that the option has; the library copies the text.
        assert_eq!(unsafe { (self.set)(handle, URL, url.as_ptr()) }, OK);
        // SAFETY: as above.
        assert_eq!(unsafe { (self.set)(handle, PROXY, c"".as_ptr()) }, OK);
        // SAFETY: as above.
        assert_eq!(unsafe { (self.set)(handle, NO_SIGNAL, c_long::from(true)) }, OK);
        // SAFETY: as above; `append` is what the library may call with the bytes and what follows.
        assert_eq!(unsafe { (self.set)(handle, WRITE_FUNCTION, append as Write) }, OK);
        // SAFETY: as above; `body` outlives the handle, and nobody else uses it meanwhile.
        assert_eq!(unsafe { (self.set)(handle, WRITE_DATA, from_mut(&mut body)) }, OK);
        let result = with(handle);
        // SAFETY: an open handle, which nobody uses from here on.
        unsafe { (self.cleanup)(handle) };
        if result == OK { Ok(body) } else { Err(result) }
    }

    /// What a GET of `url` answers.
    fn fetch(&self, url: &CStr) -> Result<Vec<u8>, c_int> {
        // SAFETY: an open handle.
        self.transfer(url, |handle| unsafe { (self.perform)(handle) })
    }

    /// The same by the interface for several at once, as its manual shows it.
    fn fetch_as_one_of_many(&self, url: &CStr) -> Result<Vec<u8>, c_int> {
        self.transfer(url, |handle| {
            // SAFETY: the library is initialised.
            let multi = unsafe { (self.multi_init)() };
            // SAFETY: both are open.
            assert_eq!(unsafe { (self.multi_add)(multi, handle) }, OK);
            let mut running = 1;
            while running > 0 {
                // SAFETY: `running` is valid for writes.
                assert_eq!(unsafe { (self.multi_perform)(multi, &mut running) }, OK);
                if running > 0 {
                    // SAFETY: no descriptors beside the library's own; the count of those is not wanted.
                    assert_eq!(unsafe { (self.multi_poll)(multi, null_mut(), 0, 1000, null_mut()) }, OK);
                }
            }
            let mut left = 0;
            // SAFETY: `left` is valid for writes.
            let message = unsafe { (self.multi_message)(multi, &mut left) };
            // SAFETY: one has ended, and the message is there until the next call.
            let Message { kind, handle: whose, result } = unsafe { message.read() };
            assert_eq!((kind, whose), (1, handle));
            // SAFETY: both are open.
            assert_eq!(unsafe { (self.multi_remove)(multi, handle) }, OK);
            // SAFETY: nobody uses it from here on.
            assert_eq!(unsafe { (self.multi_cleanup)(multi) }, OK);
            result as c_int
        })
    }
}

/// # Safety
///
/// `bytes` has `size * count` bytes, and nobody else uses `body`.
unsafe extern "C" fn append(bytes: *const u8, size: usize, count: usize, body: *mut Vec<u8>) -> usize {
    // SAFETY: by the contract above.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, size * count) };
    // SAFETY: as above.
    let body = unsafe { &mut *body };
    body.extend_from_slice(bytes);
    bytes.len()
}

#[test]
fn fifty_fetches_of_libcurl_take_little_longer_than_one() {
    let port = slow_server(FETCHES, Duration::from_millis(100), |stream| stream);
    let url = CString::new(format!("http://127.0.0.1:{port}/")).unwrap();
    compare("libcurl, http, 100 ms", FETCHES, move |_| {
        assert_eq!(curl().fetch(&url).unwrap(), ANSWER.as_bytes());
    });
}

/// It says that it could not receive, and closes the connection.
fn is_interrupted(what: &str, fetch: fn(&Curl, &CStr) -> Result<Vec<u8>, c_int>) {
    let curl = curl();
    // One each for a time limit, for what comes after that, and for a kill.
    let server = SilentServer::start(3);
    let url = CString::new(server.url()).unwrap();
    let call = {
        let url = url.clone();
        move |&mut (): &mut ()| match fetch(curl, &url) {
            Err(code) => {
                assert_eq!(code, RECEIVE_ERROR);
                Err(code)
            }
            Ok(body) => panic!("it says that it has all, which is {body:?}"),
        }
    };
    interrupted(what, || (), call, move |()| assert_eq!(fetch(curl, &url).unwrap(), ANSWER.as_bytes()));
    server.end();
}

#[test]
fn an_interrupted_transfer_of_libcurl_s_fails() {
    is_interrupted("libcurl", Curl::fetch);
}

#[test]
fn so_does_one_of_many() {
    is_interrupted("libcurl, multi", Curl::fetch_as_one_of_many);
}
