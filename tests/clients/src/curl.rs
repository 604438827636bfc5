//! libcurl, from its shared library: opened at run time, it is linked with no regard to greenloop.

#![expect(unsafe_code, reason = "calls of a C library")]

use std::ffi::{CStr, CString, c_int, c_long, c_void};
use std::ptr::from_mut;
use std::time::Duration;

use crate::compare;
use crate::http::{ANSWER, slow_server};

const FETCHES: u32 = 50;

// Of curl.h, where they are part of the ABI.
const OK: c_int = 0;
const GLOBAL_DEFAULT: c_long = 3;
const NO_SIGNAL: c_int = 99;
const WRITE_DATA: c_int = 10_001;
const URL: c_int = 10_002;
const PROXY: c_int = 10_004;
const WRITE_FUNCTION: c_int = 20_011;

type Write = unsafe extern "C" fn(*const u8, usize, usize, *mut Vec<u8>) -> usize;

/// The library's functions that are used here.
#[derive(Clone, Copy)]
struct Curl {
    init: unsafe extern "C" fn() -> *mut c_void,
    set: unsafe extern "C" fn(*mut c_void, c_int, ...) -> c_int,
    perform: unsafe extern "C" fn(*mut c_void) -> c_int,
    cleanup: unsafe extern "C" fn(*mut c_void),
}

impl Curl {
    fn load() -> Curl {
        // SAFETY: a C string; the library's initialisers do nothing to this program.
        let library = unsafe { libc::dlopen(c"libcurl.so.4".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null(), "libcurl.so.4 is missing; `.ci/run` installs it");
        // SAFETY: the function of this name has this type.
        let global_init: unsafe extern "C" fn(c_long) -> c_int =
            unsafe { find(library, c"curl_global_init") };
        // SAFETY: before any other call of the library, and once: one test loads it.
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
        }
    }

    /// What a GET of `url` answers.
    fn fetch(self, url: &CStr) -> Vec<u8> {
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
        // SAFETY: an open handle.
        assert_eq!(unsafe { (self.perform)(handle) }, OK);
        // SAFETY: an open handle, which nobody uses from here on.
        unsafe { (self.cleanup)(handle) };
        body
    }
}

/// # Safety
///
/// `library` is open and stays so, and the function `name` has the type `F`.
unsafe fn find<F: Copy>(library: *mut c_void, name: &CStr) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: an open library and a C string.
    let function: *mut c_void = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!function.is_null(), "libcurl has no {name:?}");
    // SAFETY: the caller says that it is an `F`, and it is as large.
    unsafe { (&raw const function).cast::<F>().read() }
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
    let curl = Curl::load();
    let port = slow_server(FETCHES, Duration::from_millis(100), |stream| stream);
    let url = CString::new(format!("http://127.0.0.1:{port}/")).unwrap();
    compare("libcurl, http, 100 ms", FETCHES, move |_| assert_eq!(curl.fetch(&url), ANSWER.as_bytes()));
}
