//! Nanoseconds a packet, by BPF_PROG_TEST_RUN: `cargo xtask bench edge` runs this and makes the table.
//!
//! Prints one JSON object a line for each row. The floor, a program that counts and drops, is run beside
//! every row, in turns on one core; a row's ratio is the median of its ratios to the floor of the same
//! turn.
//!
//! A run of the kernel's repeats one frame, and neither its contents nor its length are restored in
//! between. What changes the frame (slip), or must differ from one packet to the next (many sources), is
//! therefore run a single time a call, many calls a turn, and compared with the floor in calls of one, too.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use ipnet::IpNet;
use muralla_edge::answers::{self, Answers, HotAnswer, NotPublished};
use muralla_edge::config::{
    AnyPolicy, AttachMode, BanConfig, EdgeConfig, FeedConfig, InterfaceConfig, Limit, Role,
    RuleMode, ServiceConfig, ServiceKind,
};
use muralla_edge::wall::{BlockRequest, Wall, detach};
use muralla_lab::frames::radius::Packet;
use muralla_lab::frames::{self, dns};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// How much is measured.
struct Effort {
    turns: usize,
    /// Packets of one measurement of a repeated frame.
    repeat: u32,
    /// Calls of one measurement of single frames.
    calls: usize,
}

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let effort = if quick {
        Effort { turns: 5, repeat: 20_000, calls: 500 }
    } else {
        Effort { turns: 15, repeat: 200_000, calls: 4_000 }
    };
    one_core()?;

    eprintln!("loading: a wall as it begins");
    let plain = Stand::new("plain", None)?;
    eprintln!("loading: a wall whose limiter holds a million sources");
    let full = Stand::new("full", None)?;
    eprintln!("loading: a wall with a feed of a million prefixes");
    let feed = Feed::write()?;
    let listed = Stand::new("listed", Some(&feed))?;

    eprintln!("loading: a wall with a full NIC cache");
    let cached = Stand::new("cached", None)?;
    let _answers = cached.publish()?;

    let floor = RefCell::new(Stand::new("floor", None)?);

    let rows = rows(&floor, &plain, &full, &listed, &cached);
    for row in &rows {
        row.warm_up()?;
    }
    eprintln!("filling: a million sources, a packet each");
    let fill = full.fill()?;

    let mut measured: Vec<Vec<f64>> = vec![Vec::new(); rows.len()];
    for turn in 1..=effort.turns {
        eprintln!("turn {turn} of {}", effort.turns);
        for (row, values) in rows.iter().zip(&mut measured) {
            values.push(row.measure(&effort).with_context(|| row.id.to_owned())?);
        }
    }
    let fill_after = full.used();
    report(&rows, &measured, (fill + fill_after) / 2.0)
}

fn one_core() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|&core| allowed.is_set(core)).context("no core")?;
    let mut set = CpuSet::new();
    set.set(last);
    Ok(sched_setaffinity(None, &set)?)
}

/// What is measured.
struct Row<'a> {
    id: &'static str,
    /// None for the floor.
    stand: Option<&'a Stand>,
    floor: &'a RefCell<Stand>,
    frames: Vec<Vec<u8>>,
    action: u32,
    /// The wall's reason for it.
    reason: &'static str,
    budget: Option<f64>,
    /// Each call of the kernel runs one frame.
    single: bool,
}

impl Row<'_> {
    fn with_program<T>(&self, act: impl FnOnce(&Xdp) -> Result<T>) -> Result<T> {
        match self.stand {
            Some(stand) => act(stand.wall()?),
            None => act(self.floor.borrow_mut().floor()?),
        }
    }

    /// Uses up what is allowed before the limits bite, and sees that they do.
    fn warm_up(&self) -> Result<()> {
        let Some(stand) = self.stand else { return Ok(()) };
        let program = stand.wall()?;
        let (frame, others) = self.frames.split_first().context("a row without a frame")?;
        for frame in others.iter().take(64).chain([frame; 16]) {
            run(program, frame, 1)?;
        }
        let before = stand.counted(self.reason)?;
        let (action, _) = run(program, frame, 1)?;
        let right = action == self.action && stand.counted(self.reason)? == before + 1;
        ensure!(right, "{}: action {action}, or a reason other than {}", self.id, self.reason);
        Ok(())
    }

    /// Nanoseconds a packet.
    fn measure(&self, effort: &Effort) -> Result<f64> {
        self.with_program(|program| {
            let mut frames = self.frames.iter().cycle();
            let mut once = |repeat| -> Result<f64> {
                let frame = frames.next().context("a row without a frame")?;
                let (action, nanoseconds) = run(program, frame, repeat)?;
                ensure!(action == self.action, "action {action} instead of {}", self.action);
                Ok(nanoseconds)
            };
            if !self.single {
                once(effort.repeat / 10)?;
                return once(effort.repeat);
            }
            let mut values = (0..effort.calls).map(|_| once(1)).collect::<Result<Vec<f64>>>()?;
            Ok(median(&mut values))
        })
    }
}

/// The action of the last of so many runs, and nanoseconds a run.
fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<(u32, f64)> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = repeat;
    let result = program.test_run(options).context("BPF_PROG_TEST_RUN")?;
    Ok((result.return_value, result.duration.as_nanos() as f64))
}

const SERVICE_V4: &str = "203.0.113.10";
const SERVICE_V6: &str = "2001:db8:53::10";
const CUSTOMER_V4: &str = "100.64.3.7";
const CUSTOMER_V6: &str = "2001:db8:6400:7::7";
const NAS: &str = "100.64.255.9";
const OUTSIDER: &str = "8.20.30.40";

/// Ports of services that differ in nothing but their limits.
mod port {
    pub(crate) const CLEAN: u16 = 53;
    pub(crate) const LIMITED: u16 = 5353;
    pub(crate) const SLIPPED: u16 = 5354;
    pub(crate) const SMTP: u16 = 25;
    pub(crate) const SMTP_LIMITED: u16 = 2525;
}

fn rows<'a>(
    floor: &'a RefCell<Stand>,
    plain: &'a Stand,
    full: &'a Stand,
    listed: &'a Stand,
    cached: &'a Stand,
) -> Vec<Row<'a>> {
    let row = |id, stand, frame: Vec<u8>, (action, reason), budget| Row {
        id,
        stand: Some(stand),
        floor,
        frames: vec![frame],
        action,
        reason,
        budget,
        single: false,
    };
    let the_floor = |id, single| Row {
        stand: None,
        single,
        ..row(id, plain, query(CUSTOMER_V4, port::CLEAN), (XDP_DROP, "other"), None)
    };
    let many = |id, stand| {
        let frames = (0..4_096u32)
            .map(|n| query_of(Ipv4Addr::from_bits(0x6440_0000 | (n * 16)), port::CLEAN));
        Row {
            frames: frames.collect(),
            single: true,
            ..row(id, stand, Vec::new(), (XDP_PASS, "clean"), None)
        }
    };
    let hit = |id, source, query| Row {
        single: true,
        ..row(id, cached, datagram(source, port::CLEAN, query), (XDP_TX, "answered"), Some(12.0))
    };
    let authenticate = Packet::pap(7, [7; 16], b"secret", "alice", "correct horse").encode();
    let radius = |source: &str, payload: Vec<u8>| {
        frames::udp(socket(source, 40_000), socket(SERVICE_V4, 1812)).payload(payload).build()
    };
    let syn =
        |source: &str, port| frames::tcp(socket(source, 40_000), socket(SERVICE_V4, port)).build();
    vec![
        the_floor("floor", false),
        row(
            "pass_untouched",
            plain,
            frames::udp(socket(OUTSIDER, 40_000), socket("203.0.113.77", 443))
                .payload([0; 64])
                .build(),
            (XDP_PASS, "other"),
            None,
        ),
        row("allowed", plain, query("9.9.9.9", port::CLEAN), (XDP_PASS, "allowed"), None),
        row("blocked", plain, query("198.18.7.7", port::CLEAN), (XDP_DROP, "blocked"), Some(2.5)),
        row(
            "blocked_v6",
            plain,
            query("2a00:bad::7", port::CLEAN),
            (XDP_DROP, "blocked"),
            Some(2.5),
        ),
        row(
            "blocked_by_feed_of_a_million",
            listed,
            query("20.2.2.7", port::CLEAN),
            (XDP_DROP, "feed"),
            Some(2.5),
        ),
        row("dns_clean", plain, query(CUSTOMER_V4, port::CLEAN), (XDP_PASS, "clean"), Some(7.0)),
        row("dns_clean_v6", plain, query(CUSTOMER_V6, port::CLEAN), (XDP_PASS, "clean"), Some(7.0)),
        row(
            "dns_clean_beside_feed",
            listed,
            query(CUSTOMER_V4, port::CLEAN),
            (XDP_PASS, "clean"),
            None,
        ),
        row(
            "dns_clean_beside_full_nic_cache",
            cached,
            query(CUSTOMER_V4, port::CLEAN),
            (XDP_PASS, "clean"),
            Some(7.0),
        ),
        row(
            "dns_limited_table_empty",
            plain,
            query(CUSTOMER_V4, port::LIMITED),
            (XDP_DROP, "source_limit"),
            Some(5.0),
        ),
        row(
            "dns_limited_table_full",
            full,
            query(CUSTOMER_V4, port::LIMITED),
            (XDP_DROP, "source_limit"),
            Some(5.0),
        ),
        row("dns_outsider", plain, query(OUTSIDER, port::CLEAN), (XDP_DROP, "dns_outsider"), None),
        row("radius_clean", plain, radius(NAS, authenticate.clone()), (XDP_PASS, "clean"), None),
        row(
            "radius_outsider",
            plain,
            radius(OUTSIDER, authenticate.clone()),
            (XDP_DROP, "radius_outsider"),
            None,
        ),
        row(
            "radius_malformed",
            plain,
            // A User-Name that is said to be longer than the packet.
            radius(NAS, Packet::new(1, 7, [7; 16]).raw_attributes(&[1, 99, b'a']).encode()),
            (XDP_DROP, "radius_attributes"),
            None,
        ),
        row("syn_clean", plain, syn(OUTSIDER, port::SMTP), (XDP_PASS, "clean"), None),
        row(
            "syn_limited",
            plain,
            syn(OUTSIDER, port::SMTP_LIMITED),
            (XDP_DROP, "source_limit"),
            Some(5.0),
        ),
        the_floor("floor_single", true),
        Row {
            single: true,
            ..row(
                "dns_slip_single",
                plain,
                query(CUSTOMER_V4, port::SLIPPED),
                (XDP_TX, "source_limit"),
                None,
            )
        },
        hit("dns_nic_hit", CUSTOMER_V4, hot(7)),
        hit("dns_nic_hit_edns", CUSTOMER_V4, hot(7).edns(1_232)),
        hit("dns_nic_hit_v6", CUSTOMER_V6, hot(7)),
        many("dns_clean_many_sources_table_empty_single", plain),
        many("dns_clean_many_sources_table_full_single", full),
    ]
}

fn query(source: &str, port: u16) -> Vec<u8> {
    datagram(source, port, dns::Query::new("www.example.org", dns::TYPE_A).id(7).edns(1_232))
}

fn datagram(source: &str, port: u16, query: dns::Query) -> Vec<u8> {
    let target = if source.contains(':') { SERVICE_V6 } else { SERVICE_V4 };
    frames::udp(socket(source, 40_000), socket(target, port)).payload(query).build()
}

/// A question that the full NIC cache answers.
fn hot(number: u32) -> dns::Query {
    dns::Query::new(&hot_name(number), dns::TYPE_A).id(7)
}

fn hot_name(number: u32) -> String {
    format!("www.{number:05}.example.org")
}

fn query_of(source: Ipv4Addr, port: u16) -> Vec<u8> {
    query(&source.to_string(), port)
}

/// Addresses in this file are right; one that isn't becomes an address that no row expects.
fn socket(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port)
}

/// A wall that is attached to nothing.
struct Stand {
    wall: Wall,
    pins: PathBuf,
    _state: tempfile::TempDir,
}

impl Stand {
    fn new(name: &str, feed: Option<&Feed>) -> Result<Self> {
        let config = config(name, feed)?;
        let (pins, state) = (config.pin_dir.clone(), tempfile::tempdir()?);
        let wall = Wall::start(config, &state.path().join("state.json"));
        // What a failed start has pinned is of no use to anybody.
        let wall = wall.inspect_err(|_| drop(detach(&pins)))?;
        let mut stand = Self { wall, pins, _state: state };
        for prefix in ["198.18.7.7/32", "2a00:bad::/64"] {
            stand.wall.block(BlockRequest {
                prefix: prefix.parse()?,
                note: String::new(),
                ttl: None,
                services: None,
            })?;
        }
        Ok(stand)
    }

    fn wall(&self) -> Result<&Xdp> {
        let (_, program) = self.wall.programs().next().context("a wall without an interface")?;
        Ok(program.wall()?)
    }

    fn floor(&mut self) -> Result<&Xdp> {
        let program = self.wall.first_program().context("a wall without an interface")?;
        Ok(program.floor()?)
    }

    /// Packets counted for that reason.
    fn counted(&self, reason: &str) -> Result<u64> {
        let rows = self.wall.counters()?;
        Ok(rows.iter().filter(|row| row.reason == reason).map(|row| row.packets).sum())
    }

    /// Has a million sources all over the Internet send a query each, and says how full that made the
    /// limiter's table.
    fn fill(&self) -> Result<f64> {
        let program = self.wall()?;
        let mut frame = query("1.0.0.1", port::LIMITED);
        let at = frames::udp(socket("1.0.0.1", 1), socket(SERVICE_V4, 1)).layout().ip + 12;
        for number in 0..SOURCES {
            // An odd number visits every address once.
            let bits =
                (u64::from(number).wrapping_mul(0x9e37_79b9) as u32) % (0x60 << 24) + (11 << 24);
            if let Some(place) = frame.get_mut(at..at + 4) {
                place.copy_from_slice(&bits.to_be_bytes());
            }
            run(program, &frame, 1)?;
        }
        let used = self.used();
        if used < 50.0 {
            eprintln!("the wall says that only {used:.0} % of its limiter's slots are in use");
        }
        Ok(used)
    }

    /// Fills the NIC cache: an alias and two addresses for each name.
    fn publish(&self) -> Result<Answers> {
        let mut answers = Answers::open(&self.pins)?.context("a wall without a NIC cache")?;
        // Slots rest for a second after it was opened.
        let at = answers::now() + Duration::from_secs(2);
        let record = |kind: u8, data: &[u8]| {
            [&[0xc0, 12, 0, kind, 0, 1, 0, 1, 0, 0, 0, data.len() as u8], data].concat()
        };
        let records =
            [record(5, b"\x03cdn\xc0\x10"), record(1, &[192, 0, 2, 1]), record(1, &[192, 0, 2, 2])];
        for number in 0..answers.stats(at).capacity {
            let mut message = hot(number).flags(0x8180).counts([1, 3, 0, 0]).encode();
            message.extend(records.iter().flatten());
            let answer = HotAnswer {
                name: &dns::wire_name(&hot_name(number)),
                qtype: dns::TYPE_A,
                dnssec_ok: false,
                checking_disabled: false,
                message: &message,
                expires_in: Duration::MAX,
            };
            match answers.publish(&answer, at) {
                Ok(_) | Err(NotPublished::Crowded) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(answers)
    }

    /// Share of the limiter's slots that hold somebody, in percent.
    fn used(&self) -> f64 {
        let status = self.wall.status();
        status.limiter_used as f64 * 100.0 / status.limiter_slots as f64
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Err(error) = detach(&self.pins) {
            eprintln!("{}: {error}", self.pins.display());
        }
    }
}

/// Sources that the limiter has room for, and that fill it.
const SOURCES: u32 = 1 << 20;

/// A feed of a million prefixes of two lengths, none beside another so that none is joined.
struct Feed {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl Feed {
    const PREFIXES: u32 = 1_000_000;

    fn write() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("million.txt");
        let mut text = String::new();
        for n in 0..Self::PREFIXES {
            if n % 4 == 0 {
                writeln!(text, "2a01:{:x}:{:x}::/48", n >> 16, n & 0xffff)?;
            } else {
                // From 20.0.0.0 on, every other /24.
                let network = Ipv4Addr::from_bits((20 << 24) + n * 512);
                writeln!(text, "{network}/24")?;
            }
        }
        fs::write(&file, text)?;
        Ok(Self { _folder: folder, file })
    }
}

fn config(name: &str, feed: Option<&Feed>) -> Result<EdgeConfig> {
    let prefixes = |list: &[&str]| -> Result<Vec<IpNet>> {
        list.iter().map(|text| Ok(text.parse()?)).collect()
    };
    // Never reached: a packet every 64 ns is allowed, and one takes longer.
    let high = Some(Limit { rate: 1e7, burst: 1e7 });
    let low = Some(Limit { rate: 0.01, burst: 1.0 });
    let feeds = feed.map(|feed| FeedConfig {
        name: "million".to_owned(),
        file: feed.file.clone(),
        mode: RuleMode::Enforce,
        max_age: Duration::ZERO,
    });
    Ok(EdgeConfig {
        interfaces: vec![InterfaceConfig {
            name: "murallabench0".to_owned(),
            role: Role::Both,
            mode: AttachMode::Auto,
        }],
        customers: prefixes(&["100.64.0.0/16", "2001:db8:6400::/40"])?,
        nas: prefixes(&["100.64.255.0/24"])?,
        own: prefixes(&["203.0.113.10/32", "2001:db8:53::10/128"])?,
        mail_servers: Vec::new(),
        protected: prefixes(&["192.0.2.1/32"])?,
        allow: prefixes(&["9.9.9.0/24", "2620:fe::/48"])?,
        allow_files: Vec::new(),
        block: Vec::new(),
        feeds: feeds.into_iter().collect(),
        bogons: RuleMode::Enforce,
        antispoof: RuleMode::Enforce,
        impossible: RuleMode::Enforce,
        services: vec![
            service("other", ServiceKind::Any, &[]),
            ServiceConfig { source: low, ..service("outgoing_smtp", ServiceKind::Any, &[]) },
            ServiceConfig {
                source: high,
                global: high,
                ..service("dns", ServiceKind::Dns, &[port::CLEAN])
            },
            ServiceConfig {
                source: low,
                world: low,
                ..service("dns_limited", ServiceKind::Dns, &[port::LIMITED])
            },
            ServiceConfig {
                source: low,
                slip: 1,
                ..service("dns_slipped", ServiceKind::Dns, &[port::SLIPPED])
            },
            ServiceConfig {
                source: high,
                ..service("radius_auth", ServiceKind::RadiusAuth, &[1812])
            },
            ServiceConfig {
                source: high,
                global: high,
                ..service("smtp", ServiceKind::Tcp, &[port::SMTP])
            },
            ServiceConfig {
                source: low,
                ..service("smtp_limited", ServiceKind::Tcp, &[port::SMTP_LIMITED])
            },
        ],
        bans: BanConfig {
            mode: RuleMode::Enforce,
            threshold: 10.0,
            half_life: Duration::from_secs(600),
            first: Duration::from_secs(300),
            longest: Duration::from_secs(86_400),
            shared_after: 3,
        },
        limiter_sources: SOURCES,
        max_prefixes: if feed.is_some() { 2_000_000 } else { 10_000 },
        pin_dir: format!("/sys/fs/bpf/muralla-bench-{}-{name}", std::process::id()).into(),
    })
}

fn service(name: &str, kind: ServiceKind, ports: &[u16]) -> ServiceConfig {
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
        slip: 0,
        any: AnyPolicy::Pass,
    }
}

fn report(rows: &[Row<'_>], measured: &[Vec<f64>], fill: f64) -> Result<()> {
    let values_of = |id: &str| -> Result<&Vec<f64>> {
        let found = rows.iter().zip(measured).find(|(row, _)| row.id == id);
        Ok(found.with_context(|| format!("no row {id}"))?.1)
    };
    let mut out = std::io::stdout().lock();
    for (row, values) in rows.iter().zip(measured) {
        let against = if row.single { "floor_single" } else { "floor" };
        let mut ratios: Vec<f64> =
            values.iter().zip(values_of(against)?).map(|(value, floor)| value / floor).collect();
        let ratio = median(&mut ratios);
        let line = serde_json::json!({
            "id": row.id,
            "value": median(&mut values.clone()),
            "unit": "ns/packet",
            "against": against,
            "ratio": ratio,
            "budget": row.budget,
            "within": row.budget.map(|budget| ratio <= budget),
        });
        writeln!(out, "{line}")?;
    }
    let line = serde_json::json!({
        "id": "limiter_table_full", "value": fill, "unit": "% of slots in use",
        "against": null, "ratio": null, "budget": null, "within": null,
    });
    writeln!(out, "{line}")?;
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
