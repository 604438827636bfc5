//! Calls from a shared library, which is linked with no regard to greenloop.

use std::ffi::{CString, c_int, c_void};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use greenloop::{spawn, yield_now};

use crate::patched;

const SOURCE: &str = r#"
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Waits for a byte, in two ways, and sends back its successor. */
int answer(int fd) {
    struct pollfd asked = { .fd = fd, .events = POLLIN };
    unsigned char byte;
    if (poll(&asked, 1, 60000) != 1 || recv(fd, &byte, 1, 0) != 1)
        return -1;
    usleep(1000);
    if (read(fd, &byte, 1) != 1)
        return -2;
    byte++;
    return write(fd, &byte, 1) == 1 ? 0 : -3;
}
"#;

#[test]
fn a_c_library_yields() {
    let folder = std::env::temp_dir().join(format!("greenloop-monkey-library-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, library) = (folder.join("answer.c"), folder.join("libanswer.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(compiled.success());
    let path = CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: a C string; the library has no initialisers.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null());
    // SAFETY: an open library and a C string.
    let function: *mut c_void = unsafe { libc::dlsym(handle, c"answer".as_ptr()) };
    assert!(!function.is_null());
    // SAFETY: the function of that name has this type.
    let answer = unsafe { (&raw const function).cast::<unsafe extern "C" fn(c_int) -> c_int>().read() };
    patched(move || {
        let (mut one, other) = UnixStream::pair().unwrap();
        // SAFETY: the library stays loaded, and the descriptor open, as long as the function runs.
        let task = spawn(move || unsafe { answer(other.as_raw_fd()) });
        yield_now();
        assert!(!task.is_finished());
        one.write_all(b"a").unwrap();
        greenloop::sleep(std::time::Duration::from_millis(5));
        assert!(!task.is_finished());
        one.write_all(b"b").unwrap();
        let mut byte = [0];
        one.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"c");
        assert_eq!(task.join().unwrap(), 0);
    });
    std::fs::remove_dir_all(folder).unwrap();
}
