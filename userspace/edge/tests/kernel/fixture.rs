//! A wall that is loaded but attached to nothing, to run frames through.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aya::programs::{TestRun, TestRunOptions};
use muralla_edge::config::{
    AnyPolicy, AttachMode, BanConfig, EdgeConfig, InterfaceConfig, Limit, Role, RuleMode,
    ServiceConfig, ServiceKind,
};
use muralla_edge::wall::{Wall, detach};

pub struct Fixture {
    pub wall: Wall,
    pins: PathBuf,
    _state: tempfile::TempDir,
}

pub fn service(name: &str, kind: ServiceKind, ports: &[u16]) -> ServiceConfig {
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

pub fn limit(rate: f64, burst: f64) -> Option<Limit> {
    Some(Limit { rate, burst })
}

pub fn config() -> EdgeConfig {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let prefixes = |list: &[&str]| {
        list.iter()
            .map(|text| text.parse().unwrap())
            .collect::<Vec<_>>()
    };
    EdgeConfig {
        interfaces: vec![InterfaceConfig {
            name: "murallatest0".to_owned(),
            role: Role::Internet,
            mode: AttachMode::Auto,
        }],
        customers: prefixes(&["100.64.0.0/16", "2001:db8:100::/40"]),
        nas: prefixes(&["100.64.255.0/24", "2001:db8:1ff::/48"]),
        own: prefixes(&["192.0.2.53/32", "2001:db8::53/128"]),
        mail_servers: prefixes(&["100.64.7.7/32"]),
        protected: prefixes(&["192.0.2.1/32"]),
        allow: prefixes(&["9.9.9.0/24", "2620:fe::/48"]),
        allow_files: Vec::new(),
        block: prefixes(&["45.0.0.0/8", "2a00:bad::/32"]),
        feeds: Vec::new(),
        bogons: RuleMode::Enforce,
        antispoof: RuleMode::Enforce,
        impossible: RuleMode::Enforce,
        services: vec![
            service("other", ServiceKind::Any, &[]),
            ServiceConfig {
                source: limit(0.1, 3.0),
                ..service("outgoing_smtp", ServiceKind::Any, &[])
            },
            ServiceConfig {
                source: limit(0.1, 10.0),
                ..service("dns", ServiceKind::Dns, &[53])
            },
            service("dns_tcp", ServiceKind::Tcp, &[53]),
            service("radius_auth", ServiceKind::RadiusAuth, &[1812]),
            service("radius_acct", ServiceKind::RadiusAcct, &[1813]),
            service("radius_dyn", ServiceKind::RadiusDyn, &[3799]),
            ServiceConfig {
                source: limit(0.1, 5.0),
                ..service("smtp", ServiceKind::Tcp, &[25])
            },
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

impl Fixture {
    pub fn new(change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        let pins = config.pin_dir.clone();
        let state = tempfile::tempdir().unwrap();
        let wall = Wall::start(config, &state.path().join("state.json")).unwrap();
        Self {
            wall,
            pins,
            _state: state,
        }
    }

    /// The program's answer to a frame, and the frame as it leaves.
    pub fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        let (_, program) = self.wall.programs().next().unwrap();
        let mut out = vec![0; 10_000];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        let result = program.wall().unwrap().test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }

    pub fn verified(&self) -> Option<u32> {
        let (_, program) = self.wall.programs().next().unwrap();
        program
            .wall()
            .unwrap()
            .info()
            .unwrap()
            .verified_instruction_count()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        detach(&self.pins).unwrap();
    }
}
