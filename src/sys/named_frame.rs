//! What std tells of a place in the code: the names of functions, which nothing else in std tells than a backtrace.
//!
//! So one is taken on a small stack whose only call seems to return to that place. What lies above is made such that the unwinder, which
//! goes on there as the function of that place would, finds an end at once, wherever it looks: each word is the address of such a word,
//! and no code.

use std::backtrace::Backtrace;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::ptr;

/// Words for the calls of std.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const ROOM: usize = 256 * 1024 / size_of::<usize>();
/// Words above, where frames of the place's function would be.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const ABOVE: usize = 64 * 1024 / size_of::<usize>();

/// A backtrace in which the frame with this address is that of a call that returns to `address`. `None` on processors for which it is not
/// known how.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn backtrace_to(address: usize) -> Option<Backtrace> {
    let mut stack = vec![0_usize; ROOM + ABOVE];
    let end = (&raw mut stack[ROOM + ABOVE / 2]).addr() & !15;
    stack[ROOM..].fill(end);
    let top = (&raw mut stack[ROOM]).addr() & !15;
    let mut capture = Capture {
        address,
        top,
        #[cfg(target_arch = "aarch64")]
        returns_to: 0,
        taken: None,
    };
    // SAFETY: the stack is large enough for what `take` calls, which returns, and does not unwind.
    unsafe { call_on(top, end, &mut capture) };
    capture.taken
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn backtrace_to(_address: usize) -> Option<Backtrace> {
    None
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
struct Capture {
    address: usize,
    top: usize,
    /// Where `take` is to return, since the call leaves that in a register.
    #[cfg(target_arch = "aarch64")]
    returns_to: usize,
    taken: Option<Backtrace>,
}

/// Calls [`take`] on the stack that ends at `top`, with `end` as the frame of its caller.
///
/// # Safety
///
/// There is a stack below `top`, which is aligned to 16 bytes, and memory above.
#[cfg(target_arch = "x86_64")]
unsafe fn call_on(top: usize, end: usize, capture: &mut Capture) {
    // SAFETY: all registers that a call may change are given up, the two that it keeps are put back, and so is the stack.
    unsafe {
        std::arch::asm!(
            "push rbp",
            "mov r12, rsp",
            "mov rsp, {top}",
            "mov rbp, {end}",
            "call {take}",
            "mov rsp, r12",
            "pop rbp",
            top = in(reg) top,
            end = in(reg) end,
            take = sym take,
            in("rdi") ptr::from_mut(capture),
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

/// As above.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn call_on(top: usize, end: usize, capture: &mut Capture) {
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "mov x20, sp",
            "mov x21, x29",
            "mov sp, {top}",
            "mov x29, {end}",
            "adr x9, 2f",
            "str x9, [{returns_to}]",
            "bl {take}",
            "2:",
            "mov sp, x20",
            "mov x29, x21",
            top = in(reg) top,
            end = in(reg) end,
            returns_to = in(reg) &raw mut capture.returns_to,
            take = sym take,
            in("x0") ptr::from_mut(capture),
            // It is written before the inputs are read.
            out("x9") _,
            out("x20") _,
            out("x21") _,
            clobber_abi("C"),
        );
    }
}

/// Runs on the small stack, whose first word is where this is to return.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(never)]
unsafe extern "C" fn take(capture: *mut Capture) {
    // SAFETY: the caller's, which waits.
    let capture = unsafe { &mut *capture };
    let Some(place) = place_of_return(capture) else { return };
    // SAFETY: a word of the frame that was called last on this stack, which is read when it returns.
    let returns_to = unsafe { place.replace(capture.address) };
    capture.taken = Some(Backtrace::force_capture());
    // SAFETY: as above.
    unsafe { place.write_volatile(returns_to) };
}

#[cfg(target_arch = "x86_64")]
fn place_of_return(capture: &Capture) -> Option<*mut usize> {
    Some(ptr::with_exposed_provenance_mut(capture.top - size_of::<usize>()))
}

/// `take` has put it into its frame, which is the first.
#[cfg(target_arch = "aarch64")]
fn place_of_return(capture: &Capture) -> Option<*mut usize> {
    const LARGEST_FRAME: usize = 64;
    let words = (1..LARGEST_FRAME).map(|word| capture.top - word * size_of::<usize>());
    // SAFETY: on the small stack, which is larger.
    let read = |place: &*mut usize| unsafe { place.read_volatile() };
    words.map(ptr::with_exposed_provenance_mut::<usize>).find(|place| read(place) == capture.returns_to)
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_with_a_name(addresses: &mut Vec<usize>) {
        let here = 0_u8;
        let here = (&raw const here).addr();
        let mut walker = crate::sys::unwind::Walker::default();
        walker.walk(here - 4096..here + 4096);
        addresses.append(&mut walker.addresses);
        std::hint::black_box(addresses);
    }

    #[test]
    fn each_address_has_the_name_of_its_function() {
        let mut addresses = Vec::new();
        a_function_with_a_name(&mut addresses);
        let text: Vec<_> =
            addresses.iter().map(|&address| format!("{:#}", backtrace_to(address).unwrap())).collect();
        assert!(text.iter().any(|text| text.contains("a_function_with_a_name")), "{text:?}");
        for (address, text) in addresses.iter().zip(text) {
            assert!(text.contains(&format!("{address:x}")), "{address:x} {text}");
        }
    }
}
