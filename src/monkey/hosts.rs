//! Looking up names and addresses in the older way, and the names of addresses.
//!
//! Each look-up is done on another OS thread, in memory of its own, so that a kill or a time limit can leave it to itself.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::mem;
use std::ptr;

use libc::{c_char, c_int, c_void, hostent, size_t, sockaddr, sockaddr_storage, socklen_t};

use super::call::{Call, Errno, errno, set_errno};
use super::off_hub::detachable;
use super::parts::Parts;
use crate::sys::original;

/// What h_errno says where errno has the reason.
const NETDB_INTERNAL: c_int = -1;

/// What the older functions say that errno is too small for: more room is needed.
const LONGEST: usize = 1 << 20;

unsafe extern "C" {
    fn __h_errno_location() -> *mut c_int;
}

fn set_h_errno(value: c_int) {
    // SAFETY: takes nothing, and returns a valid pointer to the calling thread's own h_errno.
    let place = unsafe { __h_errno_location() };
    // SAFETY: as above.
    unsafe { *place = value };
}

/// What is asked for, in memory of its own.
#[derive(Clone)]
enum Question {
    Name(CString),
    NameOf(CString, c_int),
    Address(Vec<u8>, c_int),
}

impl Question {
    /// # Safety
    ///
    /// `name` must be null or a C string.
    unsafe fn name(name: *const c_char) -> Option<Question> {
        // SAFETY: the caller's contract.
        (!name.is_null()).then(|| Question::Name(unsafe { CStr::from_ptr(name) }.to_owned()))
    }

    /// # Safety
    ///
    /// As for `name`.
    unsafe fn name_of(name: *const c_char, family: c_int) -> Option<Question> {
        // SAFETY: the caller's contract.
        (!name.is_null()).then(|| Question::NameOf(unsafe { CStr::from_ptr(name) }.to_owned(), family))
    }

    /// `None` for what has not the length of an address, which the C library refuses at once.
    ///
    /// # Safety
    ///
    /// `address` must be null or valid for reads of `length` bytes.
    unsafe fn address(address: *const c_void, length: socklen_t, family: c_int) -> Option<Question> {
        let length = length as usize;
        if address.is_null() || !matches!(length, 4 | 16) {
            return None;
        }
        // SAFETY: the caller's contract.
        let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length) };
        Some(Question::Address(bytes.to_vec(), family))
    }

    /// Asks, with room for `length` bytes at an address like `place` as far as alignment goes.
    fn ask(&self, length: usize, place: usize, h_errno: c_int) -> Answer {
        const ALIGNMENT: usize = align_of::<u128>();
        let mut room = vec![0_u8; length + ALIGNMENT].into_boxed_slice();
        let start = place.wrapping_sub(room.as_ptr().addr()) % ALIGNMENT;
        let buffer = room[start..].as_mut_ptr().cast();
        let mut answer = Answer { code: 0, errno: 0, h_errno, host: None, room, start, length };
        // SAFETY: zeros are null pointers and numbers.
        let mut host: hostent = unsafe { mem::zeroed() };
        let mut found = ptr::null_mut();
        let h_errno = &mut answer.h_errno;
        answer.code = match self {
            // SAFETY: a C string; places for an answer, of which the buffer is as long as is said.
            Question::Name(name) => unsafe {
                original::gethostbyname_r(name.as_ptr(), &mut host, buffer, length, &mut found, h_errno)
            },
            // SAFETY: as above.
            Question::NameOf(name, family) => unsafe {
                original::gethostbyname2_r(
                    name.as_ptr(),
                    *family,
                    &mut host,
                    buffer,
                    length,
                    &mut found,
                    h_errno,
                )
            },
            Question::Address(bytes, family) => {
                let (address, size) = (bytes.as_ptr().cast(), bytes.len() as socklen_t);
                // SAFETY: so many bytes; places for an answer, as above.
                unsafe {
                    original::gethostbyaddr_r(
                        address, size, *family, &mut host, buffer, length, &mut found, h_errno,
                    )
                }
            }
        };
        answer.errno = errno();
        answer.host = (!found.is_null()).then_some(host);
        answer
    }

    /// Asks with more and more room, as the functions do whose answers are in memory of the C library's.
    fn ask_whatever_the_length(&self) -> Answer {
        let mut length = 1024;
        loop {
            let answer = self.ask(length, 0, 0);
            let is_short = answer.code == libc::ERANGE && answer.h_errno == NETDB_INTERNAL;
            if !is_short || length >= LONGEST {
                return answer;
            }
            length *= 2;
        }
    }
}

/// What was found, and said.
struct Answer {
    code: c_int,
    errno: Errno,
    h_errno: c_int,
    host: Option<hostent>,
    /// What the host's pointers lead to.
    room: Box<[u8]>,
    start: usize,
    length: usize,
}

// SAFETY: the host's pointers lead into `room`, which comes along, or to what the C library keeps for all threads.
unsafe impl Send for Answer {}

impl Answer {
    /// Puts it where the caller wants it, with the pointers into the one place turned to the other.
    ///
    /// # Safety
    ///
    /// `host` must be valid for writes, and `place` for those of as many bytes as were asked for.
    unsafe fn copy_to(&self, host: *mut hostent, place: *mut c_char) {
        let Some(mut found) = self.host else { return };
        let from = self.room[self.start..].as_ptr();
        // SAFETY: so many bytes are there, and by the caller's contract here; nobody else has the memory of either.
        unsafe { place.cast::<u8>().copy_from_nonoverlapping(from, self.length) };
        let moved = |pointer: *mut c_char| match pointer.addr().checked_sub(from.addr()) {
            Some(offset) if offset < self.length => place.wrapping_add(offset),
            _ => pointer,
        };
        found.h_name = moved(found.h_name);
        for list in [&mut found.h_aliases, &mut found.h_addr_list] {
            let mut entry: *mut *mut c_char = moved(list.cast()).cast();
            let is_here = entry != *list;
            *list = entry;
            if !is_here {
                continue;
            }
            loop {
                // SAFETY: a list of the answer's, which ends with a null pointer. Of an address it is aligned as the buffer is.
                let address = unsafe { entry.read_unaligned() };
                if address.is_null() {
                    break;
                }
                // SAFETY: as above, and it is the caller's memory.
                unsafe { entry.write_unaligned(moved(address)) };
                entry = entry.wrapping_add(1);
            }
        }
        // SAFETY: the caller's contract.
        unsafe { *host = found };
    }
}

crate::greenlet_local! {
    /// What a function has found last whose answer lies in memory that is not the caller's. Each green thread has its own.
    static LATEST: RefCell<Option<Box<(Answer, hostent)>>> = RefCell::new(None);
}

/// `gethostbyname` and its siblings; `None` for what is the C library's alone.
fn found_in_own_memory(question: impl FnOnce() -> Option<Question>) -> Option<*mut hostent> {
    let call = Call::enter(Parts::DNS)?;
    let question = question()?;
    let answer = match detachable(call, "gethostbyname", move || question.ask_whatever_the_length()) {
        Ok(answer) => answer,
        Err(errno) => {
            set_h_errno(NETDB_INTERNAL);
            set_errno(errno);
            return Some(ptr::null_mut());
        }
    };
    if answer.h_errno != 0 {
        set_h_errno(answer.h_errno);
    }
    let errno = answer.errno;
    let place = match answer.host {
        Some(host) => LATEST.with(|latest| {
            let mut latest = latest.borrow_mut();
            &raw mut latest.insert(Box::new((answer, host))).1
        }),
        None => ptr::null_mut(),
    };
    set_errno(errno);
    Some(place)
}

/// Where the caller of a function with `_r` wants its answer.
struct Places {
    host: *mut hostent,
    buffer: *mut c_char,
    length: size_t,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
}

impl Places {
    /// `gethostbyname_r` and its siblings; `None` for what is the C library's alone.
    ///
    /// # Safety
    ///
    /// As for those.
    unsafe fn fill(&self, question: impl FnOnce() -> Option<Question>) -> Option<c_int> {
        let call = Call::enter(Parts::DNS)?;
        let question = question()?;
        let (length, place) = (self.length.min(LONGEST), self.buffer.addr());
        // SAFETY: the caller's contract.
        let before = unsafe { *self.h_errno };
        let answer = detachable(call, "gethostbyname_r", move || question.ask(length, place, before));
        let (code, h_errno, errno) = match &answer {
            Ok(answer) => (answer.code, answer.h_errno, answer.errno),
            Err(errno) => (*errno, NETDB_INTERNAL, *errno),
        };
        let answer = answer.ok().filter(|answer| answer.host.is_some());
        if let Some(answer) = &answer {
            // SAFETY: as above.
            unsafe { answer.copy_to(self.host, self.buffer) };
        }
        // SAFETY: as above.
        unsafe { *self.found = if answer.is_some() { self.host } else { ptr::null_mut() } };
        // SAFETY: as above.
        unsafe { *self.h_errno = h_errno };
        set_errno(errno);
        Some(code)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyname(name: *const c_char) -> *mut hostent {
    // SAFETY: the caller's contract is that of the C library's function.
    found_in_own_memory(|| unsafe { Question::name(name) })
        // SAFETY: as above.
        .unwrap_or_else(|| unsafe { original::gethostbyname(name) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent {
    // SAFETY: the caller's contract is that of the C library's function.
    found_in_own_memory(|| unsafe { Question::name_of(name, family) })
        // SAFETY: as above.
        .unwrap_or_else(|| unsafe { original::gethostbyname2(name, family) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyaddr(address: *const c_void, length: socklen_t, family: c_int) -> *mut hostent {
    // SAFETY: the caller's contract is that of the C library's function.
    found_in_own_memory(|| unsafe { Question::address(address, length, family) })
        // SAFETY: as above.
        .unwrap_or_else(|| unsafe { original::gethostbyaddr(address, length, family) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyname_r(
    name: *const c_char,
    host: *mut hostent,
    buffer: *mut c_char,
    length: size_t,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
) -> c_int {
    let places = Places { host, buffer, length, found, h_errno };
    // SAFETY: the caller's contract is that of the C library's function.
    let question = || unsafe { Question::name(name) };
    // SAFETY: as above.
    let code = unsafe { places.fill(question) };
    // SAFETY: as above.
    code.unwrap_or_else(|| unsafe { original::gethostbyname_r(name, host, buffer, length, found, h_errno) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyname2_r(
    name: *const c_char,
    family: c_int,
    host: *mut hostent,
    buffer: *mut c_char,
    length: size_t,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
) -> c_int {
    let places = Places { host, buffer, length, found, h_errno };
    // SAFETY: the caller's contract is that of the C library's function.
    let question = || unsafe { Question::name_of(name, family) };
    // SAFETY: as above.
    let code = unsafe { places.fill(question) };
    // SAFETY: as above.
    code.unwrap_or_else(|| unsafe {
        original::gethostbyname2_r(name, family, host, buffer, length, found, h_errno)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gethostbyaddr_r(
    address: *const c_void,
    size: socklen_t,
    family: c_int,
    host: *mut hostent,
    buffer: *mut c_char,
    length: size_t,
    found: *mut *mut hostent,
    h_errno: *mut c_int,
) -> c_int {
    let places = Places { host, buffer, length, found, h_errno };
    // SAFETY: the caller's contract is that of the C library's function.
    let question = || unsafe { Question::address(address, size, family) };
    // SAFETY: as above.
    let code = unsafe { places.fill(question) };
    // SAFETY: as above.
    code.unwrap_or_else(|| unsafe {
        original::gethostbyaddr_r(address, size, family, host, buffer, length, found, h_errno)
    })
}

/// A place of the caller's for a name, which may be none.
#[derive(Clone, Copy)]
struct Place(*mut c_char, socklen_t);

impl Place {
    /// As much room for a name as is there and as the longest name needs.
    fn room(self) -> Option<Vec<c_char>> {
        const NI_MAXHOST: usize = 1025;
        (!self.0.is_null()).then(|| vec![0; (self.1 as usize).min(4 * NI_MAXHOST)])
    }

    /// # Safety
    ///
    /// It must be valid for writes of what it says.
    unsafe fn fill(self, name: Option<&[c_char]>) {
        let Some(name) = name else { return };
        let end = name.iter().position(|&byte| byte == 0).map_or(name.len(), |end| end + 1);
        // SAFETY: the caller's contract: the name has been made for as much room.
        unsafe { self.0.copy_from_nonoverlapping(name.as_ptr(), end) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getnameinfo(
    address: *const sockaddr,
    length: socklen_t,
    host: *mut c_char,
    host_length: socklen_t,
    service: *mut c_char,
    service_length: socklen_t,
    flags: c_int,
) -> c_int {
    // What is not asked for, or is a number, the C library says at once.
    let is_known = |place: *mut c_char, numeric| place.is_null() || flags & numeric != 0;
    let is_at_once = is_known(host, libc::NI_NUMERICHOST) && is_known(service, libc::NI_NUMERICSERV);
    let Some(call) = Call::enter(Parts::DNS).filter(|_| !address.is_null() && !is_at_once) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe {
            original::getnameinfo(address, length, host, host_length, service, service_length, flags)
        };
    };
    // Nothing that it looks at is longer.
    let length = (length as usize).min(size_of::<sockaddr_storage>());
    // SAFETY: as above.
    let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length) };
    // SAFETY: zeros are an address of no family.
    let mut owned: sockaddr_storage = unsafe { mem::zeroed() };
    // SAFETY: there is room for any address, and nobody else knows this one.
    unsafe { (&raw mut owned).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), length) };
    let places = [Place(host, host_length), Place(service, service_length)];
    let rooms = places.map(Place::room);
    let look_up = move || {
        let mut names = rooms;
        let [host, service] = names.each_mut().map(|name| match name {
            Some(name) => (name.as_mut_ptr(), name.len() as socklen_t),
            None => (ptr::null_mut(), 0),
        });
        let address = (&raw const owned).cast();
        // SAFETY: an address of this length, and places for names that are as long as is said.
        let code = unsafe {
            original::getnameinfo(address, length as socklen_t, host.0, host.1, service.0, service.1, flags)
        };
        (code, errno(), names)
    };
    match detachable(call, "getnameinfo", look_up) {
        Ok((code, errno, names)) => {
            if code == 0 {
                for (place, name) in places.iter().zip(&names) {
                    // SAFETY: the caller's contract.
                    unsafe { place.fill(name.as_deref()) };
                }
            }
            set_errno(errno);
            code
        }
        Err(errno) => {
            set_errno(errno);
            libc::EAI_SYSTEM
        }
    }
}
