//! Where the calling OS thread keeps its thread-local variables, and running with others.

#[cfg(all(feature = "monkey", any(target_arch = "x86_64", target_arch = "aarch64")))]
use std::arch::asm;
use std::ffi::{c_int, c_void};
#[cfg(feature = "monkey")]
use std::hint::black_box;
use std::ops::Range;

/// The block of thread-local variables, of the program or of one of its libraries, in which `address` lies.
pub(crate) fn block_around(address: usize) -> Option<Range<usize>> {
    struct Search {
        address: usize,
        found: Option<Range<usize>>,
    }
    unsafe extern "C" fn look(
        module: *mut libc::dl_phdr_info,
        _: libc::size_t,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: `dl_iterate_phdr` passes a valid record of a module.
        let module = unsafe { &*module };
        // SAFETY: it passes on the pointer that it was given below, which nothing else uses meanwhile.
        let search = unsafe { &mut *search.cast::<Search>() };
        // SAFETY: a module has as many program headers as it says.
        let headers = unsafe { std::slice::from_raw_parts(module.dlpi_phdr, module.dlpi_phnum.into()) };
        let length =
            headers.iter().find(|header| header.p_type == libc::PT_TLS).map_or(0, |header| header.p_memsz);
        let start = module.dlpi_tls_data.addr();
        // Null where this thread has not used the module's variables yet.
        let block = start..start + length as usize;
        if start != 0 && block.contains(&search.address) {
            search.found = Some(block);
        }
        search.found.is_some().into()
    }
    let mut search = Search { address, found: None };
    // SAFETY: `look` keeps to its types, and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.found
}

/// A bit of AT_HWCAP2: a program may set the base of FS, to which thread-local variables are relative, without the kernel.
#[cfg(all(feature = "monkey", target_arch = "x86_64"))]
const FSGSBASE: u64 = 1 << 1;

/// Whether a program may run with other thread-local variables than those of its OS thread.
#[cfg(feature = "monkey")]
pub(crate) fn can_be_moved() -> bool {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: takes no pointers; an unknown number gives 0.
    return unsafe { libc::getauxval(libc::AT_HWCAP2) } & FSGSBASE != 0;
    #[cfg(not(target_arch = "x86_64"))]
    cfg!(target_arch = "aarch64")
}

/// What the variables that the calling code runs with are relative to.
///
/// # Safety
///
/// They [can be moved](can_be_moved).
#[cfg(feature = "monkey")]
#[inline(always)]
pub(crate) unsafe fn base() -> usize {
    let base;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel allows the instruction, by the contract. It reads a register.
    unsafe {
        asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a program may always do so. It reads a register.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) base, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        base = 0;
    }
    base
}

/// Runs on with the thread-local variables of `base`.
///
/// # Safety
///
/// They [can be moved](can_be_moved); `base` is that of a thread-control block which no other OS thread uses meanwhile. The
/// caller neither uses a thread-local variable nor is inlined where one is used: their addresses may have been kept.
#[cfg(feature = "monkey")]
#[inline(always)]
pub(crate) unsafe fn move_to(base: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel allows the instruction, by the contract. It writes a register that no Rust code but that of
    // thread-locals depends on, which the contract excludes.
    unsafe {
        asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a program may always do so. As above.
    unsafe {
        asm!("msr tpidr_el0, {}", in(reg) base, options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = base;
}

/// Runs `function` with the variables at `base`, and goes on with those at `own`.
///
/// # Safety
///
/// As for [`move_to`], of both; `own` is what the caller runs with, and `function` does not unwind.
#[cfg(feature = "monkey")]
#[inline(never)]
pub(crate) unsafe fn run_with(base: usize, own: usize, function: &mut dyn FnMut()) {
    // Not inlined, since the address of a variable that it uses could then be kept here.
    let function = black_box(function);
    // SAFETY: the caller's contract; nothing here uses a variable.
    unsafe { move_to(base) };
    function();
    // SAFETY: as above.
    unsafe { move_to(own) };
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::ptr;

    use super::*;

    #[test]
    fn a_thread_local_lies_in_a_block_and_a_local_does_not() {
        thread_local! {
            static VARIABLE: Cell<u64> = const { Cell::new(0) };
        }
        let address = VARIABLE.with(|variable| ptr::from_ref(variable).addr());
        assert!(block_around(address).is_some_and(|block| block.contains(&address)));
        let local = 0_u8;
        assert_eq!(block_around(ptr::from_ref(&local).addr()), None);
        assert_eq!(block_around(ptr::from_ref(&*Box::new(0_u8)).addr()), None);
    }
}
