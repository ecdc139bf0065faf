//! A wall that is loaded but attached to nothing, to run frames through.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions};
use ipnet::IpNet;
use muralla_abi::layout::counter_index;
use muralla_abi::verdict::{Reason, Verdict};
use muralla_edge::config::{
    AnyPolicy, AttachMode, BanConfig, EdgeConfig, InterfaceConfig, Limit, Role, RuleMode,
    ServiceConfig, ServiceKind,
};
use muralla_edge::wall::{Reload, Wall, detach};
use muralla_lab::frames::Frame;

use crate::host::FIRST_BUFFER;

pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;

/// The action of a verdict.
pub(crate) fn action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass | Verdict::Observe => XDP_PASS,
        Verdict::Drop => XDP_DROP,
        Verdict::Slip | Verdict::Answer => XDP_TX,
    }
}

/// A wall without interfaces, with a program for each that is configured.
pub(crate) struct Fixture {
    pub(crate) wall: Wall,
    /// Reasons that frames have met.
    pub(crate) met: BTreeSet<Reason>,
    counters: PerCpuArray<MapData, [u64; 2]>,
    counted: Counts,
    folder: tempfile::TempDir,
    _pins: Pins,
}

/// Pins that are gone when the test is over, however it ends.
pub(crate) struct Pins(pub(crate) PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = detach(&self.0);
    }
}

/// Packets and bytes by interface, service, reason and verdict.
pub(crate) type Counts = BTreeMap<(String, String, String, String), (u64, u64)>;

/// A row of a table: a frame that arrives on a side, and what has to become of it.
pub(crate) struct Case {
    name: String,
    role: Role,
    frame: Vec<u8>,
    service: &'static str,
    verdict: Verdict,
    reason: Reason,
}

/// A row. The side is [`Role::Both`] until [`Case::from`] says otherwise: no check of sources' sides.
pub(crate) fn case(
    name: impl Into<String>,
    frame: Frame,
    service: &'static str,
    verdict: Verdict,
    reason: Reason,
) -> Case {
    raw_case(name, frame.build(), service, verdict, reason)
}

pub(crate) fn raw_case(
    name: impl Into<String>,
    frame: Vec<u8>,
    service: &'static str,
    verdict: Verdict,
    reason: Reason,
) -> Case {
    Case { name: name.into(), role: Role::Both, frame, service, verdict, reason }
}

impl Case {
    pub(crate) fn from(self, role: Role) -> Self {
        Self { role, ..self }
    }
}

pub(crate) fn service(name: &str, kind: ServiceKind, ports: &[u16]) -> ServiceConfig {
    ServiceConfig {
        name: name.to_owned(),
        kind,
        ports: ports.to_vec(),
        mode: RuleMode::Enforce,
        source: None,
        world: None,
        global: None,
        reserve: None,
        stray: None,
        drop_fragments: true,
        slip: 1,
        any: AnyPolicy::Pass,
    }
}

pub(crate) fn limit(rate: f64, burst: f64) -> Option<Limit> {
    Some(Limit { rate, burst })
}

pub(crate) fn prefixes(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

/// The service of that name.
pub(crate) fn service_mut<'a>(config: &'a mut EdgeConfig, name: &str) -> &'a mut ServiceConfig {
    let mut services = config.services.iter_mut();
    services.find(|service| service.name == name).unwrap()
}

/// One interface that looks at both sides, every rule enforced and nothing limited.
pub(crate) fn config() -> EdgeConfig {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    EdgeConfig {
        interfaces: vec![interface(Role::Both)],
        customers: prefixes(&["100.64.0.0/16", "2001:db8:100::/40"]),
        nas: prefixes(&["100.64.255.0/24", "2001:db8:1ff::/48"]),
        own: prefixes(&["192.0.2.53/32", "2001:db8::53/128"]),
        mail_servers: prefixes(&["100.64.7.7/32", "2001:db8:107::/48"]),
        protected: prefixes(&["192.0.2.1/32", "2001:db8::1/128"]),
        allow: prefixes(&["9.9.9.0/24", "2620:fe::/48"]),
        allow_files: Vec::new(),
        block: prefixes(&["45.0.0.0/8", "2a00:bad::/32"]),
        feeds: Vec::new(),
        bogons: RuleMode::Enforce,
        antispoof: RuleMode::Enforce,
        impossible: RuleMode::Enforce,
        services: vec![
            service("other", ServiceKind::Any, &[]),
            service("outgoing_smtp", ServiceKind::Any, &[]),
            service("dns", ServiceKind::Dns, &[53]),
            service("dns_tcp", ServiceKind::Tcp, &[53]),
            service("radius_auth", ServiceKind::RadiusAuth, &[1812]),
            service("radius_acct", ServiceKind::RadiusAcct, &[1813]),
            service("radius_dyn", ServiceKind::RadiusDyn, &[3799]),
            service("smtp", ServiceKind::Tcp, &[25]),
            service("web", ServiceKind::Tcp, &[80, 443]),
        ],
        bans: BanConfig {
            mode: RuleMode::Enforce,
            threshold: 10.0,
            half_life: Duration::from_secs(600),
            first: Duration::from_secs(300),
            longest: Duration::from_secs(86_400),
            shared_after: 3,
        },
        limiter_sources: 4_096,
        max_prefixes: 10_000,
        pin_dir: format!("/sys/fs/bpf/muralla-test-{}-{number}", std::process::id()).into(),
    }
}

/// An interface that doesn't exist.
pub(crate) fn interface(role: Role) -> InterfaceConfig {
    let name = match role {
        Role::Internet => "mtinternet",
        Role::Customers => "mtcustomers",
        Role::Both => "mtboth",
    };
    InterfaceConfig { name: name.to_owned(), role, mode: AttachMode::Auto }
}

/// A program for each side.
pub(crate) fn every_side(config: &mut EdgeConfig) {
    config.interfaces = [Role::Internet, Role::Customers, Role::Both].map(interface).into();
}

impl Fixture {
    pub(crate) fn new(change: impl FnOnce(&mut EdgeConfig)) -> Self {
        // What the wall only warns of is told when a test fails.
        let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).try_init();
        let mut config = config();
        change(&mut config);
        let pins = Pins(config.pin_dir.clone());
        let folder = tempfile::tempdir().unwrap();
        let wall = Wall::start(config, &folder.path().join("state.json")).unwrap();
        let maps = fs::read_dir(&pins.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.join("COUNTERS").exists())
            .unwrap();
        let counters = MapData::from_pin(maps.join("COUNTERS")).unwrap();
        let counters = PerCpuArray::try_from(Map::PerCpuArray(counters)).unwrap();
        Self { wall, met: BTreeSet::new(), counters, counted: Counts::new(), folder, _pins: pins }
    }

    /// A folder for files of the test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where maps are pinned.
    pub(crate) fn pin_dir(&self) -> &Path {
        &self.wall.config().pin_dir
    }

    /// Changes the configuration in force.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut EdgeConfig)) -> Reload {
        let mut config = self.wall.config().clone();
        change(&mut config);
        self.wall.reload(config).unwrap()
    }

    /// Puts another configuration into force, but for what is bound to this wall.
    pub(crate) fn reset(&mut self) {
        let (interfaces, pin_dir) = {
            let config = self.wall.config();
            (config.interfaces.clone(), config.pin_dir.clone())
        };
        self.reload(|config| {
            *config = EdgeConfig { interfaces, pin_dir, ..self::config() };
        });
    }

    /// The program's answer to a frame, and the frame as it leaves.
    pub(crate) fn run(&self, role: Role, frame: &[u8]) -> (u32, Vec<u8>) {
        run(&self.wall, role, frame)
    }

    /// The verdict and reason for a frame on an interface of both sides, taken from the counters.
    pub(crate) fn judge(&mut self, frame: &Frame) -> (Verdict, Reason) {
        self.judge_from(Role::Both, frame)
    }

    pub(crate) fn judge_from(&mut self, role: Role, frame: &Frame) -> (Verdict, Reason) {
        let frame = frame.build();
        let (action_seen, _) = self.run(role, &frame);
        let counted = self.delta();
        assert_eq!(counted.len(), 1, "one packet has one reason: {counted:?}");
        let ((_, _, reason, verdict), (packets, bytes)) = counted.into_iter().next().unwrap();
        assert_eq!((packets, bytes), (1, counted_bytes(&frame)), "counted once");
        let verdict = Verdict::ALL.into_iter().find(|known| known.name() == verdict).unwrap();
        let reason = Reason::ALL.iter().find(|known| known.name() == reason).unwrap();
        assert_eq!(action_seen, action(verdict));
        self.met.insert(*reason);
        (verdict, *reason)
    }

    /// What was counted since the last look.
    fn delta(&mut self) -> Counts {
        let now = counts(&self.wall);
        let before = std::mem::replace(&mut self.counted, now);
        let delta = self.counted.iter().filter_map(|(key, (packets, bytes))| {
            let (packets_before, bytes_before) = before.get(key).copied().unwrap_or_default();
            let delta = (packets - packets_before, bytes - bytes_before);
            (delta != (0, 0)).then(|| (key.clone(), delta))
        });
        delta.collect()
    }

    /// One counter, as packets and bytes.
    pub(crate) fn counter(
        &self,
        role: Role,
        service: u8,
        reason: u8,
        verdict: Verdict,
    ) -> [u64; 2] {
        let interface = self.slot(role);
        let index = counter_index(interface, service, reason, verdict as u8);
        let values = self.counters.get(&index, 0).unwrap();
        values.iter().fold([0, 0], |sum, value| [sum[0] + value[0], sum[1] + value[1]])
    }

    fn slot(&self, role: Role) -> u32 {
        let name = interface(role).name;
        let mut interfaces = self.wall.config().interfaces.iter();
        interfaces.position(|interface| interface.name == name).unwrap() as u32
    }

    /// Runs a table, and tells every row that came out otherwise: in its action, its counter, or its bytes. No other
    /// counter may have moved in the end.
    pub(crate) fn check(&mut self, cases: impl IntoIterator<Item = Case>) {
        let mut wrong = Vec::new();
        let mut total = Counts::new();
        self.counted = counts(&self.wall);
        let services = self.wall.service_names();
        for case in cases {
            let Case { name, role, frame, service, verdict, reason } = case;
            let number = services.iter().position(|name| name == service).unwrap() as u8;
            let counter = |fixture: &Self| fixture.counter(role, number, reason as u8, verdict);
            let before = counter(self);
            let (seen, out) = self.run(role, &frame);
            let [packets, bytes] = counter(self);
            let counted = (packets - before[0], bytes - before[1]);
            if seen != action(verdict) || counted != (1, counted_bytes(&frame)) {
                wrong.push(format!(
                    "{name}, {role:?}: XDP action {seen}; expected {service}, {reason:?}, {verdict:?}, which counted {counted:?}"
                ));
            } else if !matches!(verdict, Verdict::Slip | Verdict::Answer) && out != frame {
                wrong.push(format!("{name}, {role:?}: the frame was changed"));
            }
            let key = (
                interface(role).name,
                service.to_owned(),
                reason.name().to_owned(),
                verdict.name().to_owned(),
            );
            let sum = total.entry(key).or_default();
            *sum = (sum.0 + 1, sum.1 + counted_bytes(&frame));
            self.met.insert(reason);
        }
        let counted = self.delta();
        assert!(wrong.is_empty(), "{}\nall that was counted: {counted:?}", wrong.join("\n"));
        assert_eq!(counted, total, "everything is counted once, and nothing else");
    }
}

/// Bytes of a frame that are counted: those that lie in its first buffer.
pub(crate) fn counted_bytes(frame: &[u8]) -> u64 {
    frame.len().min(FIRST_BUFFER) as u64
}

/// Runs a wall's program for a side on a frame.
pub(crate) fn run(wall: &Wall, role: Role, frame: &[u8]) -> (u32, Vec<u8>) {
    let name = interface(role).name;
    let (_, program) = wall.programs().find(|(interface, _)| *interface == name).unwrap();
    // An answer may be longer than what was asked.
    let mut out = vec![0; frame.len() + 1_024];
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.data_out = Some(&mut out);
    let result = program.wall().unwrap().test_run(options).unwrap();
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

pub(crate) fn counts(wall: &Wall) -> Counts {
    wall.counters()
        .unwrap()
        .into_iter()
        .map(|row| {
            ((row.interface, row.service, row.reason, row.verdict), (row.packets, row.bytes))
        })
        .collect()
}
