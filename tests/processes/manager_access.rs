use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use greenloop::process::{Process, Wire, channel, pipe};
use greenloop::processes::manager::{Queue, Value};
use greenloop::processes::{Manager, ManagerError};
use greenloop::{sleep, yield_now};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::managers::{elsewhere, managers};
use crate::support::Random;
use crate::{LONG, tests, until};

tests! {
    n71_a_wrong_secret_is_refused,
    n71_a_folder_that_others_can_enter_is_refused,
    n71_another_user_is_refused,
    n71_guests_who_say_nothing_sensible,
    n72_rapid_restarts_at_the_same_address,
    bad_requests_are_errors_of_their_own,
    bad_knocks_open_nothing,
}

pub(super) const SECRET: &[u8] = b"nobody guesses this";

/// A folder that goes with this.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Folder {
        Folder(std::env::temp_dir().join(format!("greenloop-{name}-{}", std::process::id())))
    }

    pub(super) fn address(&self) -> PathBuf {
        self.0.join("manager")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn is_refused<T>(told: Result<T, ManagerError>) -> bool {
    matches!(told, Err(ManagerError::Refused(_)))
}

fn n71_a_wrong_secret_is_refused() {
    for manager in managers() {
        let folder = Folder::new("secret");
        manager.listen(folder.address(), SECRET).unwrap();
        assert_eq!((mode(&folder.0), mode(&folder.address())), (0o700, 0o600));
        let total = manager.value(1).unwrap();
        manager.publish("total", &total).unwrap();
        let address = folder.address();
        elsewhere(move || {
            for wrong in [&b""[..], b"nobody", b"nobody guesses this!", &[0; 100]] {
                assert!(is_refused(Manager::connect(&address, wrong)));
            }
            let manager = Manager::connect(&address, SECRET).unwrap();
            let total: Value<i32> = manager.find("total").unwrap().unwrap();
            assert_eq!(total.update(|before| before + 1), Ok(2));
            assert!(manager.find::<Value<u8>>("total").is_err());
            // It makes things of its own as well.
            manager.publish("names", &manager.list(["Ada".to_owned()]).unwrap()).unwrap();
        });
        assert_eq!(total.get(), Ok(2));
        let names: greenloop::processes::manager::List<String> = manager.find("names").unwrap().unwrap();
        assert_eq!(names.to_vec(), Ok(vec!["Ada".to_owned()]));
        manager.shutdown();
        assert!(!folder.address().exists(), "its name goes with it");
        assert!(Manager::connect(folder.address(), SECRET).is_err());
    }
}

fn n71_a_folder_that_others_can_enter_is_refused() {
    for manager in managers() {
        let folder = Folder::new("folder");
        fs::create_dir(&folder.0).unwrap();
        for open in [0o755, 0o710, 0o701, 0o777] {
            fs::set_permissions(&folder.0, fs::Permissions::from_mode(open)).unwrap();
            assert!(is_refused(manager.listen(folder.address(), SECRET)));
            assert!(!folder.address().exists());
        }
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
        manager.listen(folder.address(), SECRET).unwrap();
        // A file that is no socket is not touched.
        fs::write(folder.0.join("file"), "contents").unwrap();
        assert!(manager.listen(folder.0.join("file"), SECRET).is_err());
        assert_eq!(fs::read_to_string(folder.0.join("file")).unwrap(), "contents");
    }
}

fn n71_another_user_is_refused() {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    for manager in managers() {
        let value = manager.value(1).unwrap();
        let theirs = value.clone();
        let told = elsewhere(move || {
            // SAFETY: takes a number. Where root is only called so, there may be no other user to become.
            let is_other = unsafe { libc::setuid(65534) } == 0;
            !is_other || theirs.get() == Err(ManagerError::Ended)
        });
        assert!(told, "its connection is closed");
        assert_eq!(value.get(), Ok(1));
    }
}

fn n71_guests_who_say_nothing_sensible() {
    for manager in managers() {
        let folder = Folder::new("guests");
        manager.listen(folder.address(), SECRET).unwrap();
        let address = folder.address();
        elsewhere(move || {
            let mut random = Random::new(71);
            for round in 0..50 {
                let mut guest = UnixStream::connect(&address).unwrap();
                let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
                let _ = guest.write_all(&bytes);
                if round % 2 == 0 && bytes.len() >= 64 {
                    // The manager says its challenge, and hangs up.
                    let mut told = Vec::new();
                    let _ = guest.read_to_end(&mut told);
                    assert_eq!(told.len(), 32);
                }
            }
            assert!(Manager::connect(&address, SECRET).is_ok());
        });
        // One that listens there, and knows no secret, is found out.
        manager.shutdown();
        let listener = greenloop::net::unix::UnixListener::bind(folder.address()).unwrap();
        let impostor = greenloop::spawn(move || {
            let (mut guest, _) = listener.accept().unwrap();
            guest.write_all(&[1; 32]).unwrap();
            guest.read_exact(&mut [0; 64]).unwrap();
            guest.write_all(&[2; 40]).unwrap();
        });
        assert!(is_refused(Manager::connect(folder.address(), SECRET)));
        impostor.join().unwrap();
    }
}

fn n72_rapid_restarts_at_the_same_address() {
    let folder = Folder::new("restart");
    for round in 0..10 {
        let manager = if round % 2 == 0 { Manager::new().unwrap() } else { Manager::start().unwrap() };
        manager.listen(folder.address(), SECRET).unwrap();
        manager.publish("round", &round).unwrap();
        let found = Manager::connect(folder.address(), SECRET).unwrap().find("round").unwrap();
        assert_eq!(found, Some(round));
        // While it listens, nobody else does.
        assert!(Manager::new().unwrap().listen(folder.address(), SECRET).is_err());
        match round {
            // Killed, it leaves its name, which is taken over.
            3 | 7 => {
                // SAFETY: takes no pointers; the number is that of this test's manager.
                unsafe { libc::kill(manager.server_id().unwrap() as libc::pid_t, libc::SIGKILL) };
                manager.shutdown();
                assert!(folder.address().exists());
            }
            _ => manager.shutdown(),
        }
    }
}

/// The numbers of a handle, and its door.
pub(super) fn taken_apart<T: Wire>(handle: &T) -> (u64, OwnedFd) {
    let (sender, receiver) = channel::<T>().unwrap();
    sender.send(handle).unwrap();
    let mut bytes = [0; 64];
    let mut space = [MaybeUninit::uninit(); 256];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(receiver.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::empty())
        .unwrap();
    let door = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    // Behind the packet's header, the type's number and the manager's.
    (u64::from_le_bytes(bytes[18..26].try_into().unwrap()), door.expect("a door"))
}

pub(super) fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[&OwnedFd]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); 256];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::DONTWAIT)
}

pub(super) fn knock(door: &OwnedFd) -> OwnedFd {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
    send(door, &[0x10, 1], &[&theirs]).unwrap();
    ours
}

/// Whether what is asked for was done, if there is an answer.
pub(super) fn receive(connection: &OwnedFd) -> Option<u8> {
    let mut answer = [0; 1024];
    yield_now();
    let (length, _) = rustix::net::recv(connection, &mut answer[..], RecvFlags::empty()).ok()?;
    (length > 2).then_some(answer[2])
}

fn bad_requests_are_errors_of_their_own() {
    for manager in managers() {
        let dict = manager.dict::<u32, u32>().unwrap();
        dict.insert(&1, &10).unwrap();
        // One of each, at which the verbs of the others are none.
        let others = (manager.list([1]).unwrap(), manager.value(1).unwrap(), manager.queue::<u8>(1).unwrap());
        let locks = (manager.lock().unwrap(), manager.semaphore(1).unwrap(), manager.barrier(2).unwrap());
        let (last, door) = taken_apart(&dict);
        let connection = knock(&door);
        let ask = |bytes: &[u8]| {
            send(&connection, bytes, &[]).unwrap();
            let told = Cell::new(None);
            until("it answers", || {
                told.set(receive(&connection));
                told.get().is_some()
            });
            told.get().unwrap()
        };
        // No packet, no request, no such thing, no such verb, too few arguments and too many.
        let thing = last.to_le_bytes();
        let with = |rest: &[u8]| [&[0x10, 0][..], &thing, rest].concat();
        for bad in [
            vec![0x77, 0, 1],
            vec![0x10, 9],
            vec![0x10, 0],
            vec![0x10, 0, 1, 2, 3],
            [&[0x10, 0][..], &[255; 8], &[14]].concat(),
            with(&[]),
            with(&[200]),
            with(&[10]),
            with(&[10, 255, 255, 255, 255, 255, 255, 255, 255]),
            with(&[12, 4, 0, 0, 0, 0, 0, 0, 0]),
            with(&[14, 1]),
        ] {
            assert_eq!(ask(&bad), 0, "{bad:?}");
        }
        // The next is as good as ever.
        assert_eq!(ask(&with(&[14])), 1);
        drop(connection);
        let mut random = Random::new(14);
        for _ in 0..30 {
            let connection = knock(&door);
            for _ in 0..40 {
                let object = random.below(12) as u64;
                let mut bytes = [&[0x10, 0][..], &object.to_le_bytes(), &[random.below(70) as u8]].concat();
                if random.below(8) == 0 {
                    bytes.truncate(random.below(bytes.len()));
                    bytes.push(random.below(256) as u8);
                }
                bytes.extend((0..random.below(40)).map(|_| random.below(3) as u8));
                // Whoever does not read is not waited for, here or there.
                if send(&connection, &bytes, &[]).is_err() {
                    break;
                }
                while receive(&connection).is_some() {}
            }
        }
        // Whatever that has changed, all work.
        dict.insert(&2, &20).unwrap();
        assert_eq!(dict.get(&2), Ok(Some(20)));
        assert!(manager.object_count().unwrap() >= 7);
        let fresh: Queue<u8> = manager.queue(1).unwrap();
        fresh.put(&1).unwrap();
        assert_eq!(fresh.get(), Ok(1));
        drop((others, locks));
    }
}

fn bad_knocks_open_nothing() {
    for manager in managers() {
        let dict = manager.dict::<u32, u32>().unwrap();
        let (_, door) = taken_apart(&dict);
        let null: OwnedFd = fs::File::open("/dev/null").unwrap().into();
        let (other, _kept) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None).unwrap();
        let mut random = Random::new(36);
        for round in 0..200 {
            let bytes: Vec<u8> = (0..1 + random.below(20)).map(|_| random.below(256) as u8).collect();
            let packet = if round % 2 == 0 { &bytes[..] } else { &[0x10, 1] };
            let descriptors: &[&OwnedFd] = match random.below(4) {
                0 => &[],
                1 => &[&null],
                2 => &[&other],
                _ => &[&null, &other],
            };
            while send(&door, packet, descriptors).is_err() {
                sleep(std::time::Duration::from_millis(1));
            }
        }
        dict.insert(&1, &1).unwrap();
        // A new connection comes in behind all those.
        let (ours, theirs) = pipe::<u32, ()>().unwrap();
        let handle = dict.clone();
        let child = Process::start(move || {
            handle.insert(&2, &2).unwrap();
            theirs.send(&()).unwrap();
            sleep(LONG);
        })
        .unwrap();
        ours.recv().unwrap();
        assert_eq!(dict.len(), Ok(2));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ours.recv().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
