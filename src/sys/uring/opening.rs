//! What a file is to be opened for, as open(2) has it.

/// The switches of [`std::fs::OpenOptions`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) mode: u32,
    pub(crate) custom_flags: i32,
}

impl Opening {
    /// For nothing.
    pub(crate) const fn new() -> Opening {
        Opening {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            custom_flags: 0,
        }
    }

    /// Whether opening may wait for somebody, and is to.
    pub(crate) fn may_wait(&self) -> bool {
        self.custom_flags & (libc::O_NONBLOCK | libc::O_PATH) == 0
    }

    /// The further flags for opening without waiting.
    pub(crate) fn without_waiting(&self) -> i32 {
        self.custom_flags | libc::O_NONBLOCK
    }

    pub(crate) fn only_reads(&self) -> bool {
        self.read && !self.write && !self.append
    }

    /// All as flags for opening without waiting; `None` for what makes no sense, which std knows an error for.
    pub(crate) fn flags(&self) -> Option<i32> {
        let access = match (self.read, self.write, self.append) {
            (true, false, false) => libc::O_RDONLY,
            (false, true, false) => libc::O_WRONLY,
            (true, true, false) => libc::O_RDWR,
            (false, _, true) => libc::O_WRONLY | libc::O_APPEND,
            (true, _, true) => libc::O_RDWR | libc::O_APPEND,
            (false, false, false) => return None,
        };
        let changes = self.truncate || self.create || self.create_new;
        if changes && !self.write && !self.append || self.append && self.truncate && !self.create_new {
            return None;
        }
        let creation = if self.create_new {
            libc::O_CREAT | libc::O_EXCL
        } else {
            let create = if self.create { libc::O_CREAT } else { 0 };
            create | if self.truncate { libc::O_TRUNC } else { 0 }
        };
        Some(access | creation | libc::O_CLOEXEC | self.without_waiting() & !libc::O_ACCMODE)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    fn kept(flags: i32) -> i32 {
        flags & (libc::O_ACCMODE | libc::O_APPEND | libc::O_NOFOLLOW)
    }

    #[test]
    fn every_choice_is_taken_as_std_takes_it() {
        let folder = std::env::temp_dir().join(format!("greenloop-opening-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        for choice in 0..64 {
            let has = |bit: u32| choice >> bit & 1 == 1;
            let path = folder.join(choice.to_string());
            if !has(5) {
                File::create(&path).unwrap();
            }
            let opening = Opening {
                read: has(0),
                write: has(1),
                append: has(2),
                truncate: has(3),
                create: has(4),
                create_new: has(5),
                custom_flags: libc::O_NOFOLLOW | libc::O_ACCMODE,
                ..Opening::new()
            };
            let mut options = OpenOptions::new();
            options.read(has(0)).write(has(1)).append(has(2)).truncate(has(3)).create(has(4));
            options.create_new(has(5)).custom_flags(opening.custom_flags);
            let opened = options.open(&path).ok();
            let got = opened.map(|file| {
                // SAFETY: takes no pointers.
                unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) }
            });
            assert_eq!(opening.flags().map(kept), got.map(kept), "{opening:?}");
            if let Some(flags) = opening.flags() {
                assert_eq!(flags & libc::O_CREAT != 0, has(4) || has(5));
                assert_eq!(flags & libc::O_EXCL != 0, has(5));
                assert_eq!(flags & libc::O_TRUNC != 0, has(3) && !has(5));
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
