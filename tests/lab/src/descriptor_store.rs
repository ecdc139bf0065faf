//! What systemd's descriptor store does for a service (sd_notify(3), sd_pid_notify_with_fds(3)), for tests
//! that have no systemd: it keeps descriptors while the service restarts, and passes them at the next start.

use std::io::{ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::kernel::pass_descriptors;

/// Descriptors that the store takes, of all names (systemd's FileDescriptorStoreMax=).
const MOST: usize = 128;
/// Descriptors of one message (the kernel's SCM_MAX_FD).
const MOST_AT_ONCE: usize = 253;

/// A service manager, as far as a service sees it. It ends when dropped, and what is stored is closed.
#[derive(Debug)]
pub struct DescriptorStore {
    socket: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    kept: Mutex<Kept>,
}

/// What a service said and stored.
#[derive(Debug, Default)]
struct Kept {
    descriptors: Vec<(String, OwnedFd)>,
    ready: bool,
    status: String,
    refused: usize,
}

impl DescriptorStore {
    /// Begins to listen in that folder.
    ///
    /// # Errors
    /// When the socket can't be made there.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("notify.sock");
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("removing {}", path.display()));
        }
        let socket = UnixDatagram::bind(&path)
            .with_context(|| format!("listening at {}", path.display()))?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).context("setting a timeout")?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("descriptors".to_owned())
            .spawn(move || {
                while !theirs.stopped.load(Ordering::Relaxed) {
                    theirs.receive(&socket);
                }
            })
            .context("starting a thread")?;
        Ok(Self { socket: path, shared, thread: Some(thread) })
    }

    /// A command that starts the given one as systemd would: with the notification socket, and with what is
    /// stored, which stays stored. Whether an earlier process was ready is forgotten.
    ///
    /// # Errors
    /// When a descriptor can't be duplicated.
    pub fn service(&self, program: &Command) -> Result<Command> {
        let mut kept = self.shared.kept();
        (kept.ready, kept.status) = (false, String::new());
        let descriptors: Vec<OwnedFd> = kept
            .descriptors
            .iter()
            .map(|(_, descriptor)| descriptor.try_clone().context("duplicating a descriptor"))
            .collect::<Result<_>>()?;
        let names: Vec<&str> = kept.descriptors.iter().map(|(name, _)| name.as_str()).collect();
        // LISTEN_PID is the number of the program's process, which only that process knows.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"LISTEN_PID=$$ exec "$@""#, "service"]);
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("NOTIFY_SOCKET", &self.socket).env("FDSTORE", MOST.to_string());
        if descriptors.is_empty() {
            command.env_remove("LISTEN_FDS").env_remove("LISTEN_FDNAMES");
        } else {
            command.env("LISTEN_FDS", descriptors.len().to_string());
            command.env("LISTEN_FDNAMES", names.join(":"));
        }
        if let Some(folder) = program.get_current_dir() {
            command.current_dir(folder);
        }
        pass_descriptors(&mut command, descriptors);
        Ok(command)
    }

    /// Names of what is stored, in the order of storing.
    pub fn names(&self) -> Vec<String> {
        self.shared.kept().descriptors.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Whether the service has said `READY=1` since the last start.
    pub fn is_ready(&self) -> bool {
        self.shared.kept().ready
    }

    /// What the service said last about itself (`STATUS=`).
    pub fn status(&self) -> String {
        self.shared.kept().status.clone()
    }

    /// Descriptors that found no room.
    pub fn refused(&self) -> usize {
        self.shared.kept().refused
    }

    /// Waits for `READY=1`.
    ///
    /// # Errors
    /// When it doesn't come in time.
    pub fn wait_until_ready(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !self.is_ready() {
            if Instant::now() > deadline {
                bail!("no READY=1 within {patience:?}; the last status is {:?}", self.status());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Closes all that is stored, as the stop of a service does that is not started again.
    pub fn clear(&self) {
        self.shared.kept().descriptors.clear();
    }
}

impl Drop for DescriptorStore {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, socket: &UnixDatagram) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 4_096];
        let Ok(message) = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) else {
            return;
        };
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                descriptors.extend(rights);
            }
        }
        let text = String::from_utf8_lossy(bytes.get(..message.bytes).unwrap_or_default());
        self.kept().take(&text, descriptors);
    }
}

impl Kept {
    /// What one message says. Descriptors that are not to be stored (a barrier's) are closed.
    fn take(&mut self, text: &str, descriptors: Vec<OwnedFd>) {
        let value =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        if value("READY") == Some("1") {
            self.ready = true;
        }
        if let Some(status) = value("STATUS") {
            status.clone_into(&mut self.status);
        }
        let name = value("FDNAME").filter(|name| is_name(name)).unwrap_or("stored");
        if value("FDSTOREREMOVE") == Some("1") {
            self.descriptors.retain(|(stored, _)| stored != name);
        } else if value("FDSTORE") == Some("1") {
            for descriptor in descriptors {
                // The same open file is kept once, under its first name.
                if self.descriptors.iter().any(|(_, stored)| is_same(stored, &descriptor)) {
                    continue;
                }
                if self.descriptors.len() >= MOST {
                    self.refused += 1;
                    continue;
                }
                self.descriptors.push((name.to_owned(), descriptor));
            }
        }
    }
}

/// 1 to 255 printable ASCII characters but colons.
fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b':')
}

/// Whether both are the same socket or file. Sockets have an inode each.
fn is_same(one: &OwnedFd, other: &OwnedFd) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs::File;
    use std::io::IoSlice;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    fn socket() -> OwnedFd {
        UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn what_messages_do() {
        let mut kept = Kept::default();
        let names =
            |kept: &Kept| kept.descriptors.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let first = socket();
        let same = first.try_clone().unwrap();
        for (text, descriptors, expected) in [
            ("READY=1\nSTATUS=up", vec![], vec![]),
            ("FDSTORE=1\nFDNAME=dns-udp", vec![first], vec!["dns-udp"]),
            ("FDSTORE=1\nFDNAME=again", vec![same], vec!["dns-udp"]),
            ("FDSTORE=1\nFDNAME=a:b", vec![socket()], vec!["dns-udp", "stored"]),
            ("BARRIER=1", vec![socket()], vec!["dns-udp", "stored"]),
            ("FDSTOREREMOVE=1\nFDNAME=dns-udp", vec![], vec!["stored"]),
            ("FDSTOREREMOVE=1\nFDNAME=never", vec![], vec!["stored"]),
        ] {
            kept.take(text, descriptors);
            assert_eq!(names(&kept), expected, "{text:?}");
        }
        assert!(kept.ready);
        assert_eq!(kept.status, "up");
    }

    #[test]
    fn a_full_store_refuses() {
        let mut kept = Kept::default();
        kept.take("FDSTORE=1", (0..MOST + 3).map(|_| socket()).collect());
        assert_eq!((kept.descriptors.len(), kept.refused), (MOST, 3));
    }

    #[test]
    fn a_service_finds_its_descriptors_again() {
        let folder = env::temp_dir().join(format!("descriptor-store-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = DescriptorStore::open(&folder).unwrap();
        let file = folder.join("kept");
        std::fs::write(&file, "still here").unwrap();
        let service = UnixDatagram::unbound().unwrap();
        service.connect(folder.join("notify.sock")).unwrap();
        let stored = File::open(&file).unwrap();
        let borrowed = [stored.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        let text = b"FDSTORE=1\nFDNAME=kept\nREADY=1";
        sendmsg(&service, &[IoSlice::new(text)], &mut control, SendFlags::empty()).unwrap();
        store.wait_until_ready(Duration::from_secs(5)).unwrap();
        assert_eq!(store.names(), ["kept"]);
        let mut program = Command::new("/bin/sh");
        program.args([
            "-c",
            r#"[ $LISTEN_PID = $$ ] && echo "$LISTEN_FDS $LISTEN_FDNAMES $(cat <&3)""#,
        ]);
        let output = store.service(&program).unwrap().output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1 kept still here\n");
        drop(store);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
