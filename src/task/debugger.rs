//! How a debugger reads who a green thread is.

#![expect(unsafe_code, reason = "a name by which a debugger finds it")]

use super::record::Record;

/// `debugger/greenloop.py` knows each number by its place.
// SAFETY: no other one of that name is there, since two versions of the library are never in one program (`links` in the manifest).
#[unsafe(no_mangle)]
#[used]
static GREENLOOP_RECORDS: [usize; 5] = Record::LAYOUT;
