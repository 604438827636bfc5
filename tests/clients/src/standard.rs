//! What std's own documentation shows of `std::process`, `std::net` and `std::fs`. The other side takes its time for it, where
//! there is one.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use clients::folder::Folder;
use clients::measure::{compare, measure, runs};

const DELAY: Duration = Duration::from_millis(100);
const COUNT: u32 = 40;

/// `std::process`: the output of one child goes into another, and then back and forth with a third.
#[test]
fn pipelines_of_processes() {
    compare("std::process, 1 s", 20, |_| {
        let mut echo = Command::new("sh")
            .args(["-c", "sleep 1; echo 'Oh no, a tpyo!'"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("Failed to start echo process");
        let sed = Command::new("sed")
            .arg("s/tpyo/typo/")
            .stdin(Stdio::from(echo.stdout.take().expect("Failed to open echo stdout")))
            .stdout(Stdio::piped())
            .spawn()
            .expect("Failed to start sed process");
        let output = sed.wait_with_output().expect("Failed to wait on sed");
        assert_eq!(output.stdout, b"Oh no, a typo!\n");
        assert!(echo.wait().expect("Failed to wait on echo").success());

        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("failed to execute child");
        let stdin = child.stdin.as_mut().expect("Failed to open stdin");
        stdin.write_all(b"test").expect("failed to write to stdin");
        let output = child.wait_with_output().expect("failed to wait on child");
        assert_eq!(output.stdout, b"test");
    });
}

/// `TcpListener`, `TcpStream`.
#[test]
fn streams_of_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle_client = |mut stream: TcpStream| {
        let mut bytes = [0; 128];
        let count = stream.read(&mut bytes).unwrap();
        thread::sleep(DELAY);
        stream.write_all(&bytes[..count]).unwrap();
    };
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(runs(COUNT) as usize) {
            let stream = stream.unwrap();
            thread::spawn(move || handle_client(stream));
        }
    });
    compare("std::net, TCP, 100 ms", COUNT, move |number| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&number.to_be_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert_eq!(reply, number.to_be_bytes());
    });
    server.join().unwrap();
}

/// `UdpSocket`: what comes is sent back in reverse.
#[test]
fn datagrams_in_reverse() {
    compare("std::net, UDP, 100 ms", COUNT, |number| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let server = thread::spawn(move || {
            let mut bytes = [0; 10];
            let (count, source) = socket.recv_from(&mut bytes).unwrap();
            let bytes = &mut bytes[..count];
            bytes.reverse();
            thread::sleep(DELAY);
            socket.send_to(bytes, source).unwrap();
        });
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.send(&number.to_be_bytes()).unwrap();
        let mut reply = [0; 10];
        let count = socket.recv(&mut reply).unwrap();
        assert_eq!(reply[..count], number.to_le_bytes());
        server.join().unwrap();
    });
}

/// `std::fs`. There is nothing to gain: a disk that answers at once lets nobody wait, and its calls go to other OS threads.
#[test]
fn files_and_folders() {
    let folder = Folder::new("standard");
    let root = folder.path.clone();
    let work = move |number: u32| -> io::Result<()> {
        let place = root.join(number.to_string());
        fs::create_dir_all(place.join("deeper"))?;
        let path = place.join("foo.txt");
        File::create(&path)?.write_all(b"Hello, world!")?;
        OpenOptions::new().append(true).open(&path)?.write_all(b" And goodbye.")?;
        let mut text = String::new();
        BufReader::new(File::open(&path)?).read_to_string(&mut text)?;
        assert_eq!(text, "Hello, world! And goodbye.");
        let mut file = File::options().read(true).write(true).open(&path)?;
        file.seek(SeekFrom::Start(7))?;
        file.write_all(b"World")?;
        file.sync_all()?;
        drop(file);
        assert_eq!(fs::copy(&path, place.join("deeper/bar.txt"))?, 26);
        fs::rename(&path, place.join("baz.txt"))?;
        let mut found = Vec::new();
        visit_dirs(&place, &mut |entry| found.push(fs::read_to_string(entry.path()).unwrap()))?;
        assert_eq!(found, ["Hello, World! And goodbye."; 2]);
        fs::remove_dir_all(place)
    };
    measure("std::fs", COUNT, greenloop::Builder::new, move |number| work(number).unwrap());
    assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 0);
}

/// "One possible implementation of walking a directory only visiting files", of `read_dir`.
fn visit_dirs(dir: &Path, cb: &mut dyn FnMut(&DirEntry)) -> io::Result<()> {
    if dir.is_dir() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            if path.is_dir() {
                visit_dirs(&path, cb)?;
            } else {
                cb(&entry);
            }
        }
    }
    Ok(())
}
