use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt, MetadataExt, PermissionsExt, symlink};

use greenloop::fs;
use greenloop::spawn;

use crate::support::within;
use crate::{Folder, LIMIT};

#[test]
fn each_does_what_stds_does() {
    within(LIMIT, || {
        let folder = Folder::new();
        let [one, two, three, link] = ["one", "two", "three", "link"].map(|name| folder.join(name));
        fs::write(&one, "contents").unwrap();
        assert_eq!(fs::read(&one).unwrap(), b"contents");
        assert_eq!(fs::read_to_string(&one).unwrap(), "contents");
        assert_eq!(fs::copy(&one, &two).unwrap(), 8);
        fs::rename(&two, &three).unwrap();
        assert!(!fs::exists(&two).unwrap() && fs::exists(&three).unwrap());
        fs::hard_link(&one, &two).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().nlink(), 2);
        symlink("one", &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), std::path::Path::new("one"));
        assert!(fs::metadata(&link).unwrap().is_file() && fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::canonicalize(&link).unwrap(), std::fs::canonicalize(&one).unwrap());
        fs::set_permissions(&one, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().mode() & 0o777, 0o400);
        fs::remove_file(&one).unwrap();
        assert_eq!(fs::read(&link).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir(folder.join("a")).unwrap();
        assert_eq!(fs::create_dir(folder.join("a")).unwrap_err().kind(), ErrorKind::AlreadyExists);
        fs::remove_dir(folder.join("a")).unwrap();
        fs::create_dir_all(folder.join("a/b/c")).unwrap();
        fs::create_dir_all(folder.join("a/b/c")).unwrap();
        fs::DirBuilder::new().mode(0o700).create(folder.join("private")).unwrap();
        assert_eq!(fs::metadata(folder.join("private")).unwrap().mode() & 0o777, 0o700);
        fs::remove_dir_all(folder.join("a")).unwrap();
        assert!(!fs::exists(folder.join("a")).unwrap());
    });
}

#[test]
fn errors_are_those_of_std() {
    within(LIMIT, || {
        let missing = std::path::Path::new("/no/such/path");
        let text = |error: std::io::Error| error.to_string();
        assert_eq!(text(fs::read(missing).unwrap_err()), text(std::fs::read(missing).unwrap_err()));
        assert_eq!(text(fs::read_dir(missing).unwrap_err()), text(std::fs::read_dir(missing).unwrap_err()));
        assert_eq!(
            text(fs::remove_dir("/proc").unwrap_err()),
            text(std::fs::remove_dir("/proc").unwrap_err())
        );
        assert_eq!(text(fs::write("/proc", "").unwrap_err()), text(std::fs::write("/proc", "").unwrap_err()));
        assert_eq!(text(fs::metadata("a\0b").unwrap_err()), text(std::fs::metadata("a\0b").unwrap_err()));
        let folder = Folder::new();
        fs::write(folder.join("bytes"), [0xff]).unwrap();
        assert_eq!(fs::read_to_string(folder.join("bytes")).unwrap_err().kind(), ErrorKind::InvalidData);
    });
}

#[test]
fn a_folder_is_read_as_it_is() {
    within(LIMIT, || {
        let folder = Folder::new();
        for number in 0..300 {
            std::fs::write(folder.join(&number.to_string()), "").unwrap();
        }
        std::fs::create_dir(folder.join("folder")).unwrap();
        let mut entries: Vec<_> = fs::read_dir(&folder).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(entries.len(), 301);
        entries.sort_by_key(fs::DirEntry::file_name);
        let entry = entries.last().unwrap();
        assert_eq!((entry.file_name(), entry.path()), ("folder".into(), folder.join("folder")));
        assert!(entry.file_type().unwrap().is_dir() && entry.metadata().unwrap().is_dir());
        assert_eq!(entry.ino(), entry.metadata().unwrap().ino());
        assert!(entries[..300].iter().all(|entry| entry.file_type().unwrap().is_file()));
        assert_eq!(fs::read_dir(folder.join("folder")).unwrap().count(), 0);
    });
}

#[test]
fn others_run_during_an_operation() {
    within(LIMIT, || {
        let folder = Folder::new();
        let path = folder.fifo();
        // It ends when somebody has written.
        let reader = spawn({
            let path = path.clone();
            move || fs::read(path).unwrap()
        });
        (0..5).for_each(|_| greenloop::sleep(std::time::Duration::from_millis(1)));
        assert!(!reader.is_finished());
        fs::write(&path, "written").unwrap();
        assert_eq!(reader.join().unwrap(), b"written");
    });
}
