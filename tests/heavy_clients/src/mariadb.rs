//! The server MariaDB.

use clients::folder::Folder;
use clients::program::{Program, Stop, give_to_unprivileged, unprivileged};

/// A server with an empty database, `places`, for everybody.
pub(crate) struct Server {
    program: Program,
    /// Goes after the program.
    _folder: Folder,
}

impl Server {
    pub(crate) fn start() -> Server {
        let folder = Folder::new("mariadb");
        // A database is a folder there.
        std::fs::create_dir(folder.file("places")).unwrap();
        give_to_unprivileged(&folder);
        let data = format!("--datadir={}", folder.file(""));
        let program = Program::start(Stop::TERMINATE, "ready for connections", |port| {
            let port = format!("--port={port}");
            let mut arguments =
                vec!["/usr/sbin/mariadbd", "--no-defaults", &data, &port, "--bind-address=127.0.0.1"];
            // Without the tables of a new installation, which take as long to make as all else here.
            arguments.extend([
                "--socket=",
                "--skip-grant-tables",
                "--skip-innodb",
                "--default-storage-engine=Aria",
            ]);
            arguments.push("--max-connections=500");
            unprivileged(&arguments)
        });
        Server { program, _folder: folder }
    }

    /// For the crate `mysql`, that it does not look for a Unix socket.
    pub(crate) fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/places", self.program.port)
    }
}
