//! Where the C library's names lead in this program: with the feature `monkey` to greenloop, without it nowhere else than
//! ever.

#![expect(unsafe_code, reason = "the dynamic linker is asked")]

use std::ffi::{CStr, CString};

/// Every name that the feature puts into a program, as the source says.
fn names() -> Vec<CString> {
    let source = include_str!("../src/sys/original.rs");
    let list =
        source.split("originals! {").nth(1).and_then(|rest| rest.split("\n}").next()).expect("the list");
    let names: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_prefix("    fn ")?.split('(').next())
        .map(|name| CString::new(name).expect("no zero byte"))
        .collect();
    assert!(names.len() > 30);
    names
}

#[test]
fn the_page_tells_every_name() {
    let page: String = include_str!("../src/monkey/mod.rs")
        .lines()
        .skip_while(|line| *line != "//! # What is covered")
        .take_while(|line| *line != "//! # How to see it")
        .collect();
    for name in names() {
        let name = name.to_str().expect("a name in ASCII");
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

/// The file that `name` leads to.
fn home(name: &CStr) -> String {
    let mut information = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: `name` is a C string.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    // SAFETY: `information` is valid for writes.
    assert_ne!(unsafe { libc::dladdr(address, information.as_mut_ptr()) }, 0, "{name:?}");
    // SAFETY: the call has filled it.
    let information = unsafe { information.assume_init() };
    // SAFETY: the name of a file that is loaded, which stays so.
    let file = unsafe { CStr::from_ptr(information.dli_fname) };
    file.to_str().expect("a path in UTF-8").rsplit('/').next().unwrap_or_default().to_owned()
}

#[test]
fn the_feature_decides_where_the_names_lead() {
    // So that the crate is linked.
    greenloop::yield_now();
    for name in names() {
        let home = home(&name);
        if cfg!(feature = "monkey") {
            assert!(home.starts_with("symbols"), "{name:?} leads to {home}");
        } else {
            // Some of those that tell the time lead on to the kernel's.
            let as_ever = home.starts_with("libc.so") || home.starts_with("linux-vdso.so");
            assert!(as_ever, "{name:?} leads to {home}");
        }
    }
}
