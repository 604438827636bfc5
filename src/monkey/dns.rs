//! Looking names up.

use std::ffi::{CStr, CString};
use std::mem;
use std::ptr;

use libc::{addrinfo, c_char, c_int};

use super::call::{Call, errno, set_errno};
use super::off_hub::detachable;
use super::parts::Parts;
use crate::sys::original;

/// What a lookup has found, until somebody takes it.
struct Found {
    code: c_int,
    errno: c_int,
    list: *mut addrinfo,
}

// SAFETY: a list from `getaddrinfo` belongs to whoever has its address; `freeaddrinfo` may be called on any thread.
unsafe impl Send for Found {}

impl Drop for Found {
    fn drop(&mut self) {
        if !self.list.is_null() {
            // SAFETY: the list is from `getaddrinfo`, and nobody has taken it.
            unsafe { libc::freeaddrinfo(self.list) };
        }
    }
}

/// The C string at `text`, in memory of its own.
///
/// # Safety
///
/// `text` must be null or a C string.
unsafe fn owned(text: *const c_char) -> Option<CString> {
    // SAFETY: the caller's contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned())
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

/// Whether the library's own function answers at once: an address, or no name at all.
fn is_numeric(node: Option<&CStr>, flags: c_int) -> bool {
    let Some(node) = node.and_then(|node| node.to_str().ok()) else { return true };
    flags & libc::AI_NUMERICHOST != 0 || node.parse::<std::net::IpAddr>().is_ok()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    found: *mut *mut addrinfo,
) -> c_int {
    let Some(call) = Call::enter(Parts::DNS) else {
        // SAFETY: the caller's contract is that of the C library's function.
        return unsafe { original::getaddrinfo(node, service, hints, found) };
    };
    // SAFETY: the caller's contract.
    let node_name = unsafe { owned(node) };
    // SAFETY: as above.
    let service_name = unsafe { owned(service) };
    // SAFETY: as above.
    let flags = unsafe { hints.as_ref() }
        .map(|hints| (hints.ai_flags, hints.ai_family, hints.ai_socktype, hints.ai_protocol));
    if is_numeric(node_name.as_deref(), flags.map_or(0, |(flags, ..)| flags)) {
        call.give_way_if_interrupted();
        // SAFETY: as above.
        return unsafe { original::getaddrinfo(node, service, hints, found) };
    }
    let look_up = move || {
        // SAFETY: zeros are a valid addrinfo: no flags, null pointers.
        let mut hints: addrinfo = unsafe { mem::zeroed() };
        if let Some(given) = flags {
            (hints.ai_flags, hints.ai_family, hints.ai_socktype, hints.ai_protocol) = given;
        }
        let hints = if flags.is_some() { ptr::from_ref(&hints) } else { ptr::null() };
        let mut list = ptr::null_mut();
        // SAFETY: C strings or null, and hints that outlive the call; `list` is valid for writes.
        let code =
            unsafe { original::getaddrinfo(pointer(&node_name), pointer(&service_name), hints, &mut list) };
        Found { code, errno: errno(), list: if code == 0 { list } else { ptr::null_mut() } }
    };
    match detachable(call, "getaddrinfo", look_up) {
        Ok(mut answer) => {
            if answer.code == 0 {
                // SAFETY: the caller's to write.
                unsafe { *found = mem::replace(&mut answer.list, ptr::null_mut()) };
            }
            if answer.code == libc::EAI_SYSTEM {
                set_errno(answer.errno);
            }
            answer.code
        }
        Err(errno) => {
            set_errno(errno);
            libc::EAI_SYSTEM
        }
    }
}
