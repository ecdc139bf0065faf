//! The programs: loaded once for each interface, put into the places of those before them.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::programs::{ProgramError, SockOps, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use muralla_abi::layout::Side;
use muralla_abi::table::Seeds;

use crate::config::{AttachMode, InterfaceConfig, Role};
use crate::kernel::{self, AttachType, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
use crate::pins::Pins;
use crate::wall::{Mode, WallError};

static OBJECT: &[u8] = include_bytes_aligned!(env!("MURALLA_EDGE_OBJECT"));

/// Maps of the object, all of which are pinned.
const MAPS: &[&str] = &[
    "POLICY",
    "LIMITER",
    "BUDGETS",
    "CREDITS",
    "FAMILIAR",
    "BANS",
    "BAN_HITS",
    "ANSWERS",
    "ANSWER_INDEX",
    "ANSWER_STATE",
    "ANSWER_HITS",
    "COUNTERS",
    "TIMING",
    "GATES",
    "SAMPLES",
    "SCRATCH",
];

/// The programs of one interface, loaded.
pub struct Loaded {
    ebpf: Ebpf,
}

impl Loaded {
    /// Loads the programs with the maps pinned in `maps`, which are made there if they are missing; `POLICY` must
    /// be there already.
    pub(crate) fn new(
        maps: &Path,
        slot: u32,
        side: Side,
        limiter_lines: u32,
        seeds: &Seeds,
    ) -> Result<Self, WallError> {
        let tick_ns = kernel::tick_ns();
        let (slot, side, limiter_mask) = (slot, side.to_bits(), limiter_lines - 1);
        let mut loader = EbpfLoader::new();
        loader
            .override_global("INTERFACE", &slot, true)
            .override_global("SIDE", &side, true)
            .override_global("SEEDS", &seeds.0, true)
            .override_global("LIMITER_MASK", &limiter_mask, true)
            .override_global("TICK_NS", &tick_ns, true);
        loader.map_max_entries("LIMITER", limiter_lines);
        for name in MAPS {
            loader.map_pin_path(name, maps.join(name));
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| WallError::Load(Box::new(error)))?;
        for name in ["wall", "clock"] {
            xdp_mut(&mut ebpf, name)?.load().map_err(WallError::Verifier)?;
        }
        Ok(Self { ebpf })
    }

    /// The XDP program.
    pub fn wall(&self) -> Result<&Xdp, WallError> {
        let program = self.ebpf.program("wall").ok_or(WallError::Object("program wall"))?;
        program.try_into().map_err(WallError::Verifier)
    }

    /// What the wall's clock says, in nanoseconds.
    pub(crate) fn now(&self) -> Result<u64, WallError> {
        let program = self.ebpf.program("clock").ok_or(WallError::Object("program clock"))?;
        let program: &Xdp = program.try_into().map_err(WallError::Verifier)?;
        let (frame, mut answer) = ([0; 64], [0; 64]);
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame);
        options.data_out = Some(&mut answer);
        program.test_run(options).map_err(WallError::Verifier)?;
        Ok(answer.first_chunk().map_or(0, |now| u64::from_be_bytes(*now)))
    }

    /// The program that counts and drops, and nothing else: what [`Loaded::wall`] is measured against.
    pub fn floor(&mut self) -> Result<&Xdp, WallError> {
        let program = xdp_mut(&mut self.ebpf, "floor")?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(error) => Err(WallError::Verifier(error)),
        }
    }

    pub(crate) fn wall_fd(&self) -> Result<BorrowedFd<'_>, WallError> {
        Ok(self.wall()?.fd().map_err(WallError::Verifier)?.as_fd())
    }

    /// A map's file descriptor.
    pub(crate) fn map(&self, name: &'static str) -> Result<BorrowedFd<'_>, WallError> {
        let map = self.ebpf.map(name).ok_or(WallError::Object(name))?;
        let data = match map {
            aya::maps::Map::Array(data)
            | aya::maps::Map::PerCpuArray(data)
            | aya::maps::Map::RingBuf(data) => data,
            _ => return Err(WallError::Object(name)),
        };
        Ok(data.fd().as_fd())
    }

    pub(crate) fn take_map(&mut self, name: &'static str) -> Result<aya::maps::Map, WallError> {
        self.ebpf.take_map(name).ok_or(WallError::Object(name))
    }

    /// Notes handshakes on this machine from now on.
    pub(crate) fn attach_handshake(&mut self, pins: &Pins) -> Result<(), WallError> {
        let program =
            self.ebpf.program_mut("handshake").ok_or(WallError::Object("program handshake"))?;
        let program: &mut SockOps = program.try_into().map_err(WallError::Verifier)?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(error) => return Err(WallError::Verifier(error)),
        }
        let program = program.fd().map_err(WallError::Verifier)?.as_fd();
        let path = pins.handshake();
        let failed = |source| WallError::Handshake { source };
        if let Ok(link) = kernel::open_pinned(&path)
            && kernel::link_update(link.as_fd(), program).is_ok()
        {
            return Ok(());
        }
        remove(&path).map_err(failed)?;
        let group = File::open(cgroup_root().map_err(failed)?).map_err(failed)?;
        let link = kernel::link_create(program, kernel::target(&group), AttachType::SockOps, 0)
            .map_err(failed)?;
        kernel::pin(link.as_fd(), &path).map_err(failed)
    }
}

fn xdp_mut<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, WallError> {
    let program = ebpf.program_mut(name).ok_or(WallError::Object(name))?;
    program.try_into().map_err(WallError::Verifier)
}

/// The side that an interface looks at.
pub(crate) fn side(role: Role) -> Side {
    Side { internet: role != Role::Customers, customers: role != Role::Internet }
}

/// Attaches a program to an interface, or puts it into the place of the one before it there.
pub(crate) fn attach(
    pins: &Pins,
    interface: &InterfaceConfig,
    program: BorrowedFd<'_>,
) -> Result<Mode, WallError> {
    let name = interface.name.as_str();
    let Some(index) = kernel::ifindex(name) else {
        return Err(WallError::NoInterface { name: name.to_owned() });
    };
    let wanted = match interface.mode {
        AttachMode::Native => Some(Mode::Native),
        AttachMode::Generic => Some(Mode::Generic),
        AttachMode::Auto => None,
    };
    for link in pins.links().map_err(|source| WallError::attach(name, source))? {
        if link.interface != name {
            continue;
        }
        let alive = kernel::link_ifindex(link.fd.as_fd()).is_ok_and(|at| at == index);
        let fits = wanted.is_none_or(|wanted| wanted == link.mode);
        if alive && fits {
            // The old program stays if this fails: better than none.
            kernel::link_update(link.fd.as_fd(), program)
                .map_err(|source| WallError::attach(name, source))?;
            return Ok(link.mode);
        }
        // Left from an interface that went, or attached in another mode.
        link.remove().map_err(|source| WallError::attach(name, source))?;
    }
    let native = || create(pins, name, index, program, Mode::Native);
    let generic = || create(pins, name, index, program, Mode::Generic);
    match wanted {
        Some(Mode::Native) => native(),
        Some(Mode::Generic) => generic(),
        None => native().or_else(|error| match error {
            // Somebody else's program: a place in the stack behind it is no protection.
            WallError::Attach { ref source, .. } if source.raw_os_error() == Some(libc::EBUSY) => {
                Err(error)
            }
            _ => generic().map_err(|_| error),
        }),
    }
}

fn create(
    pins: &Pins,
    name: &str,
    index: u32,
    program: BorrowedFd<'_>,
    mode: Mode,
) -> Result<Mode, WallError> {
    let flags = match mode {
        Mode::Native => XDP_FLAGS_DRV_MODE,
        Mode::Generic => XDP_FLAGS_SKB_MODE,
    };
    let attach = || -> io::Result<OwnedFd> {
        let link = kernel::link_create(program, index, AttachType::Xdp, flags)?;
        kernel::pin(link.as_fd(), &pins.link(name, mode))?;
        Ok(link)
    };
    attach().map(|_| mode).map_err(|source| WallError::attach(name, source))
}

/// Where the control groups of version 2 are mounted.
fn cgroup_root() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(path))
        })
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup2 file system is mounted"))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
