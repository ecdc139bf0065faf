//! The same decision on the host, over tables in ordinary memory.

use std::cell::Cell;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::AtomicU64;

use ipnet::IpNet;
use muralla_abi::budget::Credits;
use muralla_abi::decide::{BudgetKind, Case, Decision, World, decide, decide_bad};
use muralla_abi::dns;
use muralla_abi::frame::{Frame, HostWindow};
use muralla_abi::headers::{Parsed, parse, parse_transport};
use muralla_abi::layout::{BAN_LINES, FAMILIAR_LINES, Side};
use muralla_abi::policy::OTHER;
use muralla_abi::table::{HostLines, Seeds};
use muralla_abi::verdict::{Reason, Verdict};
use muralla_edge::config::{EdgeConfig, Role};
use muralla_edge::policy::{Lists, compile, image_lines};
use rustix::time::{ClockId, clock_gettime};

/// Bytes of a frame that BPF_PROG_TEST_RUN puts into the first buffer: a page less headroom and what the kernel keeps
/// behind the data. The program sees no others.
pub(crate) const FIRST_BUFFER: usize = 4_096 - 256 - 320;

const SEEDS: Seeds = Seeds([
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
    0xd6e8_feb8_6659_fd93,
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
    0x5899_65cc_7537_4cc3,
    0x1d8e_4e27_c47d_124f,
    0xeb44_acca_b455_d165,
    0x9c6e_6877_736c_46e3,
    0x5a2c_3f5b_d1e9_97a1,
]);

const LIMITER_LINES: u32 = 512;

type Table = Vec<[AtomicU64; 8]>;

/// A world of its own: policy compiled from the same configuration, everything else empty.
pub(crate) struct Host {
    policy: Table,
    limiter: Table,
    budgets: Table,
    familiar: Table,
    bans: Table,
    credits: Vec<Cell<u32>>,
}

fn table(lines: u32) -> Table {
    (0..lines).map(|_| Default::default()).collect()
}

impl Host {
    pub(crate) fn new(config: &EdgeConfig) -> Self {
        let mut own = config.own.clone();
        own.extend(this_machine());
        let lists = Lists {
            neighbours: Vec::new(),
            protected: config.protected.clone(),
            allowed: config.allow.clone(),
            own,
            feeds: Vec::new(),
        };
        let lines = image_lines(config.max_prefixes);
        let image = compile(config, &lists, &SEEDS, 1, lines).unwrap();
        Self {
            policy: image.lines.iter().map(|line| line.map(AtomicU64::new)).collect(),
            limiter: table(LIMITER_LINES),
            budgets: table(16),
            familiar: table(FAMILIAR_LINES),
            bans: table(BAN_LINES + 1),
            credits: vec![Cell::new(0); 64],
        }
    }

    /// What the program has to decide, and how the frame has to leave.
    pub(crate) fn judge(&self, role: Role, bytes: &[u8]) -> (Decision, Vec<u8>) {
        let side = Side { internet: role != Role::Customers, customers: role != Role::Internet };
        let frame = FirstBuffer(bytes);
        let mut case = Case::default();
        let decision = match parse(&frame, &mut case.headers) {
            Parsed::NotIp => {
                Decision { verdict: Verdict::Pass, reason: Reason::NotIp as u8, service: OTHER }
            }
            Parsed::Bad(reason) => decide_bad(&self, reason),
            Parsed::Ip => {
                parse_transport(&frame, &mut case.headers);
                decide(&self, side, &frame, &mut case)
            }
        };
        let mut out = bytes.to_vec();
        if decision.verdict == Verdict::Slip {
            out.truncate(dns::slip_len(&case.question) as usize);
            dns::slip(out.as_mut_slice(), &case.headers, &case.question).unwrap();
        }
        (decision, out)
    }
}

/// The machine's own addresses, which the wall adds to the configured ones.
fn this_machine() -> Vec<IpNet> {
    let told = Command::new("hostname").arg("--all-ip-addresses").output().unwrap().stdout;
    let text = String::from_utf8(told).unwrap();
    text.split_whitespace().map(|ip| IpNet::from(ip.parse::<IpAddr>().unwrap())).collect()
}

/// A frame of which the first buffer can be reached.
struct FirstBuffer<'a>(&'a [u8]);

impl Frame for FirstBuffer<'_> {
    type Window = HostWindow;

    fn reaches(&self, len: u32) -> bool {
        self.0.len() >= len as usize
    }

    fn window(&self, at: u32, size: u32) -> Option<HostWindow> {
        self.0[..self.0.len().min(FIRST_BUFFER)].window(at, size)
    }
}

pub(crate) struct HostCredits<'a>(&'a Cell<u32>);

impl Credits for HostCredits<'_> {
    fn load(&self) -> u32 {
        self.0.get()
    }

    fn store(&mut self, credits: u32) {
        self.0.set(credits);
    }
}

impl<'a> World for &'a Host {
    type Table = HostLines<'a>;
    type Credits = HostCredits<'a>;
    type Key = Seeds;

    fn key(&self) -> Seeds {
        SEEDS
    }

    fn limiter_mask(&self) -> u32 {
        LIMITER_LINES - 1
    }

    fn policy(&self) -> Option<HostLines<'a>> {
        Some(HostLines(&self.policy))
    }

    fn limiter(&self) -> HostLines<'a> {
        HostLines(&self.limiter)
    }

    fn budgets(&self) -> HostLines<'a> {
        HostLines(&self.budgets)
    }

    fn familiar(&self) -> HostLines<'a> {
        HostLines(&self.familiar)
    }

    fn bans(&self) -> HostLines<'a> {
        HostLines(&self.bans)
    }

    fn credits(&self, service: u8, kind: BudgetKind) -> Option<HostCredits<'a>> {
        self.credits.get(usize::from(service) * 4 + kind as usize).map(HostCredits)
    }

    fn hit(&self, _place: u32) {}

    fn race(&self) {}

    fn now(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
    }
}
