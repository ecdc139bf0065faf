//! Where everything is pinned, and who may touch it.
//!
//! ```text
//! PIN_DIR/links/native/IF     the link of an interface, or links/generic/IF
//! PIN_DIR/links/handshake     the link of the program that notes handshakes
//! PIN_DIR/maps-A-P-L/NAME     the maps, for version A and tables of P and L lines
//! ```
//!
//! A version or a size that differs makes a folder of its own: new programs are loaded with new maps there, put
//! into the old links' places, and only then the old maps go. So nothing is ever misread, and no packet passes
//! unjudged in between.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use muralla_abi::layout::ABI;
use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountFlags, mount};

use crate::kernel;
use crate::wall::{Mode, WallError};

/// The wall's folder on a bpffs.
#[derive(Debug)]
pub(crate) struct Pins {
    dir: PathBuf,
    _lock: Option<File>,
}

/// A link that is pinned.
#[derive(Debug)]
pub(crate) struct PinnedLink {
    /// The interface.
    pub(crate) interface: String,
    /// How it is attached.
    pub(crate) mode: Mode,
    path: PathBuf,
    /// The link.
    pub(crate) fd: OwnedFd,
}

impl Pins {
    /// Opens the folder for the only daemon that may write to it, mounting the bpffs if there is none.
    pub(crate) fn own(dir: &Path) -> Result<Self, WallError> {
        let failed = |source| WallError::PinDir { dir: dir.to_owned(), source };
        ensure_bpffs(dir)?;
        for sub in ["", "links", "links/native", "links/generic"] {
            fs::create_dir_all(dir.join(sub)).map_err(failed)?;
        }
        let lock = File::open(dir).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => WallError::Busy { dir: dir.to_owned() },
            error => failed(error.into()),
        })?;
        Ok(Self { dir: dir.to_owned(), _lock: Some(lock) })
    }

    /// The folder, to look or to take everything down.
    pub(crate) fn view(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), _lock: None }
    }

    /// The folder of maps of these sizes.
    pub(crate) fn maps(&self, policy_lines: u32, limiter_lines: u32) -> PathBuf {
        self.dir.join(format!("maps-{ABI}-{policy_lines}-{limiter_lines}"))
    }

    /// Removes every folder of maps but this one.
    pub(crate) fn forget_other_maps(&self, keep: Option<&Path>) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let maps =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("maps-"));
            if maps && Some(path.as_path()) != keep {
                for map in fs::read_dir(&path)? {
                    fs::remove_file(map?.path())?;
                }
                fs::remove_dir(&path)?;
            }
        }
        Ok(())
    }

    /// The link of the program that notes handshakes.
    pub(crate) fn handshake(&self) -> PathBuf {
        self.dir.join("links").join("handshake")
    }

    /// Where an interface's link is pinned. A bpffs has no dots in names.
    pub(crate) fn link(&self, interface: &str, mode: Mode) -> PathBuf {
        self.dir.join("links").join(mode.name()).join(interface.replace('.', "@"))
    }

    /// All links of interfaces.
    pub(crate) fn links(&self) -> io::Result<Vec<PinnedLink>> {
        let mut links = Vec::new();
        for mode in [Mode::Native, Mode::Generic] {
            let folder = match fs::read_dir(self.dir.join("links").join(mode.name())) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                folder => folder?,
            };
            for entry in folder {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let interface = name.replace('@', ".");
                let fd = kernel::open_pinned(&path)?;
                links.push(PinnedLink { interface, mode, path, fd });
            }
        }
        Ok(links)
    }

    /// Takes every program off and removes every pin. Gives the interfaces.
    pub(crate) fn clear(&self) -> io::Result<Vec<String>> {
        let mut interfaces = Vec::new();
        for link in self.links()? {
            interfaces.push(link.interface.clone());
            link.remove()?;
        }
        match kernel::open_pinned(&self.handshake()) {
            Ok(link) => {
                detach(&link)?;
                fs::remove_file(self.handshake())?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match self.forget_other_maps(None) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
        Ok(interfaces)
    }

    /// Removes the empty folders. They come back when they are needed.
    pub(crate) fn remove_folders(&self) {
        for sub in ["links/native", "links/generic", "links", ""] {
            // One that is not empty, or not there, may stay so.
            let _ = fs::remove_dir(self.dir.join(sub));
        }
    }
}

impl PinnedLink {
    /// Takes the program off and removes the pin.
    pub(crate) fn remove(self) -> io::Result<()> {
        detach(&self.fd)?;
        fs::remove_file(&self.path)
    }
}

fn detach(link: &OwnedFd) -> io::Result<()> {
    match kernel::link_detach(link.as_fd()) {
        // The interface went before the link.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
        done => done,
    }
}

/// Mounts a bpffs at its usual place if the folder is to be there and there is none.
fn ensure_bpffs(dir: &Path) -> Result<(), WallError> {
    const USUAL: &str = "/sys/fs/bpf";
    let failed = |source| WallError::PinDir { dir: dir.to_owned(), source };
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    if kernel::on_bpffs(existing).map_err(failed)? {
        return Ok(());
    }
    if dir.starts_with(USUAL) {
        mount("bpf", USUAL, "bpf", MountFlags::empty(), None).map_err(|error| {
            WallError::NoBpffs { dir: dir.to_owned(), source: Some(error.into()) }
        })?;
        return Ok(());
    }
    Err(WallError::NoBpffs { dir: dir.to_owned(), source: None })
}
