//! Names of hosts and of addresses, in the older ways.

use std::ffi::{CStr, CString, c_char, c_void};
use std::mem;
use std::ptr;

use greenloop::monkey::original;
use greenloop::{Builder, spawn};
use libc::{c_int, hostent, size_t, socklen_t};

use crate::{patched, yields};

unsafe extern "C" {
    fn gethostbyname(name: *const c_char) -> *mut hostent;
    fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent;
    fn gethostbyaddr(address: *const c_void, length: socklen_t, family: c_int) -> *mut hostent;
    fn gethostbyname_r(
        name: *const c_char,
        host: *mut hostent,
        buffer: *mut c_char,
        length: size_t,
        found: *mut *mut hostent,
        h_errno: *mut c_int,
    ) -> c_int;
    fn gethostbyname2_r(
        name: *const c_char,
        family: c_int,
        host: *mut hostent,
        buffer: *mut c_char,
        length: size_t,
        found: *mut *mut hostent,
        h_errno: *mut c_int,
    ) -> c_int;
    fn gethostbyaddr_r(
        address: *const c_void,
        size: socklen_t,
        family: c_int,
        host: *mut hostent,
        buffer: *mut c_char,
        length: size_t,
        found: *mut *mut hostent,
        h_errno: *mut c_int,
    ) -> c_int;
    fn __h_errno_location() -> *mut c_int;
}

/// All that a host's description says: name, other names, family, addresses.
#[derive(PartialEq, Eq, Debug)]
struct Host(CString, Vec<CString>, c_int, Vec<Vec<u8>>);

/// # Safety
///
/// `host` must be null or from one of these functions.
unsafe fn read(host: *const hostent) -> Option<Host> {
    // SAFETY: the caller's contract.
    let host = unsafe { host.as_ref() }?;
    let entries = |list: *mut *mut c_char| {
        let mut entries = Vec::new();
        loop {
            // SAFETY: a list that ends with a null pointer; it may lie anywhere.
            let entry = unsafe { list.wrapping_add(entries.len()).read_unaligned() };
            if entry.is_null() {
                return entries;
            }
            entries.push(entry);
        }
    };
    // SAFETY: a C string.
    let text = |text: *mut c_char| unsafe { CStr::from_ptr(text) }.to_owned();
    // SAFETY: an address, of the length that is said.
    let bytes = |address: *mut c_char| unsafe {
        std::slice::from_raw_parts(address.cast::<u8>(), host.h_length as usize).to_vec()
    };
    Some(Host(
        text(host.h_name),
        entries(host.h_aliases).into_iter().map(text).collect(),
        host.h_addrtype,
        entries(host.h_addr_list).into_iter().map(bytes).collect(),
    ))
}

#[derive(Clone, Debug)]
enum Question {
    Name(CString),
    NameOf(CString, c_int),
    Address(Vec<u8>, c_int),
}

fn questions() -> Vec<Question> {
    let name = |name: &str| CString::new(name).unwrap();
    vec![
        Question::Name(name("localhost")),
        Question::Name(name("127.0.0.1")),
        Question::Name(name("127.1")),
        Question::Name(name("")),
        Question::Name(name("nobody.invalid")),
        Question::NameOf(name("localhost"), libc::AF_INET),
        Question::NameOf(name("::1"), libc::AF_INET6),
        Question::NameOf(name("localhost"), 77),
        Question::Address(vec![127, 0, 0, 1], libc::AF_INET),
        Question::Address(vec![127, 0, 0, 1, 0], libc::AF_INET),
        Question::Address(vec![127, 0, 0, 1], 77),
        Question::Address(vec![0; 16], libc::AF_INET),
        Question::Address(vec![], libc::AF_INET),
    ]
}

/// What is said, with h_errno; here all of it, and by the C library's own.
fn plainly(question: &Question, ours: bool) -> (Option<Host>, c_int) {
    // SAFETY: takes nothing, and returns a valid pointer.
    let h_errno = unsafe { __h_errno_location() };
    // SAFETY: as above.
    unsafe { *h_errno = 55 };
    let host = match (question, ours) {
        // SAFETY: a C string.
        (Question::Name(name), true) => unsafe { gethostbyname(name.as_ptr()) },
        // SAFETY: as above.
        (Question::Name(name), false) => unsafe { original::gethostbyname(name.as_ptr()) },
        // SAFETY: as above.
        (Question::NameOf(name, family), true) => unsafe { gethostbyname2(name.as_ptr(), *family) },
        // SAFETY: as above.
        (Question::NameOf(name, family), false) => unsafe {
            original::gethostbyname2(name.as_ptr(), *family)
        },
        // SAFETY: so many bytes.
        (Question::Address(bytes, family), true) => unsafe {
            gethostbyaddr(bytes.as_ptr().cast(), bytes.len() as socklen_t, *family)
        },
        // SAFETY: as above.
        (Question::Address(bytes, family), false) => unsafe {
            original::gethostbyaddr(bytes.as_ptr().cast(), bytes.len() as socklen_t, *family)
        },
    };
    // SAFETY: as for the first.
    let told = unsafe { *h_errno };
    // SAFETY: the answer of such a function.
    (unsafe { read(host) }, told)
}

/// The same in `length` bytes of the caller's, which begin `offset` bytes after a word.
fn in_place(question: &Question, ours: bool, length: usize, offset: usize) -> (c_int, Option<Host>, c_int) {
    let mut room = vec![0_u64; length / 8 + 2];
    let buffer = room.as_mut_ptr().cast::<c_char>().wrapping_add(offset);
    // SAFETY: zeros are null pointers and numbers.
    let mut host: hostent = unsafe { mem::zeroed() };
    let (mut found, mut h_errno) = (ptr::dangling_mut(), 55);
    let (host, told) = (&raw mut host, &raw mut h_errno);
    let code = match (question, ours) {
        // SAFETY: a C string, and places, of which the buffer is as long as is said.
        (Question::Name(name), true) => unsafe {
            gethostbyname_r(name.as_ptr(), host, buffer, length, &mut found, told)
        },
        // SAFETY: as above.
        (Question::Name(name), false) => unsafe {
            original::gethostbyname_r(name.as_ptr(), host, buffer, length, &mut found, told)
        },
        // SAFETY: as above.
        (Question::NameOf(name, family), true) => unsafe {
            gethostbyname2_r(name.as_ptr(), *family, host, buffer, length, &mut found, told)
        },
        // SAFETY: as above.
        (Question::NameOf(name, family), false) => unsafe {
            original::gethostbyname2_r(name.as_ptr(), *family, host, buffer, length, &mut found, told)
        },
        (Question::Address(bytes, family), ours) => {
            let (address, size) = (bytes.as_ptr().cast(), bytes.len() as socklen_t);
            match ours {
                // SAFETY: so many bytes, and as above.
                true => unsafe {
                    gethostbyaddr_r(address, size, *family, host, buffer, length, &mut found, told)
                },
                // SAFETY: as above.
                false => unsafe {
                    original::gethostbyaddr_r(address, size, *family, host, buffer, length, &mut found, told)
                },
            }
        }
    };
    assert!(found.is_null() || found == host);
    if !found.is_null() {
        // SAFETY: it has been filled.
        let name = unsafe { (*host).h_name };
        assert!(
            name.addr().wrapping_sub(buffer.addr()) < length,
            "a name elsewhere than in the caller's buffer"
        );
    }
    // SAFETY: null, or filled.
    (code, unsafe { read(found) }, h_errno)
}

#[test]
fn the_older_functions_say_what_the_c_librarys_say() {
    patched(|| {
        for isolated in [false, true] {
            for question in questions() {
                let ask = {
                    let question = question.clone();
                    move || plainly(&question, true)
                };
                let ours = Builder::new().isolated(isolated).spawn(ask).unwrap().join().unwrap();
                assert_eq!(ours, plainly(&question, false), "{question:?}");
                for (length, offset) in [(0, 0), (10, 0), (60, 3), (4096, 0), (4096, 5)] {
                    let ask = {
                        let question = question.clone();
                        move || in_place(&question, true, length, offset)
                    };
                    let ours = Builder::new().isolated(isolated).spawn(ask).unwrap().join().unwrap();
                    let unpatched = in_place(&question, false, length, offset);
                    assert_eq!(ours, unpatched, "{question:?} in {length} bytes");
                }
            }
        }
    });
}

/// What one green thread was told stays, whatever others ask for.
#[test]
fn an_answer_in_the_library_s_memory_is_the_green_thread_s_own() {
    patched(|| {
        // SAFETY: a C string.
        let ask = |name: &CStr| unsafe { gethostbyname(name.as_ptr()) };
        let (told, other) = yields(move || {
            let host = ask(c"127.0.0.3");
            let other = spawn(move || {
                // SAFETY: the answer of such a function.
                unsafe { read(ask(c"127.0.0.4")) }
            });
            // Long enough for the counter to have its turns.
            while !other.is_finished() {
                greenloop::sleep(std::time::Duration::from_millis(2));
            }
            // SAFETY: as above, and this green thread has asked for nothing since.
            (unsafe { read(host) }.unwrap(), other.join().unwrap().unwrap())
        });
        assert_eq!((told.3, other.3), (vec![vec![127, 0, 0, 3]], vec![vec![127, 0, 0, 4]]));
    });
}

#[test]
fn a_look_up_lets_others_run() {
    patched(|| {
        let other = spawn(|| ());
        while !other.is_finished() {
            assert!(plainly(&Question::Name(c"localhost".to_owned()), true).0.is_some());
        }
        let other = spawn(|| ());
        while !other.is_finished() {
            assert_eq!(in_place(&Question::Address(vec![127, 0, 0, 1], libc::AF_INET), true, 4096, 0).0, 0);
        }
        let other = spawn(|| ());
        while !other.is_finished() {
            assert_eq!(name_of(&address(80), 16, Some(100), Some(100), 0, true).0, 0);
        }
    });
}

fn address(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as _,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

/// What `getnameinfo` says, with so much room for both names, or no place at all.
fn name_of(
    address: &libc::sockaddr_in,
    length: socklen_t,
    host: Option<usize>,
    service: Option<usize>,
    flags: c_int,
    ours: bool,
) -> (c_int, Vec<c_char>, Vec<c_char>) {
    let mut names = [host, service].map(|room| vec![7; room.unwrap_or(0)]);
    let rooms = [host, service].map(|room| room.unwrap_or(3) as socklen_t);
    let [first, second] = names.each_mut();
    let place = |name: &mut Vec<c_char>, room: Option<usize>| match room {
        Some(_) => name.as_mut_ptr(),
        None => ptr::null_mut(),
    };
    let (first, second) = (place(first, host), place(second, service));
    let address = ptr::from_ref(address).cast();
    let code = match ours {
        // SAFETY: an address, and places for names, as long as is said.
        true => unsafe { libc::getnameinfo(address, length, first, rooms[0], second, rooms[1], flags) },
        // SAFETY: as above.
        false => unsafe { original::getnameinfo(address, length, first, rooms[0], second, rooms[1], flags) },
    };
    // A failure leaves the names in any state.
    let [first, second] = names.map(|name| if code == 0 { name } else { Vec::new() });
    (code, first, second)
}

#[test]
fn the_names_of_an_address_are_what_the_c_library_says() {
    patched(|| {
        let places = [None, Some(0), Some(4), Some(100)];
        let flags =
            [0, libc::NI_NUMERICHOST, libc::NI_NUMERICSERV, libc::NI_NAMEREQD, libc::NI_DGRAM, 1 << 20];
        for (host, service) in places.into_iter().flat_map(|host| places.map(|service| (host, service))) {
            for flags in flags {
                for (family, length) in
                    [(libc::AF_INET, 16), (libc::AF_INET, 3), (libc::AF_INET, 0), (77, 16)]
                {
                    for port in [80, 60_001] {
                        let mut address = address(port);
                        address.sin_family = family as _;
                        let ours = spawn(move || name_of(&address, length, host, service, flags, true));
                        let unpatched = name_of(&address, length, host, service, flags, false);
                        assert_eq!(
                            ours.join().unwrap(),
                            unpatched,
                            "{host:?} {service:?} {flags} {family} {length}"
                        );
                    }
                }
            }
        }
    });
}
