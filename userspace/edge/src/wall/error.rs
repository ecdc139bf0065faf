//! Why the wall can't be built or changed.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::programs::ProgramError;
use ipnet::IpNet;

use crate::ban_table::TableError;
use crate::feeds::FeedError;
use crate::policy::CompileError;

/// Why the wall can't be built or changed. Whatever stood before stands still.
#[derive(Debug, thiserror::Error)]
pub enum WallError {
    /// The folder for pins can't be used.
    #[error("{dir} can not be used for pins: {source}")]
    PinDir {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no bpffs.
    #[error(
        "{dir} is not on a BPF file system: mount one with `mount -t bpf bpf /sys/fs/bpf`, or set edge.pin_dir to a folder on one{}",
        source.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
    )]
    NoBpffs {
        /// The folder.
        dir: PathBuf,
        /// Why it couldn't be mounted.
        source: Option<io::Error>,
    },
    /// Another daemon has it.
    #[error(
        "another muralla holds {dir}: stop it first, or give this one an edge.pin_dir of its own"
    )]
    Busy {
        /// The folder.
        dir: PathBuf,
    },
    /// The object can't be loaded.
    #[error("the programs can not be loaded: {0}")]
    Load(Box<EbpfError>),
    /// The verifier or the kernel refused a program.
    #[error("the kernel refused the program: {0}")]
    Verifier(#[source] ProgramError),
    /// The object is not the one this binary was made with.
    #[error("the programs' object lacks {0}: build again with `cargo xtask build`")]
    Object(&'static str),
    /// A map can't be made or reached.
    #[error("map {map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is no such interface.
    #[error("there is no interface {name}; it is protected as soon as it appears")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// The program can't be attached.
    #[error("{name}: {}", attach_advice(.source))]
    Attach {
        /// The interface.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Handshakes can't be noted.
    #[error("handshakes can not be noted, so every TCP source stays a stranger: {source}")]
    Handshake {
        /// Why.
        source: io::Error,
    },
    /// The policy doesn't fit.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A list or feed can't be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A block doesn't fit.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A rule would cut off somebody who must not be.
    #[error("{prefix} can not be blocked: it covers {guarded}, which is {why}")]
    Guarded {
        /// What was to be blocked.
        prefix: IpNet,
        /// Who would be cut off.
        guarded: IpNet,
        /// What he is.
        why: &'static str,
    },
    /// A block of everything there is.
    #[error("a block of everybody is no block: take the interface down, or name a prefix")]
    Everybody,
    /// There is no such service.
    #[error("there is no service {name}; there are: {known}")]
    NoService {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// The state can't be kept.
    #[error("{path} can not be written, so this would be forgotten at a restart: {source}")]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The samples have been taken already.
    #[error("the samples have a reader already")]
    SamplesTaken,
}

impl WallError {
    pub(crate) fn attach(name: &str, source: io::Error) -> Self {
        Self::Attach { name: name.to_owned(), source }
    }

    pub(super) fn map(map: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Map { map, source }
    }
}

/// What the kernel's refusal means for the operator.
fn attach_advice(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY) => "another XDP program is attached there: see it with `ip link show`, take it off with \
                              `ip link set dev IF xdp off` or its own tool"
            .to_owned(),
        Some(libc::EOPNOTSUPP) => {
            "its driver has no native XDP: set mode = \"generic\" to protect it all the same, slowly".to_owned()
        }
        Some(libc::ERANGE | libc::EINVAL) => format!(
            "the driver refuses a program with its present settings (MTU, LRO, queues): {error}"
        ),
        Some(libc::EPERM) => format!("not allowed: run as root or with CAP_BPF and CAP_NET_ADMIN ({error})"),
        _ => error.to_string(),
    }
}
