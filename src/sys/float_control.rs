//! How the processor computes with floating-point numbers: the rounding, what is an exception, whether tiny numbers are zero.
//!
//! Two registers of x86 say so. By the ABI a function leaves them as it has found them, and so has a switch to do: each stack has its own.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;

/// The bits of MXCSR that control; the others tell of what has happened, and are nobody's.
#[cfg(target_arch = "x86_64")]
const CONTROL: u32 = 0xFFC0;

/// What both registers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FloatControl {
    sse: u32,
    x87: u16,
}

impl FloatControl {
    /// What they say now.
    #[inline(always)]
    pub(crate) fn now() -> FloatControl {
        #[cfg(target_arch = "x86_64")]
        {
            FloatControl { sse: status_and_control() & CONTROL, x87: x87_control() }
        }
        #[cfg(not(target_arch = "x86_64"))]
        FloatControl { sse: 0, x87: 0 }
    }

    /// Has them say this from now on.
    #[cold]
    pub(crate) fn restore(self) {
        #[cfg(target_arch = "x86_64")]
        {
            let sse = status_and_control() & !CONTROL | self.sse;
            // SAFETY: reads the variable. The bits are those that the register had before, as code of this very stack has set them, or
            // has found them: so this does nothing that the ABI does not ask for.
            unsafe {
                asm!("ldmxcsr [{}]", in(reg) &raw const sse, options(nostack, preserves_flags, readonly))
            };
            // SAFETY: as above.
            unsafe {
                asm!("fldcw [{}]", in(reg) &raw const self.x87, options(nostack, preserves_flags, readonly))
            };
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn status_and_control() -> u32 {
    let mut sse = 0_u32;
    // SAFETY: writes the variable, and changes nothing else.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut sse, options(nostack, preserves_flags)) };
    sse
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn x87_control() -> u16 {
    let mut x87 = 0_u16;
    // SAFETY: writes the variable, and changes nothing else.
    unsafe { asm!("fnstcw [{}]", in(reg) &raw mut x87, options(nostack, preserves_flags)) };
    x87
}
