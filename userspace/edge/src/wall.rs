//! The wall as one thing: started, reloaded, asked, and left standing when the daemon goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use muralla_abi::bans::{Ban, Cause};
use muralla_abi::layout::{ABI, BAN_LINES, COUNTERS, Counter, Timing, counter_place};
use muralla_abi::limit;
use muralla_abi::prefix::ENTRIES;
use muralla_abi::sample::Sample;
use muralla_abi::table::Seeds;
use muralla_abi::verdict::{Reason, Verdict};
use rustix::time::{ClockId, clock_gettime};
use tracing::{info, warn};

use crate::ban_table::Wanted;
use crate::config::{EdgeConfig, InterfaceConfig, Role};
use crate::kernel::{self, Shared};
use crate::keyring::Keyring;
use crate::offenders::{Judgement, Offence, Offenders};
use crate::pins::Pins;
use crate::policy::{Image, compile, image_lines};
use crate::programs::Loaded;
use crate::ring::Samples;
use crate::state::State;
use crate::talkers::{Talkers, Top};

mod blocks;
mod error;
mod interface;
mod publish;
mod status;

use interface::Interface;
use publish::{Addresses, ReadFeed, holder, lists, load, own_addresses, publish, read_feed};

pub use error::WallError;
pub use interface::{Mode, show};
pub use status::{
    BlockEntry, BlockRequest, CounterRow, FeedStatus, InterfaceEvent, InterfaceStatus, Reload,
    Status,
};

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

    /// The two clocks at one moment.
    fn clock_at(&self, unix: u64) -> Result<Clocks, WallError> {
        Ok(Clocks { unix, wall: self.clock()? / 1_000_000_000 })
    }

    /// What the wall's clock says, in nanoseconds.
    fn clock(&self) -> Result<u64, WallError> {
        self.interfaces.first().map_or(Ok(0), |interface| interface.program.now())
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
