//! The slices of memory that a vectored call names.

use libc::{c_int, iovec};

/// As many as a call may name (UIO_MAXIOV), slices or messages.
pub(super) const MOST: usize = 1024;

/// The slices that C names by their first one and their number; `None` for what the kernel is left to refuse.
///
/// # Safety
///
/// `first` must be valid for reads of `count` elements as long as the result lives, unless it is null, or they are more than [`MOST`].
pub(super) unsafe fn named<'a>(first: *const iovec, count: usize) -> Option<&'a [iovec]> {
    match count {
        0 => Some(&[]),
        1..=MOST if !first.is_null() => {
            // SAFETY: the caller's contract; from C, it is aligned.
            Some(unsafe { std::slice::from_raw_parts(first, count) })
        }
        _ => None,
    }
}

/// How many bytes they hold together.
pub(super) fn length(slices: &[iovec]) -> usize {
    slices.iter().map(|slice| slice.iov_len).fold(0, usize::saturating_add)
}

/// What is left of them without their first `done` bytes, of which there are at least as many.
pub(super) fn rest(slices: &[iovec], mut done: usize) -> Vec<iovec> {
    let cut = |slice: &iovec| {
        let skipped = done.min(slice.iov_len);
        done -= skipped;
        iovec { iov_base: slice.iov_base.wrapping_byte_add(skipped), iov_len: slice.iov_len - skipped }
    };
    slices.iter().map(cut).filter(|slice| slice.iov_len > 0).collect()
}

/// The number of slices, for a call.
pub(super) fn count(slices: &[iovec]) -> c_int {
    slices.len() as c_int
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(bytes: &[u8]) -> iovec {
        iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
    }

    #[test]
    fn what_the_kernel_refuses_is_not_looked_at() {
        let bytes = *b"abc";
        let one = slice(&bytes);
        // SAFETY: none of these is read.
        let named = |first, count| unsafe { named(first, count) }.map(<[iovec]>::len);
        assert_eq!(named(std::ptr::null(), 0), Some(0));
        assert_eq!(named(&raw const one, 1), Some(1));
        assert_eq!(named(std::ptr::null(), 1), None);
        assert_eq!(named(&raw const one, MOST + 1), None);
        assert_eq!(named(&raw const one, -1 as c_int as usize), None);
    }

    #[test]
    fn the_rest_begins_where_the_first_part_ended() {
        let bytes = *b"abcdefghi";
        let slices = [slice(&bytes[..3]), slice(&[]), slice(&bytes[3..5]), slice(&bytes[5..])];
        assert_eq!(length(&slices), 9);
        let rest_after = |done| {
            rest(&slices, done)
                .iter()
                .map(|slice| (slice.iov_base.addr() - bytes.as_ptr().addr(), slice.iov_len))
                .collect::<Vec<_>>()
        };
        assert_eq!(rest_after(0), [(0, 3), (3, 2), (5, 4)]);
        assert_eq!(rest_after(3), [(3, 2), (5, 4)]);
        assert_eq!(rest_after(4), [(4, 1), (5, 4)]);
        assert_eq!(rest_after(8), [(8, 1)]);
        assert_eq!(rest_after(9), []);
    }
}
