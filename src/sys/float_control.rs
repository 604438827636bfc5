//! How the processor computes with floating-point numbers: the rounding, what is an exception, whether tiny numbers are zero.
//!
//! Registers say so, two of x86 and one of Arm's, whose other bits tell of what has happened, and are nobody's. An OS thread finds there
//! what its own code has put there, and so has each stack to do.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;

/// The bits of MXCSR that control.
#[cfg(target_arch = "x86_64")]
const CONTROL: u32 = 0xFFC0;

/// What the registers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FloatControl {
    #[cfg(target_arch = "x86_64")]
    sse: u32,
    #[cfg(target_arch = "x86_64")]
    x87: u16,
    #[cfg(target_arch = "aarch64")]
    fpcr: u64,
}

#[cfg(target_arch = "x86_64")]
impl FloatControl {
    /// What they say now.
    #[inline(always)]
    pub(crate) fn now() -> FloatControl {
        FloatControl { sse: status_and_control() & CONTROL, x87: x87_control() }
    }

    /// Has them say this from now on.
    #[cold]
    pub(crate) fn restore(self) {
        let sse = status_and_control() & !CONTROL | self.sse;
        // SAFETY: reads the variable. The bits are those that the register had before, as code of this very stack has set them, or
        // has found them: so this does nothing that the ABI does not ask for.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const sse, options(nostack, preserves_flags, readonly)) };
        // SAFETY: as above.
        unsafe {
            asm!("fldcw [{}]", in(reg) &raw const self.x87, options(nostack, preserves_flags, readonly))
        };
    }
}

#[cfg(target_arch = "aarch64")]
impl FloatControl {
    /// What it says now.
    #[inline(always)]
    pub(crate) fn now() -> FloatControl {
        let fpcr;
        // SAFETY: reads a register that every program may read.
        unsafe { asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack, preserves_flags)) };
        FloatControl { fpcr }
    }

    /// Has it say this from now on.
    #[cold]
    pub(crate) fn restore(self) {
        // SAFETY: what the register has said before, as code of this very stack has set it, or has found it.
        unsafe { asm!("msr fpcr, {}", in(reg) self.fpcr, options(nomem, nostack, preserves_flags)) };
    }
}

/// Others are as the ABI of each has it.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl FloatControl {
    #[inline(always)]
    pub(crate) fn now() -> FloatControl {
        FloatControl {}
    }

    #[cold]
    pub(crate) fn restore(self) {}
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
