//! A process to be started.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{CommandArgs, CommandEnvs, ExitStatus, Stdio};

use super::Child;

/// Starts processes: [`std::process::Command`], except that waiting lets other green threads run.
///
/// Settings that std has for Unix alone (user, process group, what to do before the exec) are set through
/// [`as_std_mut`](Command::as_std_mut).
///
/// # Examples
///
/// ```
/// use greenloop::process::Command;
///
/// let output = Command::new("sh").args(["-c", "echo $GREETING"]).env("GREETING", "hello").output()?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias("Popen", "posix_spawn", "posix_spawnp", "create_subprocess_exec", "create_subprocess_shell"))]
pub struct Command {
    pub(super) inner: std::process::Command,
    /// Which of standard input, output and error have been set: [`output`](Command::output) leaves those.
    pub(super) set: [bool; 3],
    kill_on_drop: bool,
}

impl Command {
    /// Creates a command that runs `program`, which is searched for in `PATH` unless it is a path. It has no arguments, and the
    /// environment, the working directory and the standard streams of this process.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(greenloop::process::Command::new("true").status()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        std::process::Command::new(program).into()
    }

    /// Adds an argument. See [`std::process::Command::arg`].
    ///
    /// # Examples
    ///
    /// ```
    /// let output = greenloop::process::Command::new("echo").arg("-n").arg("two words").output()?;
    /// assert_eq!(output.stdout, b"two words");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg(arg);
        self
    }

    /// Adds several arguments. See [`std::process::Command::args`].
    ///
    /// # Examples
    ///
    /// ```
    /// let output = greenloop::process::Command::new("echo").args(["one", "two"]).output()?;
    /// assert_eq!(output.stdout, b"one two\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets an environment variable. See [`std::process::Command::env`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut shell = greenloop::process::Command::new("sh");
    /// let output = shell.args(["-c", "echo $GREETING"]).env("GREETING", "hello").output()?;
    /// assert_eq!(output.stdout, b"hello\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.env(key, val);
        self
    }

    /// Sets several environment variables. See [`std::process::Command::envs`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut shell = greenloop::process::Command::new("sh");
    /// let output = shell.args(["-c", "echo $A$B"]).envs([("A", "1"), ("B", "2")]).output()?;
    /// assert_eq!(output.stdout, b"12\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Removes an environment variable. See [`std::process::Command::env_remove`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut shell = greenloop::process::Command::new("sh");
    /// let output = shell.args(["-c", "echo ${HOME-none}"]).env_remove("HOME").output()?;
    /// assert_eq!(output.stdout, b"none\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.inner.env_remove(key);
        self
    }

    /// Removes all environment variables. See [`std::process::Command::env_clear`].
    ///
    /// # Examples
    ///
    /// ```
    /// let output = greenloop::process::Command::new("env").env_clear().env("A", "1").output()?;
    /// assert_eq!(output.stdout, b"A=1\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Sets the working directory. See [`std::process::Command::current_dir`].
    ///
    /// # Examples
    ///
    /// ```
    /// let output = greenloop::process::Command::new("pwd").current_dir("/").output()?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.inner.current_dir(dir);
        self
    }

    /// Sets the standard input of the child. If it is not set, [`spawn`](Command::spawn) and [`status`](Command::status) let the
    /// child inherit that of this process, and [`output`](Command::output) gives it none.
    ///
    /// # Examples
    ///
    /// A pipe of greenloop's, or a socket, is in blocking mode in the child:
    ///
    /// ```
    /// use greenloop::process::Command;
    /// use std::io::Write;
    ///
    /// let (reader, mut writer) = greenloop::io::pipe()?;
    /// writer.write_all(b"three little words")?;
    /// drop(writer);
    /// assert_eq!(Command::new("wc").arg("-w").stdin(reader).output()?.stdout.trim_ascii(), b"3");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdin(cfg);
        self.set[0] = true;
        self
    }

    /// Sets the standard output of the child. If it is not set, [`spawn`](Command::spawn) and [`status`](Command::status) let the
    /// child inherit that of this process, and [`output`](Command::output) reads it from a pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Command, Stdio};
    /// use std::io::Read;
    ///
    /// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let mut text = String::new();
    /// child.stdout.take().unwrap().read_to_string(&mut text)?;
    /// assert_eq!(text, "hello\n");
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("PIPE", "DEVNULL"))]
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stdout(cfg);
        self.set[1] = true;
        self
    }

    /// Sets the standard error of the child. If it is not set, [`spawn`](Command::spawn) and [`status`](Command::status) let the
    /// child inherit that of this process, and [`output`](Command::output) reads it from a pipe.
    ///
    /// # Examples
    ///
    /// Both streams into one pipe:
    ///
    /// ```
    /// use greenloop::process::Command;
    ///
    /// let (reader, writer) = greenloop::io::pipe()?;
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo out; echo err >&2"]).stdout(writer.try_clone()?).stderr(writer);
    /// assert!(command.status()?.success());
    /// drop(command); // it holds the writers
    /// assert_eq!(std::io::read_to_string(reader)?, "out\nerr\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.inner.stderr(cfg);
        self.set[2] = true;
        self
    }

    /// Sets whether dropping the [`Child`] kills it. By default it does not. A panic, a kill and an enclosing
    /// [`with_timeout`](crate::with_timeout) drop it too, by unwinding.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Command, Stdio};
    /// use std::io::Read;
    ///
    /// let mut child = Command::new("sleep").arg("1000").stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    /// let mut stdout = child.stdout.take().unwrap();
    /// drop(child);
    /// assert_eq!(stdout.read(&mut [0])?, 0); // its end of the pipe is closed
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Starts the process. Does not yield: see [the module](crate::process).
    ///
    /// # Errors
    ///
    /// As [`std::process::Command::spawn`]: `NotFound` if there is no such program.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    ///
    /// let mut children = [1, 2].map(|code| Command::new("sh").args(["-c", &format!("exit {code}")]).spawn().unwrap());
    /// assert_eq!(children.each_mut().map(|child| child.wait().unwrap().code()), [Some(1), Some(2)]);
    /// assert_eq!(Command::new("/no/such/program").spawn().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub fn spawn(&mut self) -> io::Result<Child> {
        Ok(Child::new(self.inner.spawn()?, self.kill_on_drop))
    }

    /// Runs the process to its end and returns its exit status.
    ///
    /// The calling green thread yields. A kill or an enclosing [`with_timeout`](crate::with_timeout) kills the process too, since
    /// no handle on it is left.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::process::Command::new("false").status()?.code(), Some(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias("call", "check_call"))]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        Child::new(self.inner.spawn()?, true).wait()
    }

    /// Returns the program. See [`std::process::Command::get_program`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenloop::process::Command::new("echo").get_program(), "echo");
    /// ```
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// Returns the arguments. See [`std::process::Command::get_args`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = greenloop::process::Command::new("echo");
    /// command.args(["one", "two"]);
    /// assert!(command.get_args().eq(["one", "two"]));
    /// ```
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// Returns the environment variables that were set or removed. See [`std::process::Command::get_envs`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut command = greenloop::process::Command::new("env");
    /// command.env("A", "1").env_remove("B");
    /// let changes: Vec<_> = command.get_envs().collect();
    /// assert_eq!(changes, [("A".as_ref(), Some("1".as_ref())), ("B".as_ref(), None)]);
    /// ```
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// Returns the working directory, if it was set. See [`std::process::Command::get_current_dir`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// let mut command = greenloop::process::Command::new("pwd");
    /// assert_eq!(command.get_current_dir(), None);
    /// assert_eq!(command.current_dir("/").get_current_dir(), Some(Path::new("/")));
    /// ```
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }

    /// Returns std's command.
    ///
    /// # Examples
    ///
    /// ```
    /// let command = greenloop::process::Command::new("echo");
    /// assert_eq!(command.as_std().get_program(), "echo");
    /// ```
    pub fn as_std(&self) -> &std::process::Command {
        &self.inner
    }

    /// Returns std's command for changes, for instance by [`std::os::unix::process::CommandExt`].
    ///
    /// Set the standard streams by the methods of this [`Command`]: [`output`](Command::output) replaces those that are set on
    /// std's.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    /// use std::os::unix::process::CommandExt;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo $0"]).as_std_mut().arg0("another name");
    /// assert_eq!(command.output()?.stdout, b"another name\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.inner
    }
}

/// With the standard streams as if none had been set.
impl From<std::process::Command> for Command {
    fn from(inner: std::process::Command) -> Command {
        Command { inner, set: [false; 3], kill_on_drop: false }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}
