//! The wall as one thing: started, reloaded, asked, and left standing when the daemon goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aya::EbpfError;
use aya::programs::ProgramError;
use ipnet::IpNet;
use muralla_abi::bans::{Ban, Cause};
use muralla_abi::layout::{
    ABI, BAN_LINES, COUNTERS, Counter, MAX_INTERFACES, Timing, counter_place,
};
use muralla_abi::limit;
use muralla_abi::prefix::ENTRIES;
use muralla_abi::sample::Sample;
use muralla_abi::table::Seeds;
use muralla_abi::verdict::{Reason, Verdict};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::ban_table::{BanTable, TableError, Wanted, blockable};
use crate::config::{EdgeConfig, FeedConfig, InterfaceConfig, Role, RuleMode};
use crate::feeds::{self, FeedError};
use crate::kernel::{self, Shared};
use crate::keyring::Keyring;
use crate::offenders::{Judgement, Offence, Offenders};
use crate::pins::Pins;
use crate::policy::{CompileError, Image, Lists, compile, image_lines};
use crate::programs::{self, Loaded};
use crate::ring::Samples;
use crate::state::{Block, State};
use crate::talkers::{Talkers, Top};

/// A wall that stands, and the only one to change it.
pub struct Wall {
    config: EdgeConfig,
    pins: Pins,
    state_file: PathBuf,
    state: State,
    dirty: bool,
    offenders: Offenders,
    talkers: Talkers,
    feeds: Vec<ReadFeed>,
    own: Addresses,
    keyring: Keyring,
    seeds: Seeds,
    generation: u64,
    prefixes: u64,
    policy_lines: u32,
    limiter_lines: u32,
    holder: OwnedFd,
    limiter: Shared,
    bans: Shared,
    ban_hits: Shared,
    interfaces: Vec<Interface>,
    /// When idle slots of the limiter were last tidied, in seconds since 1970.
    limiter_tidied: u64,
    started: u64,
}

/// One protected interface.
struct Interface {
    config: InterfaceConfig,
    program: Loaded,
    attached: Option<(u32, Mode)>,
    problem: Option<String>,
}

/// A feed as it was read last.
#[derive(Clone, Debug)]
struct ReadFeed {
    prefixes: Vec<IpNet>,
    modified: Option<SystemTime>,
    problem: Option<String>,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By the driver, before the kernel has made anything of the frame.
    Native,
    /// In the network stack: many times slower.
    Generic,
}

impl Mode {
    /// Its name in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

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

    fn map(map: &'static str) -> impl FnOnce(io::Error) -> Self {
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

/// What a reload changed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Reload {
    /// The policy's number.
    pub generation: u64,
    /// Prefixes in it.
    pub prefixes: u64,
    /// Whether programs were replaced too.
    pub programs_replaced: bool,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// What happened to an interface.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InterfaceEvent {
    /// The interface.
    pub interface: String,
    /// In words.
    pub event: String,
    /// Whether it is protected now.
    pub attached: bool,
}

/// How the wall stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// Version of the layout.
    pub abi: u32,
    /// When the daemon started, in seconds since 1970.
    pub started: u64,
    /// The policy's number.
    pub policy_generation: u64,
    /// Prefixes in the policy.
    pub prefixes: u64,
    /// Slots of the limiter.
    pub limiter_slots: u64,
    /// Those that hold a source or network ahead of its rate now; estimated from a part of the table.
    pub limiter_used: u64,
    /// Updates of the limiter lost to another CPU.
    pub limiter_races: u64,
    /// Nanoseconds that the program takes for a packet, over all that were timed; none before the first.
    pub ns_per_packet: Option<f64>,
    /// The interfaces.
    pub interfaces: Vec<InterfaceStatus>,
    /// The feeds.
    pub feeds: Vec<FeedStatus>,
    /// The services' names, in the order of their numbers.
    pub services: Vec<String>,
    /// Blocks by the operator.
    pub blocks: u64,
    /// Bans of offenders.
    pub bans: u64,
}

/// How an interface is protected.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index; none while it is not there.
    pub ifindex: Option<u32>,
    /// Which side it looks at.
    pub role: Role,
    /// How the program is attached.
    pub mode: Option<Mode>,
    /// Whether it is.
    pub attached: bool,
    /// Why not, or why not well.
    pub problem: Option<String>,
    /// Packets that the interface received.
    pub rx_packets: u64,
    /// Packets that the kernel dropped for want of room.
    pub rx_dropped: u64,
    /// Packets that the card dropped before anyone saw them.
    pub rx_missed: u64,
}

/// How a feed is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FeedStatus {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Whether it acts.
    pub mode: RuleMode,
    /// Prefixes in force.
    pub prefixes: u64,
    /// Age of the file in force, in seconds.
    pub age_seconds: Option<u64>,
    /// Whether that is too old.
    pub stale: bool,
    /// Why the file was refused; what it said before stays in force.
    pub problem: Option<String>,
}

/// What was counted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CounterRow {
    /// The interface.
    pub interface: String,
    /// The service.
    pub service: String,
    /// The reason's name.
    pub reason: String,
    /// The verdict's name.
    pub verdict: String,
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// A block that the operator wants.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BlockRequest {
    /// Whom.
    pub prefix: IpNet,
    /// Why.
    #[serde(default)]
    pub note: String,
    /// For how long; none for ever.
    pub ttl: Option<Duration>,
    /// From what; none for everything.
    pub services: Option<Vec<String>>,
}

/// A block in force.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BlockEntry {
    /// Whom.
    pub prefix: IpNet,
    /// `operator` or `offence`.
    pub origin: String,
    /// Why.
    pub note: String,
    /// Seconds left; none for ever.
    pub expires_in: Option<u64>,
    /// Packets it has met.
    pub hits: u64,
    /// From what; empty for everything.
    pub services: Vec<String>,
}

/// Takes the programs off all interfaces and removes the pins. Needs no daemon.
pub fn detach(pin_dir: &Path) -> Result<Vec<String>, WallError> {
    let pins = Pins::view(pin_dir);
    let interfaces =
        pins.clear().map_err(|source| WallError::PinDir { dir: pin_dir.to_owned(), source })?;
    pins.remove_folders();
    Ok(interfaces)
}

/// One moment, in seconds since 1970 and of the wall's clock.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    unix: u64,
    wall: u64,
}

impl Clocks {
    /// The second of the wall's clock at a later moment given in seconds since 1970.
    fn second(self, until: u64) -> u32 {
        let left = until.saturating_sub(self.unix);
        u32::try_from(self.wall.saturating_add(left)).unwrap_or(Ban::NEVER - 1)
    }
}

/// What is attached, from the pins alone. Needs no daemon.
pub fn show(pin_dir: &Path) -> Result<Vec<InterfaceStatus>, WallError> {
    let links = Pins::view(pin_dir)
        .links()
        .map_err(|source| WallError::PinDir { dir: pin_dir.to_owned(), source })?;
    Ok(links
        .iter()
        .map(|link| {
            let attached = kernel::link_ifindex(link.fd.as_fd()).ok().filter(|index| *index != 0);
            let current = kernel::ifindex(&link.interface);
            let problem = (attached.is_none() || attached != current).then(|| {
                "the interface went away; the daemon attaches to it when it is back".to_owned()
            });
            interface_status(
                &link.interface,
                Role::Both,
                attached.map(|index| (index, link.mode)),
                problem,
            )
        })
        .collect())
}

fn interface_status(
    name: &str,
    role: Role,
    attached: Option<(u32, Mode)>,
    problem: Option<String>,
) -> InterfaceStatus {
    let [rx_packets, rx_dropped, rx_missed] = receive_statistics(name);
    InterfaceStatus {
        name: name.to_owned(),
        ifindex: kernel::ifindex(name),
        role,
        mode: attached.map(|(_, mode)| mode),
        attached: attached.is_some(),
        problem,
        rx_packets,
        rx_dropped,
        rx_missed,
    }
}

/// Received, dropped and missed packets of an interface. A process that was moved to another network namespace sees
/// the old one's in `/sys`; there is no count of missed packets by itself elsewhere.
fn receive_statistics(name: &str) -> [u64; 3] {
    let read = |file: &str| {
        let text = fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    if read("ifindex").is_some_and(|index| kernel::ifindex(name).map(u64::from) == Some(index)) {
        return ["rx_packets", "rx_dropped", "rx_missed_errors"]
            .map(|counter| read(&format!("statistics/{counter}")).unwrap_or(0));
    }
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let line =
        devices.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'));
    let counters: Vec<u64> =
        line.unwrap_or_default().split_whitespace().map_while(|word| word.parse().ok()).collect();
    // Bytes, packets, errors, dropped.
    let column = |column: usize| counters.get(column).copied().unwrap_or(0);
    [column(1), column(3), 0]
}

impl Wall {
    /// Builds the wall, or takes over the one that stands: maps, bans and limits go on where they were, and each
    /// interface's program is replaced between one packet and the next. An interface that is not there, or can't
    /// be protected, is reported by [`Wall::status`] and tried again by [`Wall::heal`].
    ///
    /// `state` is the file in which blocks and bans outlive a reboot.
    pub fn start(config: EdgeConfig, state: &Path) -> Result<Self, WallError> {
        let pins = Pins::own(&config.pin_dir)?;
        let now = unix_now();
        let (stored, complaint) = State::read(state);
        if let Some(complaint) = complaint {
            warn!("{complaint}");
        }
        let offenders = match stored.offenders.clone() {
            Some(snapshot) => Offenders::restore(config.bans.clone(), snapshot, now),
            None => Offenders::new(config.bans.clone()),
        };
        let policy_lines = image_lines(config.max_prefixes);
        let limiter_lines = limiter_lines(config.limiter_sources);
        let maps = pins.maps(policy_lines, limiter_lines);
        fs::create_dir_all(&maps)
            .map_err(|source| WallError::PinDir { dir: maps.clone(), source })?;
        let keyring = Keyring::open(&maps.join("KEYRING")).map_err(WallError::map("KEYRING"))?;
        let (seeds, generation) = (keyring.seeds(), keyring.generation() + 1);

        let feeds: Vec<ReadFeed> =
            config.feeds.iter().map(|feed| read_feed(feed, None, state)).collect();
        let own = own_addresses()?;
        let lists = lists(&config, &stored, &own, &feeds)?;
        let image = compile(&config, &lists, &seeds, generation, policy_lines)?;
        let (policy, prefixes) = (publish(&image)?, image.prefixes);
        let holder = holder(&maps.join("POLICY"), &policy).map_err(WallError::map("POLICY"))?;

        let mut interfaces = load(&config, &maps, limiter_lines, &seeds)?;
        // Now that its programs are accepted, the policy takes the place of the one that stands.
        kernel::hold(holder.as_fd(), policy.as_fd()).map_err(WallError::map("POLICY"))?;
        keyring.set_generation(generation);
        let Some(first) = interfaces.first_mut() else {
            return Err(WallError::NoInterface { name: "at all".to_owned() });
        };
        let shared = |first: &Interface, name, words| {
            Shared::new(first.program.map(name)?, words).map_err(WallError::map(name))
        };
        let limiter = shared(first, "LIMITER", limiter_lines as usize * 8)?;
        let bans = shared(first, "BANS", (BAN_LINES as usize + 1) * 8)?;
        let ban_hits = shared(first, "BAN_HITS", (BAN_LINES as usize + 1) * ENTRIES as usize)?;
        if let Err(error) = first.program.attach_handshake(&pins) {
            warn!("{error}");
        }
        let mut wall = Self {
            pins,
            state_file: state.to_owned(),
            state: stored,
            dirty: false,
            offenders,
            talkers: Talkers::new(1_024),
            feeds,
            own,
            keyring,
            seeds,
            generation,
            prefixes,
            policy_lines,
            limiter_lines,
            holder,
            limiter,
            bans,
            ban_hits,
            interfaces,
            limiter_tidied: now,
            started: now,
            config,
        };
        wall.offenders.sweep(now);
        if let Err(error) = wall.reconcile_bans() {
            warn!("not every block and ban is in force: {error}");
        }
        wall.tidy_limiter()?;
        wall.attach_all();
        wall.detach_others();
        if let Err(error) = wall.pins.forget_other_maps(Some(&maps)) {
            warn!("maps of another size or version stay pinned: {error}");
        }
        Ok(wall)
    }

    /// Applies a configuration, whole or not at all.
    pub fn reload(&mut self, config: EdgeConfig) -> Result<Reload, WallError> {
        let mut warnings = Vec::new();
        if image_lines(config.max_prefixes) != self.policy_lines
            || limiter_lines(config.limiter_sources) != self.limiter_lines
        {
            warnings.push(
                "max_prefixes and limiter_sources take effect at the next restart of the daemon, which loses no packet"
                    .to_owned(),
            );
        }
        if config.pin_dir != self.config.pin_dir {
            warnings
                .push("pin_dir takes effect after `muralla edge detach` and a restart".to_owned());
        }
        let known: BTreeMap<&Path, &ReadFeed> =
            self.config.feeds.iter().map(|feed| feed.file.as_path()).zip(&self.feeds).collect();
        let feeds: Vec<ReadFeed> = config
            .feeds
            .iter()
            .map(|feed| {
                let before = known.get(feed.file.as_path()).copied();
                read_feed(feed, before, &self.state_file)
            })
            .collect();
        warnings.extend(feeds.iter().filter_map(|feed| feed.problem.clone()));
        let own = own_addresses()?;
        let image = self.compile(&config, &own, &feeds)?;
        let sides = |interfaces: &[InterfaceConfig]| -> Vec<(String, Role)> {
            interfaces.iter().map(|interface| (interface.name.clone(), interface.role)).collect()
        };
        let programs_replaced = sides(&config.interfaces) != sides(&self.config.interfaces);
        let replaced = if programs_replaced {
            let maps = self.pins.maps(self.policy_lines, self.limiter_lines);
            Some(load(&config, &maps, self.limiter_lines, &self.seeds)?)
        } else {
            None
        };

        // Nothing can fail from here on.
        self.publish(&image)?;
        (self.feeds, self.own) = (feeds, own);
        self.offenders.configure(config.bans.clone(), unix_now());
        match replaced {
            Some(interfaces) => self.interfaces = interfaces,
            None => {
                for (interface, config) in self.interfaces.iter_mut().zip(&config.interfaces) {
                    interface.configure(config, &self.pins);
                }
            }
        }
        self.config = config;
        // Services may have other numbers now.
        if let Err(error) = self.reconcile_bans() {
            warnings.push(format!("not every block and ban is in force: {error}"));
        }
        self.attach_all();
        self.detach_others();
        warnings.extend(self.interfaces.iter().filter_map(|interface| interface.problem.clone()));
        Ok(Reload {
            generation: self.generation,
            prefixes: self.prefixes,
            programs_replaced,
            warnings,
        })
    }

    /// Reads feeds, lists and the machine's addresses again, under the same configuration. A feed that is refused
    /// stays as it was.
    pub fn refresh(&mut self) -> Result<Reload, WallError> {
        self.reload(self.config.clone())
    }

    /// Whether a file that the policy was made from, or an address of this machine, has changed since.
    pub fn outdated(&self) -> bool {
        let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
        let feeds = self
            .config
            .feeds
            .iter()
            .zip(&self.feeds)
            .any(|(feed, read)| modified(&feed.file) != read.modified);
        feeds || own_addresses().is_ok_and(|own| own != self.own)
    }

    /// Attaches to interfaces that came (back), and where somebody took the program off.
    pub fn heal(&mut self) -> Vec<InterfaceEvent> {
        let mut events = Vec::new();
        for interface in &mut self.interfaces {
            if interface.stands(&self.pins) {
                continue;
            }
            let before = (interface.attached.take(), interface.problem.clone());
            interface.attach(&self.pins);
            let after = (interface.attached, interface.problem.clone());
            if before != after {
                events.push(InterfaceEvent {
                    interface: interface.config.name.clone(),
                    event: interface.words(),
                    attached: interface.attached.is_some(),
                });
            }
        }
        events
    }

    /// How the wall stands.
    pub fn status(&self) -> Status {
        let timing = self.timing().unwrap_or_default();
        let entries = self.offenders.active(unix_now());
        Status {
            abi: ABI,
            started: self.started,
            policy_generation: self.generation,
            prefixes: self.prefixes,
            limiter_slots: u64::from(self.limiter_lines) * 8,
            limiter_used: self.limiter_used(),
            limiter_races: timing.races,
            ns_per_packet: (timing.timed > 0)
                .then(|| timing.nanoseconds as f64 / timing.timed as f64),
            interfaces: self.interfaces.iter().map(Interface::status).collect(),
            feeds: self
                .config
                .feeds
                .iter()
                .zip(&self.feeds)
                .map(|(feed, read)| read.status(feed))
                .collect(),
            services: self.service_names(),
            blocks: self.state.blocks.len() as u64,
            bans: entries.len() as u64,
        }
    }

    /// The services' names, in the order of their numbers.
    pub fn service_names(&self) -> Vec<String> {
        self.config.services.iter().map(|service| service.name.clone()).collect()
    }

    /// Names of the interfaces that are there, by index.
    pub fn interface_names(&self) -> BTreeMap<u32, String> {
        self.interfaces
            .iter()
            .filter_map(|interface| {
                let name = &interface.config.name;
                kernel::ifindex(name).map(|index| (index, name.clone()))
            })
            .collect()
    }

    /// Everything that was counted and is not zero.
    pub fn counters(&self) -> Result<Vec<CounterRow>, WallError> {
        let values = self.read_per_cpu("COUNTERS", COUNTERS, size_of::<Counter>())?;
        let cpus = values.len() / (COUNTERS as usize * 2);
        let rows = (0..).zip(values.chunks_exact(cpus.max(1) * 2)).filter_map(|(index, cpus)| {
            let (pairs, _) = cpus.as_chunks::<2>();
            let packets: u64 = pairs.iter().map(|[packets, _]| packets).sum();
            let bytes = pairs.iter().map(|[_, bytes]| bytes).sum();
            if packets == 0 {
                return None;
            }
            let (interface, service, reason, verdict) = counter_place(index);
            Some(CounterRow {
                interface: self.interface_name(interface),
                service: self.service_name(service),
                reason: Reason::from_u8(reason)?.name().to_owned(),
                verdict: Verdict::from_u8(verdict)?.name().to_owned(),
                packets,
                bytes,
            })
        });
        Ok(rows.collect())
    }

    /// The samples, once.
    pub fn samples(&mut self) -> Result<Samples, WallError> {
        let first = self.interfaces.first_mut().ok_or(WallError::SamplesTaken)?;
        let map = first.program.take_map("SAMPLES").map_err(|_| WallError::SamplesTaken)?;
        Samples::new(map)
    }

    /// Counts a sample among the busiest sources.
    pub fn observe(&mut self, sample: &Sample) {
        self.talkers.observe(sample, boot_now());
    }

    /// The busiest sources and networks now.
    pub fn top(&self, most: usize) -> Top {
        self.talkers.top(most, boot_now())
    }

    /// Blocks a prefix. IPv6 is blocked by the first 64 bits at most; the answer says what was blocked.
    pub fn block(&mut self, request: BlockRequest) -> Result<IpNet, WallError> {
        let prefix = blockable(request.prefix);
        if prefix.prefix_len() == 0 {
            return Err(WallError::Everybody);
        }
        self.refuse_guarded(prefix)?;
        let names = request.services.unwrap_or_default();
        let services = self.service_bits(&names)?;
        let until = request.ttl.map(|ttl| unix_now().saturating_add(ttl.as_secs()));
        let clock = self.clock_at(unix_now())?;
        self.ban_table().set(&Wanted {
            prefix,
            cause: Cause::Operator,
            services,
            until: until.map_or(Ban::NEVER, |until| clock.second(until)),
        })?;
        let block = Block { note: request.note, until, services: names };
        self.state.blocks.insert(prefix, block);
        self.save()?;
        Ok(prefix)
    }

    /// Ends a block, or the ban of an offender, who starts with a clean sheet. Tells whether there was one.
    pub fn unblock(&mut self, prefix: IpNet) -> Result<bool, WallError> {
        let prefix = blockable(prefix);
        let blocked = self.state.blocks.remove(&prefix).is_some();
        let banned = self.offenders.pardon(prefix);
        self.ban_table().remove(prefix);
        self.reconcile_bans()?;
        self.save()?;
        Ok(blocked || banned)
    }

    /// Every block and ban in force.
    pub fn blocks(&self) -> Result<Vec<BlockEntry>, WallError> {
        let now = unix_now();
        let table = self.ban_table();
        let operator = self.state.blocks.iter().map(|(prefix, block)| BlockEntry {
            prefix: *prefix,
            origin: "operator".to_owned(),
            note: block.note.clone(),
            expires_in: block.until.map(|until| until.saturating_sub(now)),
            hits: table.hits(*prefix),
            services: block.services.clone(),
        });
        let offence = self
            .offenders
            .active(now)
            .into_iter()
            .filter(|ban| !self.state.blocks.contains_key(&ban.prefix))
            .map(|ban| BlockEntry {
                prefix: ban.prefix,
                origin: "offence".to_owned(),
                hits: table.hits(ban.prefix),
                note: ban.reason,
                expires_in: Some(ban.until.saturating_sub(now)),
                services: vec![ban.service],
            });
        Ok(operator.chain(offence).collect())
    }

    /// Allows a prefix until [`Wall::disallow`], through restarts.
    pub fn allow(&mut self, prefix: IpNet) -> Result<(), WallError> {
        let added = self.state.allowed.insert(prefix.trunc());
        let done = self.refresh().map(drop);
        if done.is_err() && added {
            self.state.allowed.remove(&prefix.trunc());
        }
        done?;
        self.save()
    }

    /// Ends what [`Wall::allow`] began. Tells whether there was such a prefix.
    pub fn disallow(&mut self, prefix: IpNet) -> Result<bool, WallError> {
        let removed = self.state.allowed.remove(&prefix.trunc());
        if removed {
            self.refresh()?;
            self.save()?;
        }
        Ok(removed)
    }

    /// Judges a source by what a service saw it do.
    pub fn report(&mut self, offence: &Offence) -> Result<Judgement, WallError> {
        self.service_bits(std::slice::from_ref(&offence.service))?;
        let guarded = self.guarded();
        let protected = |ip: IpAddr| guarded.iter().any(|(prefix, _)| prefix.contains(&ip));
        let judgement = self.offenders.report(offence, unix_now(), protected);
        // More evidence against one who is banned already changes nothing in the kernel.
        if let Judgement::Banned { prefix, seconds } = judgement {
            let now = unix_now();
            let until = self.clock_at(now)?.second(now.saturating_add(seconds));
            // The two clocks may differ by a second.
            if self
                .ban_table()
                .until(prefix)
                .is_none_or(|standing| standing.saturating_add(1) < until)
            {
                let services = self.service_bits(std::slice::from_ref(&offence.service))?;
                self.ban_table().set(&Wanted { prefix, cause: Cause::Offence, services, until })?;
                self.save()?;
            }
        }
        self.dirty = true;
        Ok(judgement)
    }

    /// Notes that a customer proved himself behind an address: one that several share is limited, not banned.
    pub fn customer_seen(&mut self, source: IpAddr, account: &str) {
        self.offenders.customer_seen(source, account, unix_now());
        self.dirty = true;
    }

    /// Forgets what has expired, and writes the state if it changed. To be called each second.
    pub fn sweep(&mut self) -> Result<(), WallError> {
        const HOUR: u64 = 3_600;
        let now = unix_now();
        if now.saturating_sub(self.limiter_tidied) >= HOUR {
            self.tidy_limiter()?;
            self.limiter_tidied = now;
        }
        let ended = self.offenders.sweep(now);
        let blocks = self.state.blocks.len();
        self.state.blocks.retain(|_, block| block.until.is_none_or(|until| until > now));
        let expired = self.state.blocks.len() != blocks;
        if expired || !ended.is_empty() {
            self.reconcile_bans()?;
            self.dirty = true;
        }
        // Scores change with each report: once in ten seconds is often enough to write them down.
        if expired || self.dirty && now.is_multiple_of(10) {
            self.save()?;
        }
        Ok(())
    }

    /// The configuration in force.
    pub fn config(&self) -> &EdgeConfig {
        &self.config
    }

    /// The interfaces' programs, for tests and measurements.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &Loaded)> {
        self.interfaces.iter().map(|interface| (interface.config.name.as_str(), &interface.program))
    }

    /// The first interface's programs, to load the one that the others are measured against.
    pub fn first_program(&mut self) -> Option<&mut Loaded> {
        self.interfaces.first_mut().map(|interface| &mut interface.program)
    }

    fn compile(
        &self,
        config: &EdgeConfig,
        own: &Addresses,
        feeds: &[ReadFeed],
    ) -> Result<Image, WallError> {
        let lists = lists(config, &self.state, own, feeds)?;
        let generation = self.generation + 1;
        Ok(compile(config, &lists, &self.seeds, generation, self.policy_lines)?)
    }

    fn publish(&mut self, image: &Image) -> Result<(), WallError> {
        let policy = publish(image)?;
        kernel::hold(self.holder.as_fd(), policy.as_fd()).map_err(WallError::map("POLICY"))?;
        self.generation += 1;
        self.keyring.set_generation(self.generation);
        self.prefixes = image.prefixes;
        Ok(())
    }

    fn attach_all(&mut self) {
        for interface in &mut self.interfaces {
            interface.attach(&self.pins);
            match &interface.problem {
                Some(problem) => warn!("{problem}"),
                None => info!("{}", interface.words()),
            }
        }
    }

    /// Takes the program off interfaces that are no longer configured.
    fn detach_others(&self) {
        let wanted: BTreeSet<&str> =
            self.config.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        let links = self.pins.links().unwrap_or_default();
        for link in links.into_iter().filter(|link| !wanted.contains(link.interface.as_str())) {
            let name = link.interface.clone();
            match link.remove() {
                Ok(()) => info!("{name}: no longer protected, as configured"),
                Err(error) => warn!("{name}: the program can not be taken off: {error}"),
            }
        }
    }

    fn ban_table(&self) -> BanTable<'_, Seeds> {
        BanTable { bans: &self.bans, hits: &self.ban_hits, key: &self.seeds }
    }

    /// Makes the kernel's table say what the state says. What doesn't fit is left out, and told.
    fn reconcile_bans(&self) -> Result<(), WallError> {
        let clock = self.clock_at(unix_now())?;
        let mut wanted = Vec::new();
        for (prefix, block) in &self.state.blocks {
            // A service that is no longer configured has no number: the entry is kept, without effect.
            let services = self.service_bits(&block.services).unwrap_or(0);
            let until = block.until.map_or(Ban::NEVER, |until| clock.second(until));
            wanted.push(Wanted { prefix: *prefix, cause: Cause::Operator, services, until });
        }
        for ban in self.offenders.active(unix_now()) {
            if !self.state.blocks.contains_key(&ban.prefix) {
                let services = self.service_bits(std::slice::from_ref(&ban.service)).unwrap_or(0);
                let until = clock.second(ban.until);
                wanted.push(Wanted { prefix: ban.prefix, cause: Cause::Offence, services, until });
            }
        }
        Ok(self.ban_table().reconcile(&wanted)?)
    }

    /// The two clocks at one moment.
    fn clock_at(&self, unix: u64) -> Result<Clocks, WallError> {
        Ok(Clocks { unix, wall: self.clock()? / 1_000_000_000 })
    }

    /// What the wall's clock says, in nanoseconds.
    fn clock(&self) -> Result<u64, WallError> {
        self.interfaces.first().map_or(Ok(0), |interface| interface.program.now())
    }

    fn service_bits(&self, services: &[String]) -> Result<u16, WallError> {
        if services.is_empty() {
            return Ok(1);
        }
        services.iter().try_fold(0, |bits, name| {
            let number = self.config.services.iter().position(|service| service.name == *name);
            match number {
                Some(number) if number > 0 => Ok(bits | 1 << number),
                _ => Err(WallError::NoService {
                    name: name.clone(),
                    known: self.service_names().get(1..).unwrap_or_default().join(", "),
                }),
            }
        })
    }

    /// Everybody who must not be cut off, and what he is.
    fn guarded(&self) -> Vec<(IpNet, &'static str)> {
        let hosts = self.own.values().flatten();
        let hosts = hosts.map(|net| (IpNet::from(net.addr()), "an address of this machine"));
        let own = self.config.own.iter().map(|prefix| (*prefix, "configured as our own"));
        let protected = self.config.protected.iter().map(|prefix| (*prefix, "protected"));
        hosts.chain(own).chain(protected).collect()
    }

    fn refuse_guarded(&self, prefix: IpNet) -> Result<(), WallError> {
        let overlaps = |guarded: &IpNet| guarded.contains(&prefix) || prefix.contains(guarded);
        match self.guarded().into_iter().find(|(guarded, _)| overlaps(guarded)) {
            Some((guarded, why)) => Err(WallError::Guarded { prefix, guarded, why }),
            None => Ok(()),
        }
    }

    fn save(&mut self) -> Result<(), WallError> {
        self.state.offenders = Some(self.offenders.snapshot(unix_now()));
        self.state
            .write(&self.state_file)
            .map_err(|source| WallError::State { path: self.state_file.clone(), source })?;
        self.dirty = false;
        Ok(())
    }

    fn read_per_cpu(
        &self,
        map: &'static str,
        entries: u32,
        size: usize,
    ) -> Result<Vec<u64>, WallError> {
        let first = self.interfaces.first().ok_or(WallError::Object(map))?;
        kernel::read_per_cpu(first.program.map(map)?, entries, size).map_err(WallError::map(map))
    }

    fn timing(&self) -> Result<Timing, WallError> {
        let values = self.read_per_cpu("TIMING", 1, size_of::<Timing>())?;
        let (cpus, _) = values.as_chunks::<4>();
        Ok(cpus.iter().fold(Timing::default(), |sum, [packets, timed, nanoseconds, races]| {
            Timing {
                packets: sum.packets + packets,
                timed: sum.timed + timed,
                nanoseconds: sum.nanoseconds + nanoseconds,
                races: sum.races + races,
            }
        }))
    }

    /// Puts idle slots of the limiter where they can't be taken for busy ones: see [`limit::idle`].
    fn tidy_limiter(&self) -> Result<(), WallError> {
        let now = self.clock()? >> limit::TICK_SHIFT;
        for word in self.limiter.words() {
            let old = word.load(Ordering::Relaxed);
            if !limit::busy(old, now) {
                // Lost to a packet: then the slot is not idle.
                let _ = word.compare_exchange(
                    old,
                    limit::idle(now),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
        }
        Ok(())
    }

    /// Slots in use, from one line in sixteen.
    fn limiter_used(&self) -> u64 {
        const STEP: usize = 16;
        let Ok(now) = self.clock().map(|now| now >> limit::TICK_SHIFT) else { return 0 };
        let lines = self.limiter.lines().iter().step_by(STEP);
        let busy =
            lines.flatten().filter(|word| limit::busy(word.load(Ordering::Relaxed), now)).count();
        (busy * STEP) as u64
    }

    fn interface_name(&self, slot: u32) -> String {
        let interface = self.interfaces.get(slot as usize);
        interface.map_or_else(|| format!("#{slot}"), |interface| interface.config.name.clone())
    }

    fn service_name(&self, number: u8) -> String {
        let service = self.config.services.get(usize::from(number));
        service.map_or_else(|| format!("#{number}"), |service| service.name.clone())
    }
}

impl Interface {
    /// Takes on a configuration. One that no longer asks for generic mode lets the driver be asked again, for which
    /// the program must be taken off first; otherwise a link is left as it is.
    fn configure(&mut self, config: &InterfaceConfig, pins: &Pins) {
        let generic = self.attached.is_some_and(|(_, mode)| mode == Mode::Generic);
        if generic && config.mode != self.config.mode {
            let links = pins.links().unwrap_or_default();
            for link in links.into_iter().filter(|link| link.interface == config.name) {
                if let Err(error) = link.remove() {
                    warn!("{}: generic mode can not be left: {error}", config.name);
                }
            }
            self.attached = None;
        }
        self.config = config.clone();
    }

    fn attach(&mut self, pins: &Pins) {
        let result = self
            .program
            .wall_fd()
            .and_then(|program| programs::attach(pins, &self.config, program));
        let name = &self.config.name;
        match result {
            Ok(mode) => {
                self.attached = kernel::ifindex(name).map(|index| (index, mode));
                let fell_back =
                    mode == Mode::Generic && self.config.mode == crate::config::AttachMode::Auto;
                self.problem = fell_back.then(|| {
                    format!(
                        "{name}: GENERIC MODE: the driver refused native XDP, so floods cost many times more; \
                         set mode = \"generic\" if that is meant"
                    )
                });
            }
            Err(error) => {
                self.attached = None;
                self.problem = Some(error.to_string());
            }
        }
    }

    /// Whether the program is where it was attached, asked of the kernel.
    fn stands(&self, pins: &Pins) -> bool {
        let name = &self.config.name;
        self.attached.is_some_and(|(index, mode)| {
            let link = kernel::open_pinned(&pins.link(name, mode));
            let at = link.and_then(|link| kernel::link_ifindex(link.as_fd()));
            kernel::ifindex(name) == Some(index) && at.is_ok_and(|at| at == index)
        })
    }

    fn words(&self) -> String {
        let name = &self.config.name;
        match (&self.problem, self.attached) {
            (Some(problem), _) => problem.clone(),
            (None, Some((_, mode))) => format!("{name}: protected, {}", mode.name()),
            (None, None) => format!("{name}: not protected"),
        }
    }

    fn status(&self) -> InterfaceStatus {
        interface_status(&self.config.name, self.config.role, self.attached, self.problem.clone())
    }
}

impl ReadFeed {
    fn status(&self, config: &FeedConfig) -> FeedStatus {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        FeedStatus {
            name: config.name.clone(),
            file: config.file.display().to_string(),
            mode: config.mode,
            prefixes: self.prefixes.len() as u64,
            age_seconds: age.map(|age| age.as_secs()),
            stale: !config.max_age.is_zero() && age.is_none_or(|age| age > config.max_age),
            problem: self.problem.clone(),
        }
    }
}

/// What holds the policy in force: the one that stands, with its policy, or a new one with this.
fn holder(path: &Path, policy: &OwnedFd) -> io::Result<OwnedFd> {
    match kernel::open_pinned(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let holder = kernel::create_holder("POLICY", policy.as_fd())?;
            kernel::hold(holder.as_fd(), policy.as_fd())?;
            kernel::pin(holder.as_fd(), path)?;
            Ok(holder)
        }
        holder => holder,
    }
}

/// Makes a map of an image.
fn publish(image: &Image) -> Result<OwnedFd, WallError> {
    let write = || -> io::Result<OwnedFd> {
        let map = kernel::create_lines("policy", image.lines.len() as u32)?;
        let shared = Shared::new(map.as_fd(), image.lines.len() * 8)?;
        for (to, from) in shared.words().iter().zip(image.lines.as_flattened()) {
            // The map is new and zero: pages that stay so are never touched.
            if *from != 0 {
                to.store(*from, Ordering::Relaxed);
            }
        }
        Ok(map)
    };
    write().map_err(WallError::map("POLICY"))
}

fn load(
    config: &EdgeConfig,
    maps: &Path,
    limiter_lines: u32,
    seeds: &Seeds,
) -> Result<Vec<Interface>, WallError> {
    let slots = 0..MAX_INTERFACES;
    slots
        .zip(&config.interfaces)
        .map(|(slot, interface)| {
            // Each side's source checks are for an interface that has that side alone.
            let side = programs::side(interface.role);
            let program = Loaded::new(maps, slot, side, limiter_lines, seeds)?;
            Ok(Interface { config: interface.clone(), program, attached: None, problem: None })
        })
        .collect()
}

/// Reads a feed. Where it can't be read now, what it said before stays: in the daemon's memory, or, at a start, in a
/// copy beside the state file.
fn read_feed(config: &FeedConfig, before: Option<&ReadFeed>, state: &Path) -> ReadFeed {
    let copy = state.with_file_name("feeds").join(&config.name);
    match feeds::read(&config.file) {
        Ok(feed) => {
            let known = before.and_then(|feed| feed.modified);
            if known != Some(feed.modified)
                && let Err(error) = keep_copy(&config.file, &copy)
            {
                warn!("feed {}: no copy can be kept for the next start: {error}", config.name);
            }
            ReadFeed { prefixes: feed.prefixes, modified: Some(feed.modified), problem: None }
        }
        Err(error) => {
            let kept = match before {
                Some(feed) => Some((feed.prefixes.clone(), feed.modified)),
                None => feeds::read(&copy).ok().map(|feed| (feed.prefixes, Some(feed.modified))),
            };
            let (prefixes, modified) = kept.unwrap_or_default();
            let standing =
                if prefixes.is_empty() { "none of it is" } else { "what it said before is" };
            let problem = Some(format!("feed {}: {error}; {standing} in force", config.name));
            ReadFeed { prefixes, modified, problem }
        }
    }
}

fn keep_copy(file: &Path, copy: &Path) -> io::Result<()> {
    if let Some(folder) = copy.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = copy.with_extension("new");
    fs::copy(file, &new)?;
    fs::rename(new, copy)
}

fn lists(
    config: &EdgeConfig,
    state: &State,
    own: &Addresses,
    feeds: &[ReadFeed],
) -> Result<Lists, WallError> {
    let mut allowed = config.allow.clone();
    allowed.extend(&state.allowed);
    for file in &config.allow_files {
        match feeds::read(file) {
            Ok(feed) => allowed.extend(feed.prefixes),
            // An allow list with nobody on it is what its owner wants.
            Err(error) if error.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut ours = config.own.clone();
    ours.extend(own.values().flatten().map(|net| IpNet::from(net.addr())));
    let customers = config.interfaces.iter().filter(|interface| interface.role != Role::Internet);
    let neighbours: Vec<IpNet> = customers
        .filter_map(|interface| own.get(&interface.name))
        .flatten()
        .map(IpNet::trunc)
        .collect();
    let feeds = feeds.iter().map(|feed| feed.prefixes.clone()).collect();
    Ok(Lists { protected: config.protected.clone(), allowed, own: ours, neighbours, feeds })
}

/// The machine's own addresses, with their networks, by interface.
type Addresses = BTreeMap<String, Vec<IpNet>>;

fn own_addresses() -> Result<Addresses, WallError> {
    kernel::addresses().map_err(WallError::map("addresses"))
}

/// Lines of the limiter's table for a number of sources.
fn limiter_lines(sources: u32) -> u32 {
    sources.div_ceil(8).clamp(64, 1 << 20).next_power_of_two()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// Time since boot, in the samples' clock.
fn boot_now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}
