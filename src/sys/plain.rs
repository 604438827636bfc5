//! Values that are their bytes.

use std::mem::MaybeUninit;
use std::slice;

/// Types of which every pattern of bytes is a value, and which consist of their bytes alone: what memory that processes share can hold.
///
/// It is implemented for the integers, the floating-point numbers, and arrays of such.
///
/// # Safety
///
/// Any bytes, as many as the type has, are a valid value, whoever has written them. No byte of a value is padding. The type has no
/// pointers that mean something: another process would find something else there. And so it has no lifetime and nothing to drop.
///
/// # Examples
///
/// ```
/// use greenloop::processes::shared::{Plain, Value};
///
/// #[derive(Clone, Copy, PartialEq, Debug)]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
///
/// // SAFETY: two numbers, without padding.
/// unsafe impl Plain for Point {}
///
/// let point = Value::new(Point { x: 1.0, y: 2.0 })?;
/// assert_eq!(point.get().y, 2.0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("ctypes", "typecode"))]
pub unsafe trait Plain: Copy + Send + 'static {}

macro_rules! plain {
    ($($number:ty)*) => {
        $(
            // SAFETY: a number, of which every pattern of bits is a value.
            unsafe impl Plain for $number {}
        )*
    };
}

plain!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

// SAFETY: elements without anything between them.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// The bytes of a value.
pub(crate) fn bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a value has so many bytes, all of which are initialized, since none is padding.
    unsafe { slice::from_raw_parts((&raw const *value).cast(), size_of::<T>()) }
}

/// The value whose bytes `fill` writes, into zeros.
pub(crate) fn value<T: Plain>(fill: impl FnOnce(&mut [u8])) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: so many bytes, all of which are initialized.
    fill(unsafe { slice::from_raw_parts_mut(value.as_mut_ptr().cast(), size_of::<T>()) });
    // SAFETY: any bytes are a value.
    unsafe { value.assume_init() }
}
