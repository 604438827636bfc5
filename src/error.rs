//! Every way in which the library says that something did not work.

use std::io;

use thiserror::Error;

/// A green thread got no stack.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StackError {
    /// More was asked for than any stack has.
    #[error("a stack of {requested} bytes was asked for, but the largest has {limit}")]
    TooLarge {
        /// The bytes asked for.
        requested: usize,
        /// The bytes that the largest stack has.
        limit: usize,
    },
    /// The kernel allows the process no more memory mappings, and this stack's guard page would need two.
    ///
    /// From Linux 6.13 on guard pages need none, unless the memory is locked.
    #[error(
        "no memory mapping left for the guard page of another stack: \
         raise vm.max_map_count, or use Linux 6.13 or later, where guard pages need none"
    )]
    MapLimit(#[source] io::Error),
    /// The kernel has no address space or no memory for another stack.
    #[error("no memory for another stack")]
    OutOfMemory(#[source] io::Error),
}

impl From<StackError> for io::Error {
    fn from(error: StackError) -> io::Error {
        let kind = match error {
            StackError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            StackError::MapLimit(_) | StackError::OutOfMemory(_) => io::ErrorKind::OutOfMemory,
        };
        io::Error::new(kind, error)
    }
}
