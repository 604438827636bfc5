//! The C library's list of destructors of thread-local variables: last in, first out, one list for each OS thread.
//!
//! A destructor that is registered after all others runs before them. To stay the first, who knows of a newer one registers its own
//! anew; and whether there is a newer one tells the head of the list. glibc keeps that in a thread-local variable that
//! it tells nobody of. It is found, once, as the one word of the library's variables that changes by each registration.
//! Where it is not found, as with another C library, the head looks the same always.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod listed {
    use std::ffi::{c_int, c_void};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::{mem, ptr};

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

    /// How far above `errno` the head lies, in wrapping arithmetic, which is the same on every thread; 0 if it was not found.
    static DISTANCE: AtomicUsize = AtomicUsize::new(0);

    /// Whether it has been looked for. Several threads may do so at once, and find the same: with a lock in place of this, the child
    /// of a fork could find it locked for ever.
    static LOOKED: AtomicBool = AtomicBool::new(false);

    /// Stands for a head that was not found.
    static NONE: usize = 0;

    /// The list of one OS thread, which alone uses it.
    pub(crate) struct List {
        /// # Invariant
        /// Valid to be read on this thread, as long as that has thread-local variables.
        head: *const usize,
    }

    impl List {
        pub(crate) fn of_this_thread() -> List {
            // Acquire: who sees it set sees the distance too.
            if !LOOKED.load(Ordering::Acquire) {
                find();
                // Release: as above.
                LOOKED.store(true, Ordering::Release);
            }
            // Relaxed: published with `LOOKED`.
            let head = match DISTANCE.load(Ordering::Relaxed) {
                0 => &raw const NONE,
                distance => ptr::with_exposed_provenance(errno().wrapping_add(distance)),
            };
            List { head }
        }

        /// Tells whether a destructor has been registered: the same as long as none has.
        #[inline(always)]
        pub(crate) fn newest(&self) -> usize {
            // SAFETY: valid, by the invariant; the type is not `Send`. Volatile, since the C library writes it.
            unsafe { self.head.read_volatile() }
        }

        /// Has `destructor` called, with null, as the OS thread ends, before those that are registered already.
        pub(crate) fn register(&self, destructor: extern "C" fn(*mut c_void)) {
            push(destructor);
        }
    }

    fn push(destructor: extern "C" fn(*mut c_void)) {
        let module = (&raw const __dso_handle).cast_mut().cast();
        // SAFETY: a safe function takes any pointer, and its code stays as long as the module, which the list keeps. What is
        // returned is always 0.
        unsafe { __cxa_thread_atexit_impl(destructor, ptr::null_mut(), module) };
    }

    /// Where the calling thread has its `errno`: among the C library's variables.
    fn errno() -> usize {
        // SAFETY: takes nothing.
        unsafe { libc::__errno_location() }.expose_provenance()
    }

    /// Finds the head, by two destructors that do nothing.
    #[cold]
    fn find() {
        extern "C" fn nothing(_: *mut c_void) {}
        let Some(block) = block_around(errno()) else { return };
        let word = size_of::<usize>();
        // SAFETY: each is an aligned word of the C library's variables of this thread, which nobody else uses.
        let read = |place| unsafe { ptr::with_exposed_provenance::<usize>(place).read_volatile() };
        let places = (block.start.next_multiple_of(word)..=block.end - word).step_by(word);
        let mut words: Vec<(usize, usize)> = places.map(|place| (place, read(place))).collect();
        let changed = |(place, value): &mut (usize, usize)| {
            let former = mem::replace(value, read(*place));
            former != *value
        };
        for _ in 0..2 {
            push(nothing);
            words.retain_mut(changed);
        }
        // What changes by any use of memory is not it.
        drop(std::hint::black_box(vec![0_u8; 100]));
        words.retain_mut(|word| !changed(word));
        if let [(head, _)] = words[..] {
            // Relaxed: published with `LOOKED`.
            DISTANCE.store(head.wrapping_sub(errno()), Ordering::Relaxed);
        }
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
            let tried = || {
                let list = List::of_this_thread();
                list.register(nothing);
                let mut seen = list.newest();
                let mut changed = || mem::replace(&mut seen, list.newest()) != list.newest();
                assert!(!changed());
                WITHOUT.set(1);
                drop(vec![Box::new(1); 100]);
                assert!(!changed());
                WITH.set(Some(Nothing));
                assert!(changed());
                WITH.set(None);
                assert!(!changed());
                list.register(nothing);
                assert!(changed());
            };
            // Found there, and known there.
            (0..2).for_each(|_| thread::spawn(tried).join().unwrap());
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod listed {
    use std::ffi::c_void;

    pub(crate) struct List;

    impl List {
        pub(crate) fn of_this_thread() -> List {
            List
        }

        #[inline(always)]
        pub(crate) fn newest(&self) -> usize {
            0
        }

        pub(crate) fn register(&self, _destructor: extern "C" fn(*mut c_void)) {}
    }
}

pub(crate) use listed::List;
