//! A server of Redis of the program's own.

use rustix::process::{Pid, Signal, kill_process};
use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked whether it has begun.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take to begin.
const BEGINNING: Duration = Duration::from_secs(10);

/// It writes what it acknowledges to a file, and ends with this, or with this process if that is killed.
pub struct RedisServer {
    child: Child,
    folder: PathBuf,
    pub port: u16,
}

impl RedisServer {
    pub fn start(folder: &Path) -> Result<RedisServer, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut server = RedisServer { child: spawn(folder, port)?, folder: folder.to_owned(), port };
        server.has_begun()?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Ends it by a signal, and starts it again with what it has written.
    pub fn restart(&mut self, signal: Signal) -> Result<(), Box<dyn Error>> {
        kill_process(Pid::from_child(&self.child), signal)?;
        self.child.wait()?;
        self.child = spawn(&self.folder, self.port)?;
        self.has_begun()
    }

    fn has_begun(&mut self) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let hint = "on Debian: apt-get install redis-server";
                return Err(format!("cannot start redis-server ({status}); {hint}").into());
            }
            if start.elapsed() > BEGINNING {
                return Err("redis-server does not begin".into());
            }
            sleep(LOOK);
        }
        Ok(())
    }
}

fn spawn(folder: &Path, port: u16) -> Result<Child, Box<dyn Error>> {
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "redis-server"])
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Ok(child.map_err(|error| format!("cannot start setpriv, of util-linux: {error}"))?)
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}
