//! Shared libraries of C and C++, which are made as a test runs, and linked with no regard to greenloop.

use std::ffi::{CString, c_int, c_void};
use std::process::Command;

/// A shared library that stays loaded.
#[derive(Clone, Copy)]
pub(crate) struct Library(*mut c_void);

impl Library {
    /// Has a compiler make it of `source`.
    pub(crate) fn new(language: &str, name: &str, source: &str) -> Library {
        let folder = std::env::temp_dir().join(format!("greenloop-library-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, library) = (folder.join("library.source"), folder.join("library.so"));
        std::fs::write(&file, source).unwrap();
        let (compiler, other) = if language == "c" { ("cc", "CC") } else { (language, "CXX") };
        let compiler = Command::new(std::env::var_os(other).unwrap_or(compiler.into()))
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .args(["-x", language])
            .arg(&file)
            .status();
        assert!(compiler.unwrap().success());
        let path = CString::new(library.to_str().unwrap()).unwrap();
        // SAFETY: a C string; the library's initialisers need nothing.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null());
        std::fs::remove_dir_all(folder).unwrap();
        Library(handle)
    }

    /// A function that takes and returns a number.
    pub(crate) fn function(self, name: &str) -> unsafe extern "C" fn(c_int) -> c_int {
        let name = CString::new(name).unwrap();
        // SAFETY: an open library and a C string.
        let found: *mut c_void = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!found.is_null());
        // SAFETY: the functions of these sources have this type.
        unsafe { (&raw const found).cast::<unsafe extern "C" fn(c_int) -> c_int>().read() }
    }
}
