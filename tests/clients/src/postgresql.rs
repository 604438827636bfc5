//! The server PostgreSQL.

use std::path::PathBuf;
use std::process::Command;

use crate::folder::Folder;
use crate::program::{Program, Stop, give_to_unprivileged, unprivileged};

/// A server with an empty database.
#[derive(Debug)]
pub struct Server {
    program: Program,
    /// Goes after the program.
    _folder: Folder,
}

impl Server {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn start() -> Server {
        let folder = Folder::new("postgres");
        let path = folder.file("");
        // It refuses to run as root.
        give_to_unprivileged(&folder);
        let program =
            |name: &str| folder_of_programs().join(name).to_str().expect("a path in UTF-8").to_owned();
        let (initdb, postgres) = (program("initdb"), program("postgres"));
        let options = ["-D", &path, "-U", "postgres", "-A", "trust", "--no-locale", "--no-sync"];
        let initdb = unprivileged(&[&[&*initdb], &options[..]].concat());
        let made = Command::new("setpriv").args(initdb).current_dir("/").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let program = Program::start(Stop::QUIT, "ready to accept connections", |port| {
            let port = port.to_string();
            unprivileged(&[&postgres, "-D", &path, "-p", &port, "-k", "", "-h", "127.0.0.1", "-F"])
        });
        Server { program, _folder: folder }
    }

    /// Of the database, for its superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.program.port)
    }
}

/// Debian has them beside its own, which are in the path.
fn folder_of_programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders =
        versions.map(|version| version.path().join("bin")).filter(|folder| folder.join("postgres").exists());
    folders.max().expect("PostgreSQL is missing in /usr/lib/postgresql; `.ci/run` installs it")
}
