//! The life of a thread of C's, from its first function on, where the C library did not begin it.
//!
//! pthread_exit(3) unwinds the stack, runs the handlers of pthread_cleanup_push(3) and the destructors of C++ on its way, and jumps
//! to where the thread's life was registered, as each such handler is. Here that is done as the macro of that name does it in C.

use std::ffi::c_void;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::mem::MaybeUninit;

unsafe extern "C" {
    fn pthread_setcancelstate(state: libc::c_int, former: *mut libc::c_int) -> libc::c_int;
}

const PTHREAD_CANCEL_ENABLE: libc::c_int = 0;
const PTHREAD_CANCEL_DISABLE: libc::c_int = 1;

fn exchange_cancel_state(state: libc::c_int) -> libc::c_int {
    let mut former = PTHREAD_CANCEL_ENABLE;
    // SAFETY: the place is valid for writes.
    unsafe { pthread_setcancelstate(state, &mut former) };
    former
}

/// What a thread begins with: it may be cancelled.
pub(crate) fn allow_cancel() {
    exchange_cancel_state(PTHREAD_CANCEL_ENABLE);
}

/// Whether the calling thread may be cancelled now.
pub(crate) fn is_cancel_allowed() -> bool {
    let state = exchange_cancel_state(PTHREAD_CANCEL_DISABLE);
    exchange_cancel_state(state);
    state == PTHREAD_CANCEL_ENABLE
}

/// The first function of a thread.
pub(crate) type Start = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// `__pthread_unwind_buf_t`, with room to spare.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[repr(C, align(16))]
struct Buffer([usize; 32]);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe extern "C" {
    fn __sigsetjmp(buffer: *mut Buffer, mask: libc::c_int) -> libc::c_int;
    fn __pthread_register_cancel(buffer: *mut Buffer);
    fn __pthread_unregister_cancel(buffer: *mut Buffer);
}

/// Runs `start`, and returns what it returns; `None` if pthread_exit(3) has ended it.
///
/// # Safety
///
/// `start` may be called with `argument`. What runs has thread-local variables of its own, and the C library's first frame is not
/// among those of its stack.
pub(crate) unsafe fn run(start: Start, argument: *mut c_void) -> Option<*mut c_void> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut buffer = MaybeUninit::<Buffer>::uninit();
        let mut value = std::ptr::null_mut();
        // SAFETY: `buffer` and `value` are valid for writes, and outlive the call; the rest is the caller's contract.
        unsafe { call(start, argument, &mut value, buffer.as_mut_ptr()) }.then_some(value)
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    // SAFETY: the caller's contract.
    Some(unsafe { start(argument) })
}

/// Registers `buffer`, calls `start`, and writes what that returns to `value`; whether it returned. It has no unwinding information,
/// as the first frame of a thread has none: who unwinds the stack ends here.
///
/// # Safety
///
/// As for [`run`]; `value` and `buffer` must be valid for writes.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn call(
    start: Start,
    argument: *mut c_void,
    value: *mut *mut c_void,
    buffer: *mut Buffer,
) -> bool {
    // What is needed after the jump is kept in registers that a function leaves as they were, so the jump brings them back.
    std::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "mov rbx, rdi",
        "mov r12, rsi",
        "mov r13, rdx",
        "mov r14, rcx",
        "mov rdi, r14",
        "xor esi, esi",
        "call {setjmp}",
        "test eax, eax",
        "jne 2f",
        "mov rdi, r14",
        "call {register}",
        "mov rdi, r12",
        "call rbx",
        "mov [r13], rax",
        "mov ebx, 1",
        "jmp 3f",
        // By pthread_exit.
        "2:",
        "xor ebx, ebx",
        "3:",
        "mov rdi, r14",
        "call {unregister}",
        "mov eax, ebx",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        setjmp = sym __sigsetjmp,
        register = sym __pthread_register_cancel,
        unregister = sym __pthread_unregister_cancel,
    )
}

/// The same.
///
/// # Safety
///
/// The same.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn call(
    start: Start,
    argument: *mut c_void,
    value: *mut *mut c_void,
    buffer: *mut Buffer,
) -> bool {
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-48]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "mov x19, x0",
        "mov x20, x1",
        "mov x21, x2",
        "mov x22, x3",
        "mov x0, x22",
        "mov w1, wzr",
        "bl {setjmp}",
        "cbnz w0, 2f",
        "mov x0, x22",
        "bl {register}",
        "mov x0, x20",
        "blr x19",
        "str x0, [x21]",
        "mov w19, #1",
        "b 3f",
        // By pthread_exit.
        "2:",
        "mov w19, wzr",
        "3:",
        "mov x0, x22",
        "bl {unregister}",
        "mov w0, w19",
        "ldp x21, x22, [sp, #32]",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #48",
        "ret",
        setjmp = sym __sigsetjmp,
        register = sym __pthread_register_cancel,
        unregister = sym __pthread_unregister_cancel,
    )
}
