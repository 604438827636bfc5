//! The C library's list of destructors of thread-local variables: last in, first out, one list for each OS thread.
//!
//! A destructor that is registered after all others runs before them. To stay the first, who knows of a newer one registers its own
//! anew; and whether there is a newer one tells the head of the list. glibc keeps that in a thread-local variable that
//! it tells nobody of. It is found, once, as the one word of the library's variables that changes by each registration.
//! Where it is not found (another C library, another processor) the head looks the same always.

#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod listed {
    use std::arch::asm;
    use std::ffi::{c_int, c_void};
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::super::thread_local::block_around;

    unsafe extern "C" {
        fn __cxa_thread_atexit_impl(
            destructor: unsafe extern "C" fn(*mut c_void),
            argument: *mut c_void,
            module: *mut c_void,
        ) -> c_int;
        /// What names the program, or the library, that this code is in.
        static __dso_handle: u8;
    }

    /// How far above the thread's pointer the head lies, in wrapping arithmetic. With 0 what is read is the word there, which is
    /// always the same.
    static DISTANCE: AtomicUsize = AtomicUsize::new(0);

    /// Whether it has been looked for. Several threads may do so at once, and find the same: with a lock in place of this, the child
    /// of a fork could find it locked for ever.
    static LOOKED: AtomicBool = AtomicBool::new(false);

    /// Tells whether a destructor has been registered on the calling OS thread: the same as long as none has.
    #[inline(always)]
    pub(crate) fn newest() -> usize {
        // Relaxed: a thread that compares has registered before, and saw what it had to then.
        let distance = DISTANCE.load(Ordering::Relaxed);
        let word: usize;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: FS is the base of the thread's variables; at this distance there is a word of the C library's, or with 0 the one that
        // holds the base itself. It is read only.
        unsafe {
            asm!("mov {}, fs:[{}]", out(reg) word, in(reg) distance, options(nostack, preserves_flags, readonly));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above, for TPIDR_EL0; with 0 it is the word that points to the table of variables.
        unsafe {
            asm!(
                "mrs {word}, tpidr_el0",
                "ldr {word}, [{word}, {distance}]",
                word = out(reg) word, distance = in(reg) distance, options(nostack, preserves_flags, readonly)
            );
        }
        word
    }

    /// Has `destructor` called, with null, as the calling OS thread ends, before those that are registered already.
    pub(crate) fn register(destructor: extern "C" fn(*mut c_void)) {
        // Acquire: who sees it set sees the distance too.
        if !LOOKED.load(Ordering::Acquire) {
            find();
            // Release: as above.
            LOOKED.store(true, Ordering::Release);
        }
        push(destructor);
    }

    fn push(destructor: extern "C" fn(*mut c_void)) {
        let module = (&raw const __dso_handle).cast_mut().cast();
        // SAFETY: a safe function takes any pointer, and its code stays as long as the module, which the list keeps. What is
        // returned is always 0.
        unsafe { __cxa_thread_atexit_impl(destructor, ptr::null_mut(), module) };
    }

    /// Finds the head, by two destructors that do nothing.
    fn find() {
        extern "C" fn nothing(_: *mut c_void) {}
        // SAFETY: takes nothing.
        let errno = unsafe { libc::__errno_location() }.expose_provenance();
        let Some(block) = block_around(errno) else { return };
        let word = size_of::<usize>();
        let places: Vec<usize> =
            (block.start.next_multiple_of(word)..=block.end - word).step_by(word).collect();
        let look = || -> Vec<usize> {
            // SAFETY: each is an aligned word of the C library's variables of this thread, which nobody else uses.
            places
                .iter()
                .map(|&place| unsafe { ptr::with_exposed_provenance::<usize>(place).read_volatile() })
                .collect()
        };
        let before = look();
        push(nothing);
        let one = look();
        push(nothing);
        let two = look();
        // What changes by any use of memory is not it.
        drop(std::hint::black_box(vec![0_u8; 100]));
        let after = look();
        let changes = |&place: &usize| {
            let place = (place - places[0]) / word;
            before[place] != one[place] && one[place] != two[place] && two[place] == after[place]
        };
        let mut found = places.iter().copied().filter(changes);
        if let (Some(head), None) = (found.next(), found.next()) {
            // Relaxed: published with `LOOKED`.
            DISTANCE.store(head.wrapping_sub(thread_pointer()), Ordering::Relaxed);
        }
    }

    fn thread_pointer() -> usize {
        let pointer: usize;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the first word of the thread's block holds its own address, by the ABI.
        unsafe {
            asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: reads a register.
        unsafe {
            asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags));
        }
        pointer
    }

    #[cfg(test)]
    mod tests {
        use std::cell::RefCell;
        use std::thread;

        use super::*;

        struct Nothing;

        impl Drop for Nothing {
            fn drop(&mut self) {}
        }

        thread_local! {
            static WITH: RefCell<Option<Nothing>> = const { RefCell::new(None) };
            static WITHOUT: RefCell<u64> = const { RefCell::new(0) };
        }

        #[test]
        fn the_newest_changes_by_each_destructor_and_by_nothing_else() {
            extern "C" fn nothing(_: *mut c_void) {}
            thread::spawn(|| {
                register(nothing);
                let mut seen = newest();
                let mut changed = || std::mem::replace(&mut seen, newest()) != newest();
                assert!(!changed());
                WITHOUT.set(1);
                drop(vec![Box::new(1); 100]);
                assert!(!changed());
                WITH.set(Some(Nothing));
                assert!(changed());
                WITH.set(None);
                assert!(!changed());
                register(nothing);
                assert!(changed());
            })
            .join()
            .unwrap();
        }
    }
}

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod listed {
    #[inline(always)]
    pub(crate) fn newest() -> usize {
        0
    }

    pub(crate) fn register(_destructor: extern "C" fn(*mut std::ffi::c_void)) {}
}

pub(crate) use listed::{newest, register};
