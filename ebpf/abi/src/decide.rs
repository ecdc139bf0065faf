//! The order in which everything is asked: protected and allowed, banned and listed, sane, within limits.

use crate::answers::{self, Cache};
use crate::bans::{self, Ban};
use crate::budget::{self, Credits};
use crate::dns;
use crate::familiar::{self, Proof};
use crate::frame::Frame;
use crate::headers::{Addr, Fragment, Headers, proto, tcp};
use crate::layout::Side;
use crate::limit::{self, Found, Look, Rate};
use crate::policy::{self, AnyQuery, Kind, Mode, OTHER, OUTGOING_SMTP, Service, header, service};
use crate::prefix::{self, Facts};
use crate::radius;
use crate::table::{Key, Line, Lines};
use crate::verdict::{Reason, Verdict};

/// The maps, the clock and this CPU's own words.
pub trait World {
    /// How tables are reached.
    type Table: Lines;
    /// This CPU's credits for a budget.
    type Credits: Credits;
    /// How the seeds of the keyed hash are reached.
    type Key: Key;

    /// The policy in force; none before the first was loaded.
    fn policy(&self) -> Option<Self::Table>;
    /// The seeds of the keyed hash, the same as long as the maps live.
    fn key(&self) -> Self::Key;
    /// The limiter's table.
    fn limiter(&self) -> Self::Table;
    /// Lines of the limiter's table, less one.
    fn limiter_mask(&self) -> u32;
    /// The budgets, a line for each service.
    fn budgets(&self) -> Self::Table;
    /// The sources recently seen.
    fn familiar(&self) -> Self::Table;
    /// The bans.
    fn bans(&self) -> Self::Table;
    /// This CPU's credits for budget `kind` (see [`BudgetKind`]) of a service.
    fn credits(&self, service: u8, kind: BudgetKind) -> Option<Self::Credits>;
    /// Counts a hit of a ban.
    fn hit(&self, place: u32);
    /// Counts a packet that could not be charged, because another CPU was charging at the same moment.
    fn race(&self);
    /// The wall's clock in nanoseconds, in steps of up to 10 ms, from a start of its own.
    fn now(&self) -> u64;
}

/// The budgets of a service, as words of its line.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BudgetKind {
    /// For everybody.
    Global = 0,
    /// For familiar sources beyond that.
    Reserve = 1,
    /// For TCP segments without a known connection.
    Stray = 2,
    /// For familiar sources whose address may be forged: they take from [`Self::Reserve`], with credits of their own.
    Unproven = 3,
}

impl BudgetKind {
    /// The word of the service's line that it is counted in.
    const fn word(self) -> u32 {
        match self {
            Self::Global => 0,
            Self::Reserve | Self::Unproven => 1,
            Self::Stray => 2,
        }
    }
}

/// What was decided, and why.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decision {
    /// What happens to the packet.
    pub verdict: Verdict,
    /// The number of the one [`Reason`] for it.
    pub reason: u8,
    /// The service that it was for.
    pub service: u8,
}

impl Decision {
    #[inline(always)]
    fn pass(service: u8, reason: Reason) -> Self {
        Self::new(Verdict::Pass, service, reason)
    }

    #[inline(always)]
    fn new(verdict: Verdict, service: u8, reason: Reason) -> Self {
        Self { verdict, reason: reason as u8, service }
    }

    /// What `mode` makes of a reason to drop; none if the rule is off.
    #[inline(always)]
    fn refuse(mode: Mode, service: u8, reason: Reason) -> Option<Self> {
        let verdict = match mode {
            Mode::Off => return None,
            Mode::Observe => Verdict::Observe,
            Mode::Enforce => Verdict::Drop,
        };
        Some(Self::new(verdict, service, reason))
    }

    /// The decision as a number, never zero.
    #[inline(always)]
    pub const fn to_bits(self) -> u32 {
        1 << 31 | (self.service as u32) << 16 | (self.reason as u32) << 8 | self.verdict as u32
    }

    /// The decision from its number; none from zero.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits == 0 {
            return None;
        }
        let verdict = match bits & 7 {
            0 => Verdict::Pass,
            1 => Verdict::Drop,
            2 => Verdict::Slip,
            3 => Verdict::Observe,
            _ => Verdict::Answer,
        };
        Some(Self { verdict, reason: (bits >> 8) as u8, service: (bits >> 16) as u8 })
    }
}

/// One packet's way through the wall. On the kernel side it lies in a map: there each stage is a function that the
/// verifier looks at by itself, once, and this is what they hand on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Case {
    /// The packet's headers.
    pub headers: Headers,
    /// If it is a DNS query, what it asks.
    pub question: dns::Question,
    /// If it is answered from the NIC cache, by what.
    pub found: answers::Found,
    /// What is known of the source.
    facts: u32,
    /// What the packet still has to be within.
    bounds: u32,
    /// The ban of the service that it may be for, or zero.
    ban: u64,
    /// Where that ban is counted.
    ban_place: u32,
    /// The service that it is for.
    number: u8,
    /// 1 if its source is to be noted as one that does legitimate business: see [`remember`].
    pub memorable: u8,
    /// 1 if it passed and may be answered from the NIC cache: see [`answer`].
    pub answerable: u8,
    /// Unused, zero.
    _reserved: u8,
}

impl Case {
    /// The service that the packet is for.
    #[inline(always)]
    pub const fn service(&self) -> u8 {
        self.number
    }
}

/// Decides on a frame without a usable IP header.
#[inline(always)]
pub fn decide_bad<W: World>(world: &W, reason: Reason) -> Decision {
    let mode = world
        .policy()
        .and_then(|policy| policy.line(policy::HEADER))
        .map_or(0, |head| head.load(header::MODES) >> header::modes::IMPOSSIBLE);
    Decision::refuse(Mode::from_bits(mode), OTHER, reason)
        .unwrap_or(Decision::pass(OTHER, Reason::Other))
}

/// Decides on an IP packet: one stage after the other, until one has decided. With [`Verdict::Slip`], the case holds
/// the query to answer; with [`Verdict::Answer`], the answer too.
///
/// An observing rule lets the packet go on, but not past the rule: what a later rule would have said isn't
/// known then. One packet has one reason.
pub fn decide<W: World + Cache, F: Frame + ?Sized>(
    world: &W,
    side: Side,
    frame: &F,
    case: &mut Case,
) -> Decision {
    let decision = identify(world, side, case)
        .or_else(|| keep_out(world, side, case))
        .or_else(|| examine(world, frame, case))
        .unwrap_or_else(|| bound(world, case));
    if case.memorable != 0 {
        remember(world, case);
    }
    if case.answerable == 0 {
        return decision;
    }
    answer(world, frame, case).unwrap_or(decision)
}

/// First stage: who sent it, and for which service by its port. Lets the protected and the allowed pass.
#[inline(always)]
pub fn identify<W: World>(world: &W, side: Side, case: &mut Case) -> Option<Decision> {
    let Some(policy) = world.policy() else {
        return Some(Decision::pass(OTHER, Reason::Other));
    };
    let key = world.key();
    let v6 = case.headers.v6 != 0;
    case.memorable = 0;
    case.answerable = 0;
    let facts = prefix::lookup(&policy, &key, case.headers.src, v6);
    if facts.has(Facts::PROTECTED) {
        return Some(Decision::pass(OTHER, Reason::Protected));
    }
    if facts.has(Facts::ALLOWED) {
        return Some(Decision::pass(OTHER, Reason::Allowed));
    }
    case.facts = facts.0;
    case.number = sought(&policy, &key, side, &case.headers, facts);
    None
}

/// Second stage: bans, lists and feeds, packets that contradict themselves, and sources that can't be where they come
/// from. Lets pass what no rule is for.
///
/// Whoever is kept out of everything is so before it is known whether the packet is for us at all: it counts for the
/// service of its port.
#[inline(always)]
pub fn keep_out<W: World>(world: &W, side: Side, case: &mut Case) -> Option<Decision> {
    let policy = world.policy()?;
    let modes = policy.line(policy::HEADER)?.load(header::MODES);
    let asked = Asked::of(world, case);
    let ban = asked.ban();
    let whole = ban.filter(|(_, ban)| ban.covers(OTHER));
    if let Some(decision) = asked.banned(whole, modes).or_else(|| asked.listed(&policy)) {
        return Some(decision);
    }
    // Kept there, and not on the stack: the kernel gives all stages together 512 bytes.
    (case.ban_place, case.ban) = ban.map_or((0, 0), |(place, ban)| (place, ban.0));
    // Only what is for us is ours to judge: a customer's own web server has a port 80 too.
    if !matches!(case.number, OTHER | OUTGOING_SMTP) && !owns(&policy, &world.key(), &case.headers)
    {
        case.number = OTHER;
    }
    let asked = Asked::of(world, case);
    let partial =
        (case.ban != 0 && case.number != OTHER).then_some((case.ban_place, Ban(case.ban)));
    if let Some(decision) = asked.banned(partial, modes).or_else(|| asked.impossible(side, modes)) {
        return Some(decision);
    }
    let service = policy::read_service(&policy, case.number)?;
    if service.mode() == Mode::Off || case.number == OTHER && !service.limits() {
        let later = case.headers.fragment == Fragment::Later as u8;
        let reason = match case.number {
            OTHER if later => Reason::LaterFragment,
            OTHER => Reason::Other,
            _ => Reason::Clean,
        };
        return Some(Decision::pass(case.number, reason));
    }
    None
}

/// Third stage: what the service's protocol demands.
#[inline(always)]
pub fn examine<W: World, F: Frame + ?Sized>(
    world: &W,
    frame: &F,
    case: &mut Case,
) -> Option<Decision> {
    let policy = world.policy()?;
    let service = policy::read_service(&policy, case.number)?;
    // Where it is kept, and not on the stack: the kernel gives all stages together 512 bytes.
    let Case { headers, question, facts, bounds, number, .. } = case;
    // All else of it is looked at for queries alone.
    question.id = 0;
    let (facts, number) = (Facts(*facts), *number);
    let asked = Asked { world, headers, facts, number, v6: headers.v6 != 0 };
    match asked.examine(frame, &service, question) {
        Ok(within) => {
            *bounds = within.0;
            None
        }
        Err(refusal) => Some(refusal.decision(service.mode(), number)),
    }
}

/// Fourth stage: the limits of the source, of the networks around it, and of the whole service.
#[inline(always)]
pub fn bound<W: World>(world: &W, case: &mut Case) -> Decision {
    let number = case.number;
    let service = world.policy().and_then(|policy| policy::read_service(&policy, number));
    let Some(service) = service else {
        return Decision::pass(number, Reason::Other);
    };
    let bounds = Bounds(case.bounds);
    let asked = Asked::of(world, case);
    match asked.limits(&service, bounds) {
        Ok(reason) => {
            let peaceful = bounds.has(Bounds::PEACE) && reason == bounds.pass();
            let memorable =
                peaceful && asked.dice(&case.question) & 3 == 0 && asked.is_calm(&service);
            case.memorable = u8::from(memorable);
            case.answerable = u8::from(bounds.has(Bounds::ANSWER));
            Decision { verdict: Verdict::Pass, reason, service: number }
        }
        Err(reason) => {
            let slip = bounds.has(Bounds::SLIP)
                && match service.slip() {
                    0 => false,
                    1 => true,
                    every => {
                        let dice = asked.dice(&case.question) & 0xff;
                        dice.checked_rem(u16::from(every)) == Some(0)
                    }
                };
            Refusal { reason: reason as u8, slip }.decision(service.mode(), number)
        }
    }
}

/// Last stage, for a query that may come in: whether the NIC cache has its answer.
#[inline(always)]
pub fn answer<W: World + Cache, F: Frame + ?Sized>(
    world: &W,
    frame: &F,
    case: &mut Case,
) -> Option<Decision> {
    let Case { headers, question, found, number, .. } = case;
    let answered = answers::find(world, &world.key(), frame, headers, question, found);
    answered.then(|| Decision::new(Verdict::Answer, *number, Reason::Answered))
}

/// Notes the source of a packet that passed in peace among the familiar ones.
#[inline(always)]
pub fn remember<W: World>(world: &W, case: &Case) {
    let Headers { src, v6, .. } = case.headers;
    let seconds = seconds(world.now());
    familiar::note(&world.familiar(), &world.key(), src, v6 != 0, Proof::Peace, seconds);
}

/// The service that a packet is for, if its destination is one of ours: not looked at but where that makes two services
/// of a port.
#[inline(always)]
fn sought<P: Lines, K: Key>(
    policy: &P,
    key: &K,
    side: Side,
    headers: &Headers,
    facts: Facts,
) -> u8 {
    if headers.fragment == Fragment::Later as u8 {
        return OTHER;
    }
    let mail = headers.proto == proto::TCP && headers.dport == 25;
    if mail && side.customers && facts.has(Facts::CUSTOMER) && !owns(policy, key, headers) {
        return OUTGOING_SMTP;
    }
    policy::service_of_port(policy, headers.proto, headers.dport)
}

/// Whether the destination is an address of ours.
#[inline(always)]
fn owns<P: Lines, K: Key>(policy: &P, key: &K, headers: &Headers) -> bool {
    prefix::lookup(policy, key, headers.dst, headers.v6 != 0).has(Facts::OWN)
}

/// Why a packet is refused.
struct Refusal {
    /// The number of the [`Reason`].
    reason: u8,
    /// Whether the query is answered with TC=1.
    slip: bool,
}

impl Refusal {
    /// What the service's mode makes of it.
    #[inline(always)]
    fn decision(self, mode: Mode, service: u8) -> Decision {
        let verdict = match mode {
            Mode::Observe => Verdict::Observe,
            _ if self.slip => Verdict::Slip,
            _ => Verdict::Drop,
        };
        Decision { verdict, reason: self.reason, service }
    }
}

impl From<Reason> for Refusal {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self { reason: reason as u8, slip: false }
    }
}

/// What a packet that passed its service's checks still has to be within, as one number.
#[derive(Clone, Copy)]
struct Bounds(u32);

impl Bounds {
    /// The networks around the source are limited too.
    const NETWORKS: u32 = 1;
    /// Packets that passed in peace make a source familiar here.
    const PEACE: u32 = 1 << 1;
    /// The budget is that for strays.
    const STRAY: u32 = 1 << 2;
    /// The query may be answered with TC=1.
    const SLIP: u32 = 1 << 3;
    /// The query may be answered from the NIC cache.
    const ANSWER: u32 = 1 << 16;
    /// Where the word of the service with the limit of the source begins; four bits.
    const RATE: u32 = 4;
    /// Where the reason to pass begins; eight bits.
    const PASS: u32 = 8;

    #[inline(always)]
    const fn new(flags: u32, rate: u32, pass: Reason) -> Self {
        Self(flags | rate << Self::RATE | (pass as u32) << Self::PASS)
    }

    #[inline(always)]
    const fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    #[inline(always)]
    const fn rate(self) -> u32 {
        self.0 >> Self::RATE & 15
    }

    #[inline(always)]
    const fn pass(self) -> u8 {
        (self.0 >> Self::PASS) as u8
    }
}

/// One packet's question to the wall, with everything that several rules look at.
struct Asked<'a, W: World> {
    world: &'a W,
    headers: &'a Headers,
    facts: Facts,
    number: u8,
    v6: bool,
}

impl<W: World> Asked<'_, W> {
    #[inline(always)]
    fn of<'a>(world: &'a W, case: &'a Case) -> Asked<'a, W> {
        let Case { headers, facts, number, .. } = case;
        Asked { world, headers, facts: Facts(*facts), number: *number, v6: headers.v6 != 0 }
    }

    /// The ban that is in force for the source and the service.
    #[inline(always)]
    fn ban(&self) -> Option<(u32, Ban)> {
        let Self { world, headers, number, v6, .. } = *self;
        bans::lookup(&world.bans(), &world.key(), headers.src, v6, number, || seconds(world.now()))
    }

    /// What becomes of a ban.
    #[inline(always)]
    fn banned(&self, found: Option<(u32, Ban)>, modes: u64) -> Option<Decision> {
        let (place, ban) = found?;
        let (mode, reason) = if ban.by_operator() {
            (Mode::Enforce, Reason::Blocked)
        } else {
            (Mode::from_bits(modes >> header::modes::BANS), Reason::Banned)
        };
        let refused = Decision::refuse(mode, self.number, reason);
        if refused.is_some() {
            self.world.hit(place);
        }
        refused
    }

    /// The configuration's block list, and feeds.
    #[inline(always)]
    fn listed(&self, policy: &W::Table) -> Option<Decision> {
        let number = self.number;
        if self.facts.has(Facts::BLOCKED) {
            return Decision::refuse(Mode::Enforce, number, Reason::Blocked);
        }
        let feed = self.facts.feed();
        if feed == 0 {
            return None;
        }
        let mode = if policy::feed_observes(policy, feed) { Mode::Observe } else { Mode::Enforce };
        Decision::refuse(mode, number, Reason::Feed)
    }

    /// Packets that contradict themselves, and sources that can't be where they come from.
    #[inline(always)]
    fn impossible(&self, side: Side, modes: u64) -> Option<Decision> {
        let Self { facts, number, .. } = *self;
        let (modes_of, reason) = if let Some(reason) = self.contradiction() {
            (header::modes::IMPOSSIBLE, reason)
        } else if facts.has(Facts::BOGON) && side.internet && !side.customers {
            (header::modes::BOGONS, Reason::Bogon)
        } else if facts.has(Facts::CUSTOMER) && side.internet && !side.customers {
            (header::modes::ANTISPOOF, Reason::SpoofedCustomer)
        } else if side.customers && !side.internet && !self.at_home() {
            (header::modes::ANTISPOOF, Reason::SpoofedSource)
        } else {
            return None;
        };
        Decision::refuse(Mode::from_bits(modes >> modes_of), number, reason)
    }

    /// Whether a source may come from the customers' side.
    #[inline(always)]
    fn at_home(&self) -> bool {
        const LINK_LOCAL_V6: u64 = 0xfe80 << 48;
        let Addr { hi, lo } = self.headers.src;
        const HOME: u32 = Facts::CUSTOMER | Facts::NAS | Facts::OWN | Facts::NEIGHBOUR;
        self.facts.0 & HOME != 0
            || self.v6 && hi & prefix::mask(u64::MAX, 10) == LINK_LOCAL_V6
            || hi == 0 && lo == 0
    }

    /// What no honest packet has.
    #[inline(always)]
    fn contradiction(&self) -> Option<Reason> {
        let headers = self.headers;
        if headers.fault != 0 {
            // The lengths and flags of transports that aren't ours to judge go on to whom they are for.
            let truncated = headers.fault == Reason::Truncated as u8;
            if truncated || self.number != OTHER {
                return Some(match headers.fault {
                    fault if fault == Reason::UdpLength as u8 => Reason::UdpLength,
                    fault if fault == Reason::TcpFlags as u8 => Reason::TcpFlags,
                    _ => Reason::Truncated,
                });
            }
        }
        if headers.src == headers.dst && headers.src != Addr::default() {
            return Some(Reason::Land);
        }
        if martian(headers, self.v6) {
            return Some(Reason::Martian);
        }
        if self.number == OTHER || self.number == OUTGOING_SMTP {
            return None;
        }
        if headers.sport == 0 {
            return Some(Reason::ZeroPort);
        }
        if headers.proto == proto::UDP {
            let forbidden = self.v6 && headers.checksum == 0;
            return forbidden.then_some(Reason::ZeroChecksum);
        }
        nonsense(headers.tcp_flags).then_some(Reason::TcpFlags)
    }

    /// The service's own checks: what is still to be within, or the reason to refuse.
    #[inline(always)]
    fn examine<F: Frame + ?Sized>(
        &self,
        frame: &F,
        service: &Service<<W::Table as Lines>::Line>,
        question: &mut dns::Question,
    ) -> Result<Bounds, Refusal> {
        let first = self.headers.fragment == Fragment::First as u8;
        if self.number != OTHER && first && service.drops_fragments() {
            return Err(Reason::Fragment.into());
        }
        match service.kind() {
            kind if kind == Kind::Dns as u8 => self.dns(frame, service, question),
            kind if kind == Kind::Tcp as u8 => Ok(self.tcp()),
            kind if kind == Kind::DnsTcp as u8 => self.dns_tcp(service),
            kind if kind == Kind::Any as u8 => Ok(self.any()),
            kind => self.radius(frame, kind),
        }
    }

    /// Bits that the client chose at random: good enough to share out slips and notes.
    #[inline(always)]
    fn dice(&self, question: &dns::Question) -> u16 {
        question.id ^ self.headers.sport
    }

    #[inline(always)]
    fn any(&self) -> Bounds {
        let headers = self.headers;
        if self.number == OUTGOING_SMTP {
            let free = self.facts.has(Facts::MAIL_SERVER) || !opens(headers.tcp_flags);
            return Bounds::new(
                0,
                if free { service::NONE } else { service::SOURCE },
                Reason::Clean,
            );
        }
        let later = headers.fragment == Fragment::Later as u8;
        let pass = if later { Reason::LaterFragment } else { Reason::Other };
        Bounds::new(Bounds::NETWORKS, service::SOURCE, pass)
    }

    #[inline(always)]
    fn tcp(&self) -> Bounds {
        if opens(self.headers.tcp_flags) {
            Bounds::new(Bounds::NETWORKS, service::SOURCE, Reason::Clean)
        } else {
            Bounds::new(Bounds::STRAY, service::NONE, Reason::Established)
        }
    }

    #[inline(always)]
    fn dns_tcp(&self, service: &Service<<W::Table as Lines>::Line>) -> Result<Bounds, Refusal> {
        let world = service.rate(service::WORLD);
        match opens(self.headers.tcp_flags) {
            true if self.inside() => Ok(self.tcp()),
            true if world.is_unlimited() => Err(Reason::DnsOutsider.into()),
            true => Ok(Bounds::new(Bounds::NETWORKS, service::WORLD, Reason::Clean)),
            false => Ok(self.tcp()),
        }
    }

    /// Whether the source gets recursion.
    #[inline(always)]
    fn inside(&self) -> bool {
        self.facts.0 & (Facts::CUSTOMER | Facts::OWN) != 0
    }

    #[inline(always)]
    fn dns<F: Frame + ?Sized>(
        &self,
        frame: &F,
        service: &Service<<W::Table as Lines>::Line>,
        question: &mut dns::Question,
    ) -> Result<Bounds, Refusal> {
        let headers = self.headers;
        let inside = self.inside();
        if !inside && service.rate(service::WORLD).is_unlimited() {
            return Err(Reason::DnsOutsider.into());
        }
        let l4 = u32::from(headers.l4);
        *question = dns::check(frame, l4 + 8, l4 + u32::from(headers.l4_len))?;
        if question.qtype == dns::ANY && service.any() != AnyQuery::Pass as u8 {
            let slip = service.any() == AnyQuery::Slip as u8;
            return Err(Refusal { reason: Reason::DnsAny as u8, slip });
        }
        Ok(if inside {
            let customer = self.facts.has(Facts::CUSTOMER) && service.mode() == Mode::Enforce;
            let answer = if customer { Bounds::ANSWER } else { 0 };
            let flags = Bounds::NETWORKS | Bounds::PEACE | Bounds::SLIP | answer;
            Bounds::new(flags, service::SOURCE, Reason::Clean)
        } else {
            Bounds::new(Bounds::NETWORKS | Bounds::SLIP, service::WORLD, Reason::Clean)
        })
    }

    #[inline(always)]
    fn radius<F: Frame + ?Sized>(&self, frame: &F, kind: u8) -> Result<Bounds, Refusal> {
        if !self.facts.has(Facts::NAS) {
            return Err(Reason::RadiusOutsider.into());
        }
        let headers = self.headers;
        let l4 = u32::from(headers.l4);
        // A first fragment ends where its frame ends, not where its datagram does.
        let first = headers.fragment == Fragment::First as u8;
        let reach = if first { u32::from(headers.end) } else { u32::MAX };
        radius::check(frame, l4 + 8, l4 + u32::from(headers.l4_len), reach, kind)?;
        Ok(Bounds::new(0, service::SOURCE, Reason::Clean))
    }

    /// The limit of the source and the networks around it, then the budget. A familiar source answers for
    /// itself alone, and has a share of its own when the global budget is used up: a flood from its
    /// neighbourhood, or in its neighbours' names, is not its doing.
    #[inline(always)]
    fn limits(
        &self,
        service: &Service<<W::Table as Lines>::Line>,
        bounds: Bounds,
    ) -> Result<u8, Reason> {
        let Self { world, headers, number, .. } = *self;
        let now = world.now();
        let search = Charging {
            world,
            source: limit::Source { addr: headers.src, v6: self.v6, service: number },
            rate: service.rate(bounds.rate()),
            ticks: now >> limit::TICK_SHIFT,
        };
        let looked = limit::look(bounds.has(Bounds::NETWORKS), &search);
        let (places, crowded) = match looked {
            Look::SourceAbove if number == OUTGOING_SMTP => return Err(Reason::OutgoingSmtp),
            Look::SourceAbove => return Err(Reason::SourceLimit),
            Look::NetworkAbove(places) => (places, true),
            Look::Within(places) => (places, false),
        };
        let (budget, word) = if bounds.has(Bounds::STRAY) {
            (BudgetKind::Stray, service::STRAY)
        } else {
            (BudgetKind::Global, service::GLOBAL)
        };
        let within = !crowded && self.take(service, service.rate(word), budget, now);
        let reason =
            if within { bounds.pass() } else { self.reserve(service, bounds, crowded, now)? };
        if !places.charge() {
            world.race();
        }
        Ok(reason)
    }

    /// Whether there is far more room than the service needs. In a flood that takes what the budget gives, some forged addresses
    /// pass, too: none of them is to be remembered for it.
    #[inline(always)]
    fn is_calm(&self, service: &Service<<W::Table as Lines>::Line>) -> bool {
        let rate = service.rate(service::GLOBAL);
        let Some(line) = self.world.budgets().line(u32::from(self.number)) else { return false };
        let word = line.word(BudgetKind::Global.word());
        budget::is_half_free(word, rate, self.world.now() >> limit::TICK_SHIFT)
    }

    /// What is left for familiar sources when a network or the whole service is above its bound.
    #[inline(always)]
    fn reserve(
        &self,
        service: &Service<<W::Table as Lines>::Line>,
        bounds: Bounds,
        crowded: bool,
        now: u64,
    ) -> Result<u8, Reason> {
        let seconds = seconds(now);
        let proven = knows(self.world, self.headers, Proof::Handshake, seconds);
        if bounds.has(Bounds::STRAY) {
            // Not bounded any further: these are the packets of everybody's standing connections.
            return if proven { Ok(bounds.pass()) } else { Err(Reason::StrayLimit) };
        }
        let reserve = service.rate(service::RESERVE);
        // Whoever forges the addresses of a whole access network forges those of familiar sources, too. Half of what the
        // reserve gives at once is out of their reach, so that those who have proven their address find some of it.
        let (rate, budget) = if proven {
            (reserve, BudgetKind::Reserve)
        } else {
            (reserve.halved(), BudgetKind::Unproven)
        };
        let known = || {
            proven
                || bounds.has(Bounds::PEACE)
                    && knows(self.world, self.headers, Proof::Peace, seconds)
        };
        if (crowded || !reserve.is_unlimited()) && known() && self.take(service, rate, budget, now)
        {
            return Ok(Reason::Familiar as u8);
        }
        Err(if crowded { Reason::PrefixLimit } else { Reason::GlobalLimit })
    }

    #[inline(always)]
    fn take(
        &self,
        service: &Service<<W::Table as Lines>::Line>,
        rate: Rate,
        kind: BudgetKind,
        now: u64,
    ) -> bool {
        if rate.is_unlimited() {
            return true;
        }
        let (Some(line), Some(mut credits)) = (
            self.world.budgets().line(u32::from(self.number)),
            self.world.credits(self.number, kind),
        ) else {
            return true;
        };
        budget::take(
            line.word(kind.word()),
            &mut credits,
            rate,
            service.chunk(),
            now >> limit::TICK_SHIFT,
        )
    }
}

/// A packet to be charged to its source and the networks around it.
struct Charging<'a, W> {
    world: &'a W,
    source: limit::Source,
    rate: Rate,
    ticks: u64,
}

impl<W: World> limit::Search for Charging<'_, W> {
    type Word = <<W::Table as Lines>::Line as Line>::Word;

    #[inline(always)]
    fn find(&self, level: u32) -> Found<Self::Word> {
        let Self { world, source, rate, ticks } = *self;
        let (table, key, mask) = (world.limiter(), world.key(), world.limiter_mask());
        limit::find(&table, &key, mask, source, level, rate, ticks)
    }
}

/// Looks a source up among the familiar ones. A function of its own: it is rarely asked, and the kernel gives
/// a program 512 bytes of stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn knows<W: World>(world: &W, headers: &Headers, proof: Proof, seconds: u32) -> bool {
    familiar::knows(&world.familiar(), &world.key(), headers.src, headers.v6 != 0, proof, seconds)
}

/// Seconds of the wall's clock.
#[inline(always)]
const fn seconds(now: u64) -> u32 {
    (now / 1_000_000_000) as u32
}

/// Whether TCP flags open a connection.
#[inline(always)]
fn opens(flags: u8) -> bool {
    flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// TCP flags that no stack sends together (RFC 9293 section 3.10).
#[inline(always)]
fn nonsense(flags: u8) -> bool {
    let flags = flags & 0x3f;
    flags & (tcp::SYN | tcp::FIN) == tcp::SYN | tcp::FIN
        || flags & (tcp::SYN | tcp::RST) == tcp::SYN | tcp::RST
        || flags & (tcp::FIN | tcp::ACK) == tcp::FIN
        || flags & (tcp::SYN | tcp::RST | tcp::ACK) == 0
}

/// Sources that no packet on a wire can have (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5).
#[inline(always)]
fn martian(headers: &Headers, v6: bool) -> bool {
    let Addr { hi, lo } = headers.src;
    if v6 {
        // Multicast; loopback and IPv4-mapped; unspecified, but for what asks whether an address is free.
        let low = hi == 0 && (lo >> 32 == 0xffff || lo == 1);
        let nobody = hi == 0 && lo == 0 && headers.proto != proto::ICMPV6;
        return hi >> 56 == 0xff || low || nobody;
    }
    let first = (hi >> 56) as u8;
    // This network, but for a DHCP client; loopback; multicast, reserved and broadcast.
    let dhcp = hi == 0 && headers.proto == proto::UDP && headers.dport == 67;
    first == 0 && !dhcp || first == 127 || first >= 224
}
