//! The decision about a request.
//!
//! The password comes first. Who has not proven who he is gets one answer, whether there is no such subscriber, his
//! password is wrong or his realm is refused, after about the same work: for those who are not known, what is offered
//! is compared with a decoy like the credentials of most. Only who has proven himself learns why he is refused.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::Guard;
use ipnet::Ipv6Net;
use muralla_radius_wire::method::{mschap, mschap2};
use muralla_radius_wire::vendor::{MICROSOFT, microsoft};
use muralla_radius_wire::{Packet, Target, Writer, kind};

use crate::base::{Base, Found, Generation, Mppe, Settings};
use crate::check::{Facts, Nas};
use crate::credential::{CostlyCheck, View};
use crate::hours::{Left, Moment};
use crate::items::{self, Items, Key, Salts};
use crate::level::{ADDRESSES, Level, Source, Volume};
use crate::offered::Offered;
use crate::profile::{Compiled, Profiles};
use crate::proof::{Proof, Proven, prove};
use crate::reason::Reason;
use crate::subscriber::{Fields, MOST_PROFILES, Record};

/// A request to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The packet, whose authenticity was checked.
    pub packet: &'a Packet<'a>,
    /// What it offers.
    pub offered: &'a Offered<'a>,
    /// Where it came from.
    pub nas: Nas<'a>,
}

/// Who wants a session, and where.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The subscriber's name, in the spelling that he is stored by.
    pub user: &'a str,
    /// The NAS's name.
    pub nas: &'a str,
    /// NAS-Port.
    pub port: Option<u32>,
    /// NAS-Port-Id.
    pub port_id: Option<&'a [u8]>,
    /// Calling-Station-Id.
    pub station: Option<&'a [u8]>,
    /// NAS-Identifier: which of the boxes behind the NAS's entry it is.
    pub identifier: Option<&'a [u8]>,
    /// NAS-IP-Address or NAS-IPv6-Address, for the same.
    pub address: Option<IpAddr>,
    /// Acct-Session-Id, which some NASes send already.
    pub session: Option<&'a [u8]>,
}

/// The sessions that are open now.
pub trait Sessions {
    /// How many sessions a user has, not counting one on the same line of the same NAS (by all of NAS-Port-Id, NAS-Port,
    /// Calling-Station-Id and the box, as far as both tell them): that one is over, or the NAS would not ask for another.
    fn open(&self, holder: &Holder<'_>) -> usize;

    /// What a user's sessions have used that is not off his credit yet: open ones since their last records, and what
    /// records tell, of ended ones as well, that is not in the database yet.
    fn uncharged(&self, holder: &Holder<'_>) -> Used;
}

/// What sessions have used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Used {
    /// Session time in seconds.
    pub seconds: u64,
    /// Octets in both directions together.
    pub octets: u64,
}

/// The pools of addresses and prefixes. Asked on the hot path: what is given out was reserved before.
pub trait Pools {
    /// An address for a session; the same one for the same holder, who may ask again.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if there is none.
    fn address(&self, pool: &str, holder: &Holder<'_>) -> Result<Ipv4Addr, PoolError>;

    /// A prefix for a session; the same one for the same holder.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if there is none.
    fn prefix(&self, pool: &str, holder: &Holder<'_>) -> Result<Ipv6Net, PoolError>;

    /// How often a session that has something of a pool must tell of itself to keep it, in seconds; none if it need not.
    fn interim(&self, pool: &str) -> Option<u32>;
}

/// Why a pool gives nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PoolError {
    /// There is no such pool.
    #[error("there is no such pool")]
    Unknown,
    /// Nothing is free.
    #[error("nothing of the pool is free")]
    Empty,
    /// Nothing is reserved here, and nobody can be asked.
    #[error("nothing of the pool is reserved here, and the database is away")]
    Away,
}

/// What is to be done with a request.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// Let him in.
    Accept(Accept),
    /// Refuse him.
    Reject(Refusal),
    /// Say nothing: another server may know better.
    Drop(Refusal),
    /// His password takes milliseconds to compare: run it elsewhere, and then [`resume`].
    Costly(Costly),
}

/// A comparison that is left to be done.
#[derive(Debug)]
pub struct Costly {
    check: CostlyCheck,
    checked: Checked,
}

/// One that is done.
#[derive(Debug)]
pub struct Checked {
    /// The subscriber; for the decoy, why there is none.
    record: Result<Record, Reason>,
    generation: Arc<Generation>,
    fits: bool,
}

impl Costly {
    /// Compares: milliseconds of work, and for Argon2 as much memory as its parameters say.
    #[must_use]
    pub fn run(self) -> Checked {
        let Self { check, mut checked } = self;
        checked.fits = check.run();
        checked
    }
}

/// A refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What exactly, for the log: a check item, a profile, a pool.
    pub detail: Option<String>,
    /// The identifier that MS-CHAP-Error repeats.
    mschap: Option<(Version, u8)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    One,
    Two,
}

/// Decides about a request. `found` is whom its User-Name means. Allocates nothing but what is returned, and waits for
/// nobody.
pub fn decide(
    base: &Base,
    found: Found,
    request: &Request<'_>,
    sessions: &dyn Sessions,
    pools: &dyn Pools,
    now: Moment,
) -> Decision {
    if !base.is_ready() {
        return Decision::Drop(Refusal::new(Reason::NotReady, request));
    }
    if request.packet.first(kind::USER_NAME).is_none_or(<[u8]>::is_empty) {
        return Decision::Reject(Refusal::new(Reason::NoName, request));
    }
    let Found { generation, record } = found;
    let record = match record {
        Ok(record) => record,
        Err(unknown) => {
            let decoy = generation.decoy.load();
            return match prove(View::of(&decoy), request.offered) {
                Proof::Costly(check) => costly(check, Err(unknown), &generation),
                _ => Decision::Reject(Refusal::new(unknown, request)),
            };
        }
    };
    match prove(View::of(record.fields().credential), request.offered) {
        Proof::Proven(proven) => {
            let settings = base.settings();
            grant(&generation, &settings, record, proven, request, sessions, pools, now)
        }
        Proof::Wrong => Decision::Reject(Refusal::new(Reason::WrongPassword, request)),
        Proof::Impossible(why) => {
            Decision::Reject(Refusal::new(Reason::Impossible, request).because(&why.to_string()))
        }
        Proof::Costly(check) => costly(check, Ok(record), &generation),
    }
}

/// Goes on with a request after the costly comparison.
pub fn resume(
    base: &Base,
    checked: Checked,
    request: &Request<'_>,
    sessions: &dyn Sessions,
    pools: &dyn Pools,
    now: Moment,
) -> Decision {
    let Checked { record, generation, fits } = checked;
    match record {
        Err(unknown) => Decision::Reject(Refusal::new(unknown, request)),
        Ok(record) if fits => {
            let settings = base.settings();
            let proven = Proven::Plain;
            grant(&generation, &settings, record, proven, request, sessions, pools, now)
        }
        Ok(_) => Decision::Reject(Refusal::new(Reason::WrongPassword, request)),
    }
}

fn costly(
    check: CostlyCheck,
    record: Result<Record, Reason>,
    generation: &Arc<Generation>,
) -> Decision {
    let generation = Arc::clone(generation);
    Decision::Costly(Costly { check, checked: Checked { record, generation, fits: false } })
}

/// What somebody gets who has proven who he is, if he may have it.
#[expect(clippy::too_many_arguments, reason = "all that a decision depends on is an argument")]
fn grant(
    generation: &Generation,
    settings: &Settings,
    record: Record,
    proven: Proven,
    request: &Request<'_>,
    sessions: &dyn Sessions,
    pools: &dyn Pools,
    now: Moment,
) -> Decision {
    let profiles = generation.profiles.load();
    let outcome =
        Case { record: &record, profiles: &profiles, request, now }.judge(sessions, pools);
    let terms = match outcome {
        Ok(terms) => terms,
        Err(refusal) if refusal.reason == Reason::PoolAway => return Decision::Drop(refusal),
        Err(refusal) => return Decision::Reject(refusal),
    };
    let asked = request.packet.first(kind::USER_NAME).unwrap_or_default();
    Decision::Accept(Accept {
        reply_user_name: settings.reply_user_name && asked != record.name(),
        mppe: settings.mppe,
        terms,
        proven,
        profiles,
        record,
    })
}

/// Somebody who has proven who he is, and what he asks for.
struct Case<'a> {
    record: &'a Record,
    profiles: &'a Profiles,
    request: &'a Request<'a>,
    now: Moment,
}

/// What is granted.
#[derive(Debug, Default)]
struct Terms {
    applied: Applied,
    session_timeout: Option<u32>,
    idle_timeout: Option<u32>,
    interim: Option<u32>,
    simultaneous: Option<u16>,
    credit_bytes: Option<u64>,
    address: Option<Ipv4Addr>,
    prefixes: [Option<Ipv6Net>; 2],
    /// Attributes that the items don't give, because something else does.
    left_out: [bool; 3],
    shortage: Option<Arc<str>>,
}

/// Numbers of the profiles that apply, in their order.
#[derive(Clone, Copy, Debug, Default)]
struct Applied {
    numbers: [u32; MOST_PROFILES],
    count: usize,
}

impl Applied {
    fn push(&mut self, number: u32) {
        if let Some(place) = self.numbers.get_mut(self.count) {
            *place = number;
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.numbers.iter().take(self.count).copied()
    }
}

/// Levels, the nearest first.
fn levels<'a>(
    record: &'a Record,
    profiles: &'a Profiles,
    applied: &'a Applied,
) -> impl Iterator<Item = &'a Level> + Clone + 'a {
    let own = record.own().into_iter().map(|own| &**own);
    let ready = applied.iter().filter_map(move |number| profiles.ready(number));
    own.chain(ready.map(|ready| &ready.level))
}

impl<'a> Case<'a> {
    fn judge(&self, sessions: &dyn Sessions, pools: &dyn Pools) -> Result<Terms, Refusal> {
        let fields = self.record.fields();
        let mut terms = Terms { applied: self.applied(&fields)?, ..Terms::default() };
        let applied = terms.applied;
        let levels = levels(self.record, self.profiles, &applied);
        let mut nearest = levels.clone().map(|level| &level.limits);

        let mut session = Shortest(nearest.clone().find_map(|limits| limits.session_timeout));
        self.times(&fields, nearest.clone().find_map(|limits| limits.not_after), &mut session)?;
        if let Some(hours) = nearest.clone().find_map(|limits| limits.hours.as_ref()) {
            match hours.left(self.now) {
                Left::Closed => {
                    return Err(self.refusal(Reason::Hours).because(&hours.to_string()));
                }
                Left::Seconds(seconds) => session.limit(i64::from(seconds)),
                Left::Always => {}
            }
        }
        let holder = self.holder(&fields);
        self.credits(&fields, &holder, sessions, &mut session, &mut terms)?;
        terms.session_timeout = session.0;
        terms.idle_timeout = nearest.clone().find_map(|limits| limits.idle_timeout);
        terms.interim = nearest.clone().find_map(|limits| limits.interim);

        terms.simultaneous =
            fields.simultaneous.or_else(|| nearest.find_map(|limits| limits.simultaneous));
        if let Some(most) = terms.simultaneous {
            let open = sessions.open(&holder);
            if open >= usize::from(most) {
                return Err(self.refusal(Reason::Sessions).because(&format!("{open} of {most}")));
            }
        }
        // Last, for it takes something away.
        self.addresses(&fields, levels, &holder, pools, &mut terms)?;
        Ok(terms)
    }

    /// Which profiles apply, if he may connect from here at all.
    fn applied(&self, fields: &Fields<'_>) -> Result<Applied, Refusal> {
        let Request { packet, nas, .. } = *self.request;
        let facts = Facts { packet, nas, profiles: self.profiles, fields };
        let own = self.record.own();
        if fields.disabled || own.is_some_and(|own| own.limits.disabled) {
            return Err(self.refusal(Reason::Disabled));
        }
        if let Some(check) = own.and_then(|own| own.failing(&facts)) {
            return Err(self.refusal(Reason::Check).because(&check.to_string()));
        }
        let mut applied = Applied::default();
        let mut failed = None;
        for number in fields.profiles() {
            let Some(Compiled { level, fall_through }) =
                self.profiles.ready(number).map(|compiled| &**compiled)
            else {
                let name = self.profiles.name(number);
                return Err(self.refusal(Reason::BrokenProfile).because(name));
            };
            if let Some(check) = level.failing(&facts) {
                failed = Some((number, check));
                continue;
            }
            if level.limits.disabled {
                let name = self.profiles.name(number);
                return Err(self.refusal(Reason::Disabled).because(&format!("by profile {name}")));
            }
            applied.push(number);
            if !fall_through {
                break;
            }
        }
        match failed {
            Some((number, check)) if applied.count == 0 => {
                let name = self.profiles.name(number);
                Err(self.refusal(Reason::NoProfile).because(&format!("{name}: {check}")))
            }
            _ => Ok(applied),
        }
    }

    fn times(
        &self,
        fields: &Fields<'_>,
        by_items: Option<i64>,
        session: &mut Shortest,
    ) -> Result<(), Refusal> {
        let now = self.now.unix;
        if fields.not_before.is_some_and(|start| now < start) {
            return Err(self.refusal(Reason::NotYet));
        }
        // His own field counts, and so does what items say.
        for end in [fields.not_after, by_items].into_iter().flatten() {
            if now >= end {
                return Err(self.refusal(Reason::Expired));
            }
            session.limit(end.saturating_sub(now));
        }
        Ok(())
    }

    /// What is left of his credits, less what his sessions are about to take.
    fn credits(
        &self,
        fields: &Fields<'_>,
        holder: &Holder<'_>,
        sessions: &dyn Sessions,
        session: &mut Shortest,
        terms: &mut Terms,
    ) -> Result<(), Refusal> {
        let (seconds, bytes) = (fields.credit_seconds, fields.credit_bytes);
        if seconds.or(bytes).is_none() {
            return Ok(());
        }
        let used = sessions.uncharged(holder);
        let open = |used: u64| if used == 0 { "" } else { "sessions use the rest" };
        if let Some(left) = seconds {
            let left = left.saturating_sub_unsigned(used.seconds);
            if left <= 0 {
                return Err(self.refusal(Reason::NoTime).because(open(used.seconds)));
            }
            session.limit(left);
        }
        if let Some(left) = bytes {
            let left = left.saturating_sub_unsigned(used.octets);
            let left = u64::try_from(left).ok().filter(|left| *left > 0);
            let none = || self.refusal(Reason::NoVolume).because(open(used.octets));
            terms.credit_bytes = Some(left.ok_or_else(none)?);
        }
        Ok(())
    }

    fn holder(&self, fields: &Fields<'a>) -> Holder<'a> {
        let Request { packet, nas, .. } = self.request;
        Holder {
            user: str::from_utf8(fields.name).unwrap_or_default(),
            nas: nas.name,
            port: packet.number(kind::NAS_PORT),
            port_id: packet.first(kind::NAS_PORT_ID),
            station: packet.first(kind::CALLING_STATION_ID),
            identifier: packet.first(kind::NAS_IDENTIFIER),
            address: nas_address(packet),
            session: packet.first(kind::ACCT_SESSION_ID),
        }
    }

    fn addresses<'l>(
        &self,
        fields: &Fields<'_>,
        levels: impl Iterator<Item = &'l Level> + Clone,
        holder: &Holder<'_>,
        pools: &dyn Pools,
        terms: &mut Terms,
    ) -> Result<(), Refusal> {
        let own_pools = [fields.pool, fields.pool6, fields.delegated_pool6];
        let source = |place: usize| -> Option<&str> {
            let said = |level: &'l Level| level.sources.get(place).and_then(Option::as_ref);
            // His own items, then the pool of his own record, then his profiles.
            let own = self.record.own().and_then(|own| own.sources.get(place)?.as_ref());
            let pool = own_pools.get(place).copied().flatten();
            match (own, pool) {
                (Some(Source::Items), _) => None,
                (Some(Source::Pool(name)), None) => Some(&**name),
                (_, Some(number)) => self.profiles.pool(number).map(|name| &**name),
                (None, None) => match levels.clone().find_map(said)? {
                    Source::Items => None,
                    Source::Pool(name) => Some(&**name),
                },
            }
        };
        let mut leased = None;
        if let Some(address) = fields.address {
            terms.address = Some(address);
        } else if let Some(pool) = source(0) {
            terms.address = Some(
                pools
                    .address(pool, holder)
                    .map_err(|error| self.refusal(reason_of(error)).because(pool))?,
            );
            leased = pools.interim(pool);
        }
        terms.left_out[0] = terms.address.is_some();
        let fixed = [fields.prefix6, fields.delegated6];
        for (at, (prefix, fixed)) in terms.prefixes.iter_mut().zip(fixed).enumerate() {
            if let Some(left_out) = terms.left_out.get_mut(at + 1) {
                *left_out = fixed.is_some();
            }
            *prefix = fixed;
            let Some(pool) = source(at + 1).filter(|_| fixed.is_none()) else { continue };
            match pools.prefix(pool, holder) {
                Ok(given) => {
                    *prefix = Some(given);
                    leased = [leased, pools.interim(pool)].into_iter().flatten().min();
                    if let Some(left_out) = terms.left_out.get_mut(at + 1) {
                        *left_out = true;
                    }
                }
                // Better without IPv6 than not at all.
                Err(_) if terms.address.is_some() => terms.shortage = Some(pool.into()),
                Err(error) => return Err(self.refusal(reason_of(error)).because(pool)),
            }
        }
        // What comes of a pool is lost to who is not heard of.
        terms.interim = terms.interim.or(leased);
        Ok(())
    }

    fn refusal(&self, reason: Reason) -> Refusal {
        Refusal::new(reason, self.request)
    }
}

/// By which address a NAS calls itself.
fn nas_address(packet: &Packet<'_>) -> Option<IpAddr> {
    let of_4 = packet.address(kind::NAS_IP_ADDRESS).map(IpAddr::V4);
    of_4.or_else(|| packet.address6(kind::NAS_IPV6_ADDRESS).map(IpAddr::V6))
}

fn reason_of(error: PoolError) -> Reason {
    match error {
        PoolError::Unknown => Reason::NoPool,
        PoolError::Empty => Reason::PoolEmpty,
        PoolError::Away => Reason::PoolAway,
    }
}

/// The shortest of several limits, in seconds.
struct Shortest(Option<u32>);

impl Shortest {
    /// What is further away than a NAS may be able to count, 68 years, is no limit.
    fn limit(&mut self, seconds: i64) {
        let Ok(seconds) = i32::try_from(seconds.max(1)) else { return };
        let seconds = seconds.unsigned_abs();
        self.0 = Some(self.0.map_or(seconds, |known| known.min(seconds)));
    }
}

/// What somebody gets.
pub struct Accept {
    record: Record,
    profiles: Guard<Arc<Profiles>>,
    proven: Proven,
    terms: Terms,
    mppe: Mppe,
    reply_user_name: bool,
}

impl Accept {
    /// The subscriber's name, in the spelling that he is stored by.
    pub fn user(&self) -> &str {
        str::from_utf8(self.record.name()).unwrap_or_default()
    }

    /// Names of the profiles that apply, in their order.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.terms.applied.iter().map(|number| self.profiles.name(number))
    }

    /// Session-Timeout, in seconds.
    pub fn session_timeout(&self) -> Option<u32> {
        self.terms.session_timeout
    }

    /// Acct-Interim-Interval, in seconds.
    pub fn interim(&self) -> Option<u32> {
        self.terms.interim
    }

    /// His address, if it was stored or leased: not if his items say one.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.terms.address
    }

    /// His Framed-IPv6-Prefix and his Delegated-IPv6-Prefix, if they were stored or leased.
    pub fn prefixes(&self) -> [Option<Ipv6Net>; 2] {
        self.terms.prefixes
    }

    /// A pool of prefixes that had nothing for him: he is let in with his IPv4 address alone.
    pub fn shortage(&self) -> Option<&str> {
        self.terms.shortage.as_deref()
    }

    /// Writes the attributes of the accept. `salts` begin at random.
    pub fn write(&self, mut salts: Salts, writer: &mut Writer<'_>) {
        let Terms { applied, session_timeout, idle_timeout, interim, .. } = &self.terms;
        if self.reply_user_name {
            writer.push(kind::USER_NAME, self.record.name());
        }
        self.write_addresses(writer);
        for (kind, seconds) in [
            (kind::SESSION_TIMEOUT, session_timeout),
            (kind::IDLE_TIMEOUT, idle_timeout),
            (kind::ACCT_INTERIM_INTERVAL, interim),
        ] {
            seconds.iter().for_each(|seconds| writer.push_number(kind, *seconds));
        }
        let levels = levels(&self.record, &self.profiles, applied);
        self.write_volumes(levels.clone(), writer);
        let mut left_out = [Key::NONE; ADDRESSES.len()];
        for ((place, key), out) in left_out.iter_mut().zip(ADDRESSES).zip(self.terms.left_out) {
            if out {
                *place = key;
            }
        }
        let items = levels.map(|level| &level.items);
        items::write(items.clone(), &left_out, &mut salts, writer);
        self.write_mschap(items, &mut salts, writer);
    }

    fn write_addresses(&self, writer: &mut Writer<'_>) {
        if let Some(address) = self.terms.address {
            writer.push_address(kind::FRAMED_IP_ADDRESS, address);
        }
        let kinds = [kind::FRAMED_IPV6_PREFIX, kind::DELEGATED_IPV6_PREFIX];
        for (kind, prefix) in kinds.into_iter().zip(self.terms.prefixes) {
            let Some(prefix) = prefix else { continue };
            // RFC 3162 section 2.3: reserved, length, and the prefix, of which all 16 octets are sent.
            let mut value = [0; 18];
            let [_, length, octets @ ..] = &mut value;
            *length = prefix.prefix_len();
            *octets = prefix.network().octets();
            writer.push(kind, &value);
        }
    }

    /// Limits of bytes: what is left to him, or what his profile says if that is less. His profile says by giving
    /// one that there shall be one.
    fn write_volumes<'a>(
        &self,
        levels: impl Iterator<Item = &'a Level> + Clone,
        writer: &mut Writer<'_>,
    ) {
        let all = levels.clone().enumerate();
        for (at, volume) in
            all.flat_map(|(at, level)| level.volumes.iter().map(move |volume| (at, volume)))
        {
            let Volume { vendor, low, high, most } = *volume;
            let mut nearer = levels.clone().take(at).flat_map(|level| &level.volumes);
            if nearer.any(|volume| volume.vendor == vendor) {
                continue;
            }
            let bytes = self.terms.credit_bytes.map_or(most, |left| left.min(most));
            let [upper, lower] = [bytes >> 32, bytes & u64::from(u32::MAX)]
                .map(|half| u32::try_from(half).unwrap_or(u32::MAX).to_be_bytes());
            writer.push_vendor(vendor, low, &lower);
            if upper != [0; 4] {
                writer.push_vendor(vendor, high, &upper);
            }
        }
    }

    fn write_mschap<'a>(
        &self,
        mut items: impl Iterator<Item = &'a Items>,
        salts: &mut Salts,
        writer: &mut Writer<'_>,
    ) {
        match &self.proven {
            Proven::Plain => return,
            Proven::MsChap2(proven) => {
                writer.push_vendor(MICROSOFT, microsoft::CHAP2_SUCCESS, &proven.success());
            }
            Proven::MsChap(_) => {}
        }
        if self.mppe.policy == 0 {
            return;
        }
        match &self.proven {
            Proven::Plain => {}
            Proven::MsChap(keys) => {
                writer.push_hidden(Target::microsoft(microsoft::CHAP_MPPE_KEYS), keys);
            }
            Proven::MsChap2(proven) => {
                let send = Target::microsoft(microsoft::MPPE_SEND_KEY);
                writer.push_salted(send, salts.next(), &proven.send_key);
                let recv = Target::microsoft(microsoft::MPPE_RECV_KEY);
                writer.push_salted(recv, salts.next(), &proven.recv_key);
            }
        }
        let policy = Key::vendor(MICROSOFT, microsoft::MPPE_ENCRYPTION_POLICY);
        let types = Key::vendor(MICROSOFT, microsoft::MPPE_ENCRYPTION_TYPES);
        if items.any(|items| items.has(policy) || items.has(types)) {
            return;
        }
        let Mppe { policy, types } = self.mppe;
        let policy_kind = microsoft::MPPE_ENCRYPTION_POLICY;
        writer.push_vendor(MICROSOFT, policy_kind, &policy.to_be_bytes());
        writer.push_vendor(MICROSOFT, microsoft::MPPE_ENCRYPTION_TYPES, &types.to_be_bytes());
    }
}

/// Without keys.
impl std::fmt::Debug for Accept {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Accept")
            .field("user", &self.user())
            .field("profiles", &self.profiles().collect::<Vec<_>>())
            .field("proven", &self.proven)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl Refusal {
    /// A refusal for a reason of the caller's, such as [`Reason::Attempts`].
    pub fn new(reason: Reason, request: &Request<'_>) -> Self {
        let mschap = match request.offered {
            Offered::MsChap(attempt) => Some((Version::One, attempt.id)),
            Offered::MsChap2 { attempt, .. } => Some((Version::Two, attempt.id)),
            Offered::Nothing | Offered::Pap(_) | Offered::Chap(_) => None,
        };
        Self { reason, detail: None, mschap }
    }

    /// A refusal of a request whose offer can't be read.
    pub fn unreadable(why: impl std::fmt::Display) -> Self {
        Self { reason: Reason::BadOffer, detail: Some(why.to_string()), mschap: None }
    }

    fn because(mut self, detail: &str) -> Self {
        self.detail = Some(detail.to_owned()).filter(|detail| !detail.is_empty());
        self
    }

    /// Writes the attributes of the reject. `random` fills the challenge of MS-CHAP-Error, which nobody answers.
    pub fn write(&self, settings: &Settings, random: [u8; 16], writer: &mut Writer<'_>) {
        if let Some(text) = settings.texts.of(self.reason) {
            writer.push(kind::REPLY_MESSAGE, text.as_bytes());
        }
        let refusal = self.reason.mschap();
        let kind = microsoft::CHAP_ERROR;
        match self.mschap {
            Some((Version::One, id)) => {
                let [a, b, c, d, e, f, g, h, ..] = random;
                let error = mschap::error(id, refusal, &[a, b, c, d, e, f, g, h]);
                writer.push_vendor(MICROSOFT, kind, &error);
            }
            Some((Version::Two, id)) => {
                writer.push_vendor(MICROSOFT, kind, &mschap2::error(id, refusal, &random));
            }
            None => {}
        }
    }
}

/// For the log: the reason in words, and what exactly.
impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.reason.words())?;
        match &self.detail {
            Some(detail) => write!(out, ": {detail}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
