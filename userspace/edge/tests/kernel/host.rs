//! The same decision on the host, over tables in ordinary memory.

use std::cell::Cell;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use muralla_abi::answers::{self, Answer, Cache, HostSlot, Identity, state};
use muralla_abi::budget::Credits;
use muralla_abi::decide::{BudgetKind, Case, Decision, World, decide, decide_bad};
use muralla_abi::dns;
use muralla_abi::frame::{Frame, HostWindow};
use muralla_abi::headers::{Parsed, parse, parse_transport};
use muralla_abi::layout::{ANSWER_LINES, BAN_LINES, FAMILIAR_LINES, Side};
use muralla_abi::policy::OTHER;
use muralla_abi::table::{HostLines, Seeds};
use muralla_abi::verdict::{Reason, Verdict};
use muralla_edge::config::{EdgeConfig, Role};
use muralla_edge::policy::{Lists, compile, image_lines};
use rustix::time::{ClockId, clock_gettime};

/// Bytes of a frame that BPF_PROG_TEST_RUN puts into the first buffer: a page less headroom and what the kernel keeps
/// behind the data. The program sees no others.
pub(crate) const FIRST_BUFFER: usize = 4_096 - 256 - 320;

const SEEDS: Seeds = Seeds::TEST;

/// As many sources as the limiter of both worlds has room for. Their seeds differ, so places are other ones; with so
/// many, nobody displaces anybody.
pub(crate) const LIMITER_SOURCES: u32 = 1 << 17;

const LIMITER_LINES: u32 = LIMITER_SOURCES / 8;

type Table = Vec<[AtomicU64; 8]>;

/// A world of its own: policy compiled from the same configuration, everything else empty.
pub(crate) struct Host {
    policy: Table,
    limiter: Table,
    budgets: Table,
    familiar: Table,
    bans: Table,
    credits: Vec<Cell<u32>>,
    answer_state: Table,
    answer_index: Table,
    answers: Vec<Vec<AtomicU64>>,
}

fn table(lines: u32) -> Table {
    (0..lines).map(|_| Default::default()).collect()
}

impl Host {
    /// A world with the configuration's own addresses and those `of_this_machine`.
    pub(crate) fn new(config: &EdgeConfig, of_this_machine: &[IpNet]) -> Self {
        let mut own = config.own.clone();
        own.extend(of_this_machine);
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
            answer_state: table(1),
            answer_index: table(ANSWER_LINES),
            answers: Vec::new(),
        }
    }

    /// Puts an answer into the NIC cache, as of a second of CLOCK_MONOTONIC.
    pub(crate) fn publish(&mut self, answer: &Answer<'_>, born: u32) {
        let ready = answers::build(answer).unwrap();
        let words = ready.stamped(1, 1, born, born + ready.lifetime);
        let number = self.answers.len() as u64;
        self.answers.push(words.map(AtomicU64::new).into());
        let hash = Identity::of(answer).unwrap().hash(&SEEDS);
        let line = &self.answer_index[hash.first(ANSWER_LINES - 1) as usize];
        let free = line.iter().find(|word| word.load(Ordering::Relaxed) == 0).unwrap();
        free.store(hash.fingerprint() << 32 | number, Ordering::Relaxed);
        let state = &self.answer_state[0];
        state[state::LIVE as usize].store(1, Ordering::Relaxed);
        state[state::TYPES as usize].store(u64::MAX, Ordering::Relaxed);
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
        let Case { headers, question, found, .. } = &case;
        if decision.verdict == Verdict::Slip {
            out.truncate(dns::slip_len(question) as usize);
            dns::slip(out.as_mut_slice(), headers, question).unwrap();
        }
        if decision.verdict == Verdict::Answer {
            let slot = HostSlot(&self.answers[found.slot as usize]);
            out.resize(found.answered as usize, 0);
            let body = question.end as usize..found.answered as usize;
            out[body].copy_from_slice(&slot.body()[..found.body as usize]);
            answers::dress(out.as_mut_slice(), headers, question, found, slot).unwrap();
        }
        (decision, out)
    }
}

/// The machine's own addresses, which the wall adds to the configured ones.
pub(crate) fn this_machine() -> Vec<IpNet> {
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

    fn whole(&self) -> Option<u32> {
        (self.0.len() <= FIRST_BUFFER).then_some(self.0.len() as u32)
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

impl<'a> Cache for &'a Host {
    type Table = HostLines<'a>;
    type Slot = HostSlot<'a>;

    fn state(&self) -> HostLines<'a> {
        HostLines(&self.answer_state)
    }

    fn index(&self) -> HostLines<'a> {
        HostLines(&self.answer_index)
    }

    fn slot(&self, number: u32) -> Option<HostSlot<'a>> {
        self.answers.get(number as usize).map(|slot| HostSlot(slot))
    }

    fn second(&self) -> u32 {
        clock_gettime(ClockId::Monotonic).tv_sec as u32
    }
}
