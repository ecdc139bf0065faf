//! One giver, compiled: what a list of check items and a list of reply items come to.
//!
//! A subscriber's own items are a level, and so is each profile with its parents. What imported tables write among the
//! check items but means something about the subscriber (`Simultaneous-Use := 1`, `Expiration := "31 Dec 2026"`) is
//! taken out of them here, as is what is computed anew for each reply (Session-Timeout).

use std::sync::Arc;

use muralla_radius_dictionary::{Dictionary, Operator, Pair, Place};
use muralla_radius_wire::kind;

use crate::check::{Check, CheckError, Facts};
use crate::credential::{Credential, CredentialError};
use crate::hours::{Hours, HoursError};
use crate::items::{self, ItemError, Items, Key};

/// Most check items of one giver, its parents' included.
const MOST_CHECKS: usize = 64;

/// Attributes that give addresses, in the order of [`Level::sources`].
pub(crate) const ADDRESSES: [Key; 3] = [
    Key::top(kind::FRAMED_IP_ADDRESS),
    Key::top(kind::FRAMED_IPV6_PREFIX),
    Key::top(kind::DELEGATED_IPV6_PREFIX),
];

/// What one giver comes to.
#[derive(Debug, Default)]
pub(crate) struct Level {
    pub(crate) checks: Vec<Arc<Check>>,
    pub(crate) items: Items,
    pub(crate) limits: Limits,
    /// Of an IPv4 address, a framed IPv6 prefix, a delegated one.
    pub(crate) sources: [Option<Source>; 3],
    pub(crate) volumes: Vec<Volume>,
}

/// Limits that the nearest giver sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Somebody said `Auth-Type := Reject`: no nearer giver can lift it.
    pub(crate) disabled: bool,
    pub(crate) not_after: Option<i64>,
    pub(crate) simultaneous: Option<u16>,
    pub(crate) hours: Option<Arc<Hours>>,
    /// Seconds, from 1.
    pub(crate) session_timeout: Option<u32>,
    pub(crate) idle_timeout: Option<u32>,
    pub(crate) interim: Option<u32>,
}

/// Where an address comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// The reply items say it.
    Items,
    /// It is taken out of a pool.
    Pool(Arc<str>),
}

/// A vendor's limit of bytes. What the profile gives is the most; a subscriber's credit makes it less.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Volume {
    pub(crate) vendor: u32,
    /// The attribute of the lower 32 bits, and the one of the upper.
    pub(crate) low: u8,
    pub(crate) high: u8,
    pub(crate) most: u64,
}

/// Vendors, and their attributes for the lower and upper half of a limit in bytes: Mikrotik-Total-Limit and
/// Mikrotik-Total-Limit-Gigawords, ChilliSpot-Max-Total-Octets and ChilliSpot-Max-Total-Gigawords.
const VOLUMES: [(u32, u8, u8); 2] = [(14_988, 17, 18), (14_559, 3, 23)];

/// Attributes that limit what somebody uses in a day, a month or ever: FreeRADIUS's sqlcounter has them. What is to be done
/// instead stands beside them.
const COUNTERS: [(&str, &str); 11] = [
    ("Max-Daily-Session", DAILY),
    ("Max-Daily-Octets", DAILY),
    ("Daily-Session-Time", DAILY),
    ("Max-Weekly-Session", DAILY),
    ("Weekly-Session-Time", DAILY),
    ("Max-Monthly-Session", DAILY),
    ("Max-Monthly-Octets", DAILY),
    ("Monthly-Session-Time", DAILY),
    ("Max-All-Session", ONCE),
    ("Max-Never-Session", ONCE),
    ("Max-All-Octets", ONCE),
];

const DAILY: &str = "give a credit instead, and set it anew when each period begins (`muralla radius user set NAME --credit 1h` or `--credit-bytes 1G`)";
const ONCE: &str = "give what is left as a credit instead (`muralla radius user set NAME --credit 10h` or `--credit-bytes 10G`)";

/// The first item that limits what somebody uses over several sessions, and what to do instead: it would do nothing, and
/// whoever enters it relies on it.
pub fn uncounted(items: &[Pair]) -> Option<String> {
    items.iter().find_map(|pair| {
        let instead = instead_of(pair)?;
        Some(format!("{} is not counted here: {instead}", pair.redacted()))
    })
}

fn instead_of(pair: &Pair) -> Option<&'static str> {
    let name = pair.attribute.name();
    let known = COUNTERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.filter(|_| pair.attribute.is_internal()).map(|(_, instead)| *instead)
}

/// What was taken out of the lists besides.
#[derive(Debug, Default)]
pub(crate) struct Lifted {
    pub(crate) credential: Credential,
    pub(crate) profiles: Vec<String>,
    pub(crate) fall_through: Option<bool>,
    /// Items that do nothing here, in words for the operator.
    pub(crate) notes: Vec<String>,
}

/// Why lists can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LevelError {
    /// A check item.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A reply item.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// A password attribute.
    #[error("{attribute}: {error}")]
    Credential {
        /// The attribute.
        attribute: String,
        /// Why.
        error: CredentialError,
    },
    /// Login-Time.
    #[error("Login-Time: {0}")]
    Hours(#[from] HoursError),
    /// A number that is out of its range.
    #[error("{attribute} is out of its range: {expected}")]
    Range {
        /// The attribute.
        attribute: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Too many check items.
    #[error("there are more than {MOST_CHECKS} check items, parents' included: join them by =~")]
    TooManyChecks,
}

impl Level {
    /// Compiles two lists.
    pub(crate) fn new(
        dictionary: &Dictionary,
        check: &[Pair],
        reply: &[Pair],
    ) -> Result<(Self, Lifted), LevelError> {
        let mut level = Self::default();
        let mut lifted = Lifted::default();
        for pair in check {
            level.take_check(pair, &mut lifted)?;
        }
        let mut rest = Vec::with_capacity(reply.len());
        for pair in reply {
            if !level.take_reply(pair, &mut lifted)? {
                rest.push(pair.clone());
            }
        }
        level.items = Items::new(dictionary, &rest)?;
        for (source, key) in level.sources.iter_mut().zip(ADDRESSES) {
            if level.items.has(key) {
                *source = Some(Source::Items);
            }
        }
        level.insist_on_bounds()?;
        Ok((level, lifted))
    }

    /// This, which is nearer, and of the others what it leaves room for.
    pub(crate) fn over(&self, others: &Self) -> Result<Self, LevelError> {
        let [address, framed, delegated] = &self.sources;
        let [other_address, other_framed, other_delegated] = &others.sources;
        let items = self.items.over(&others.items);
        if items.length() > items::LONGEST {
            return Err(ItemError::TooLong.into());
        }
        let mut volumes = self.volumes.clone();
        volumes.extend(
            others
                .volumes
                .iter()
                .filter(|other| !self.volumes.iter().any(|volume| volume.vendor == other.vendor)),
        );
        let (near, far) = (&self.limits, &others.limits);
        let level = Self {
            checks: self.checks.iter().chain(&others.checks).cloned().collect(),
            items,
            limits: Limits {
                disabled: near.disabled || far.disabled,
                not_after: near.not_after.or(far.not_after),
                simultaneous: near.simultaneous.or(far.simultaneous),
                hours: near.hours.clone().or_else(|| far.hours.clone()),
                session_timeout: near.session_timeout.or(far.session_timeout),
                idle_timeout: near.idle_timeout.or(far.idle_timeout),
                interim: near.interim.or(far.interim),
            },
            sources: [
                address.clone().or_else(|| other_address.clone()),
                framed.clone().or_else(|| other_framed.clone()),
                delegated.clone().or_else(|| other_delegated.clone()),
            ],
            volumes,
        };
        level.insist_on_bounds()?;
        Ok(level)
    }

    /// The first check item that does not hold.
    pub(crate) fn failing(&self, facts: &Facts<'_>) -> Option<&Arc<Check>> {
        self.checks.iter().find(|check| !check.holds(facts))
    }

    /// Whether it says nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        let Limits { disabled, not_after, simultaneous, hours, .. } = &self.limits;
        let Limits { session_timeout, idle_timeout, interim, .. } = &self.limits;
        self.checks.is_empty()
            && self.items.is_empty()
            && self.volumes.is_empty()
            && self.sources.iter().all(Option::is_none)
            && !disabled
            && not_after.is_none()
            && simultaneous.is_none()
            && hours.is_none()
            && session_timeout.or(*idle_timeout).or(*interim).is_none()
    }

    /// Takes a pool for addresses of that place in [`Level::sources`], unless the items say an address.
    pub(crate) fn set_pool(&mut self, place: usize, pool: Option<&str>) {
        if let (Some(source @ None), Some(pool)) = (self.sources.get_mut(place), pool) {
            *source = Some(Source::Pool(pool.into()));
        }
    }

    fn insist_on_bounds(&self) -> Result<(), LevelError> {
        if self.checks.len() > MOST_CHECKS {
            return Err(LevelError::TooManyChecks);
        }
        Ok(())
    }

    fn take_check(&mut self, pair: &Pair, lifted: &mut Lifted) -> Result<(), LevelError> {
        let attribute = &pair.attribute;
        let name = attribute.name();
        // What old tables say by == is meant as := for these.
        let says = pair.operator.sets() || pair.operator == Operator::Is;
        if says && let Some(credential) = Credential::from_attribute(name, &bytes(pair)) {
            let credential = credential
                .map_err(|error| LevelError::Credential { attribute: name.to_owned(), error })?;
            if lifted.credential == Credential::None {
                lifted.credential = credential;
            }
            return Ok(());
        }
        if says && attribute.is_internal() && self.take_control(pair, lifted)? {
            return Ok(());
        }
        if let Some(instead) = instead_of(pair) {
            let note =
                format!("{} does nothing: it is not counted here; {instead}", pair.redacted());
            lifted.notes.push(note);
            return Ok(());
        }
        if pair.operator.sets() {
            lifted.notes.push(if attribute.is_internal() {
                format!("{} does nothing: it is not known here", pair.redacted())
            } else {
                format!("{} does nothing among check items: use == to compare", pair.redacted())
            });
            return Ok(());
        }
        self.checks.push(Arc::new(Check::new(pair)?));
        Ok(())
    }

    /// Takes what says something about the subscriber; false if it is nothing of the kind.
    fn take_control(&mut self, pair: &Pair, lifted: &mut Lifted) -> Result<bool, LevelError> {
        let attribute = &pair.attribute;
        let range =
            |expected| LevelError::Range { attribute: attribute.name().to_owned(), expected };
        let number = pair.value.number();
        let text = || pair.value.text().map(str::to_owned).unwrap_or_default();
        match attribute.name().to_ascii_lowercase().as_str() {
            "simultaneous-use" => {
                let most = number.and_then(|number| u16::try_from(number).ok());
                self.limits.simultaneous = Some(most.ok_or(range("0 to 65535"))?);
            }
            "login-time" => self.limits.hours = Some(Arc::new(Hours::parse(&text())?)),
            "expiration" => {
                let end = number.and_then(|number| i64::try_from(number).ok());
                self.limits.not_after = Some(end.ok_or(range("a date"))?);
            }
            "pool-name" => self.set_pool(0, Some(&text())),
            "pool6-name" => self.set_pool(1, Some(&text())),
            "delegated-pool6-name" => self.set_pool(2, Some(&text())),
            "user-profile" => lifted.profiles.push(text()),
            "fall-through" => lifted.fall_through = number.map(|number| number != 0),
            "auth-type" => {
                let name = number.and_then(|number| attribute.value_name(number));
                match name.map(str::to_ascii_lowercase).as_deref() {
                    Some("reject") => self.limits.disabled = true,
                    Some("accept") => lifted.credential = Credential::Anything,
                    // The request says by its attributes which method it is.
                    Some("local" | "pap" | "chap" | "mschap" | "ms-chap" | "system") => {}
                    _ => lifted.notes.push(format!(
                        "{} does nothing here: the request tells the method",
                        pair.redacted()
                    )),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes what is computed for each reply; false if it is to be sent as it stands.
    fn take_reply(&mut self, pair: &Pair, lifted: &mut Lifted) -> Result<bool, LevelError> {
        let attribute = &pair.attribute;
        if attribute.is_internal() {
            if let Some(instead) = instead_of(pair) {
                let item = pair.redacted();
                lifted
                    .notes
                    .push(format!("{item} does nothing: it is not counted here; {instead}"));
            } else if !self.take_control(pair, lifted)? {
                lifted.notes.push(format!(
                    "{} does nothing among reply items: it is for the server alone",
                    pair.redacted()
                ));
            }
            return Ok(true);
        }
        if !pair.operator.sets() {
            return Ok(false);
        }
        let Some(number) = pair.value.number() else { return Ok(false) };
        if let (Place::Vendor, [_, vendor, kind]) = (attribute.place(), attribute.numbers()) {
            return Ok(self.take_volume(*vendor, *kind, number));
        }
        let (Place::Top, [kind]) = (attribute.place(), attribute.numbers()) else {
            return Ok(false);
        };
        let limit = match u8::try_from(*kind) {
            Ok(kind::SESSION_TIMEOUT) => &mut self.limits.session_timeout,
            Ok(kind::IDLE_TIMEOUT) => &mut self.limits.idle_timeout,
            Ok(kind::ACCT_INTERIM_INTERVAL) => &mut self.limits.interim,
            _ => return Ok(false),
        };
        // Like `=`, where one is there. None at all is how tables say that there is no limit.
        if pair.operator == Operator::Set || limit.is_none() {
            *limit = u32::try_from(number).ok().filter(|seconds| *seconds > 0);
        }
        Ok(true)
    }

    fn take_volume(&mut self, vendor: u32, kind: u32, number: u64) -> bool {
        let Some(&(_, low, high)) = VOLUMES.iter().find(|(known, low, high)| {
            *known == vendor && [u32::from(*low), u32::from(*high)].contains(&kind)
        }) else {
            return false;
        };
        let word = number & u64::from(u32::MAX);
        let (mask, bits) = match kind == u32::from(high) {
            true => (u64::from(u32::MAX), word << 32),
            false => (u64::from(u32::MAX) << 32, word),
        };
        match self.volumes.iter_mut().find(|volume| volume.vendor == vendor) {
            Some(volume) => volume.most = volume.most & mask | bits,
            None => self.volumes.push(Volume { vendor, low, high, most: bits }),
        }
        true
    }
}

/// The bytes of a value, whatever its type.
fn bytes(pair: &Pair) -> Vec<u8> {
    pair.value.bytes().map(<[u8]>::to_vec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(check: &[&str], reply: &[&str]) -> Result<(Level, Lifted), LevelError> {
        let dictionary = Dictionary::built_in();
        let pairs = |texts: &[&str]| -> Vec<Pair> {
            texts
                .iter()
                .map(|text| {
                    Pair::parse(&dictionary, text).unwrap_or_else(|why| panic!("{text}: {why}"))
                })
                .collect()
        };
        Level::new(&dictionary, &pairs(check), &pairs(reply))
    }

    #[test]
    fn what_imported_tables_say_is_understood() {
        let (level, lifted) = level(
            &[
                "Cleartext-Password := \"secret\"",
                "Simultaneous-Use := 2",
                "Login-Time := \"Wk0800-1759\"",
                "Expiration := \"1798934400\"",
                "Pool-Name := \"main\"",
                "User-Profile := \"gold\"",
                "Calling-Station-Id == 0215955",
                "NAS-Port-Type := Async",
            ],
            &[
                "Session-Timeout := 3600",
                "Idle-Timeout = 600",
                "Acct-Interim-Interval = 300",
                "Fall-Through = Yes",
                "Framed-Protocol = PPP",
                "Mikrotik-Total-Limit := 1000",
                "Mikrotik-Total-Limit-Gigawords := 2",
            ],
        )
        .unwrap();
        assert_eq!(lifted.credential, Credential::parse("{CLEARTEXT}secret").unwrap());
        assert_eq!(lifted.profiles, ["gold"]);
        assert_eq!(lifted.fall_through, Some(true));
        assert_eq!(lifted.notes.len(), 1, "{:?}", lifted.notes);
        assert!(lifted.notes[0].contains("NAS-Port-Type"), "{:?}", lifted.notes);
        let limits = &level.limits;
        assert_eq!(limits.simultaneous, Some(2));
        assert_eq!(limits.not_after, Some(1_798_934_400));
        assert_eq!(limits.session_timeout, Some(3600));
        assert_eq!((limits.idle_timeout, limits.interim), (Some(600), Some(300)));
        assert_eq!(limits.hours.as_deref(), Some(&Hours::parse("Wk0800-1759").unwrap()));
        assert_eq!(level.sources, [Some(Source::Pool("main".into())), None, None]);
        assert_eq!(level.checks.len(), 1);
        assert_eq!(level.items.length(), 6, "Framed-Protocol alone is sent as it stands");
        let volume = Volume { vendor: 14_988, low: 17, high: 18, most: 2 << 32 | 1000 };
        assert_eq!(level.volumes, [volume]);
        assert!(!level.is_empty());
        assert!(Level::default().is_empty());
    }

    #[test]
    fn limits_over_several_sessions_are_told_with_what_to_do() {
        let dictionary = Dictionary::built_in();
        for (item, word) in [
            ("Max-Daily-Session := 3600", Some("--credit 1h")),
            ("Max-Monthly-Octets == 1000", Some("--credit-bytes 1G")),
            ("Max-All-Session := 36000", Some("what is left")),
            ("Simultaneous-Use := 1", None),
            ("ChilliSpot-Max-Total-Octets := 5", None),
        ] {
            let pair = Pair::parse(&dictionary, item).unwrap();
            let told = uncounted(std::slice::from_ref(&pair));
            assert_eq!(told.is_some(), word.is_some(), "{item}");
            let (level, lifted) = level(&[item], &[]).unwrap();
            if let (Some(word), Some(told)) = (word, told) {
                let name = item.split(' ').next().unwrap();
                assert!(told.contains(word) && told.contains(name), "{told}");
                // What came by other ways is told, and keeps nobody out.
                assert!(level.checks.is_empty() && lifted.notes[0].contains(name), "{lifted:?}");
            }
        }
    }

    #[test]
    fn each_kind_of_address_has_a_pool_among_check_items() {
        let pools =
            ["Pool-Name := \"v4\"", "Pool6-Name := \"v6\"", "Delegated-Pool6-Name := \"home\""];
        let (level, lifted) = level(&pools, &[]).unwrap();
        let pool = |name: &str| Some(Source::Pool(name.into()));
        assert_eq!(level.sources, [pool("v4"), pool("v6"), pool("home")]);
        assert_eq!((level.checks.len(), lifted.notes), (0, vec![]));
    }

    #[test]
    fn who_is_rejected_or_accepted_without_a_look() {
        let (rejected, _) = level(&["Auth-Type := Reject"], &[]).unwrap();
        assert!(rejected.limits.disabled);
        let (_, accepted) = level(&["Auth-Type := Accept"], &[]).unwrap();
        assert_eq!(accepted.credential, Credential::Anything);
        let (_, usual) = level(&["Auth-Type := PAP", "User-Password == \"old\""], &[]).unwrap();
        assert_eq!(usual.credential, Credential::parse("{CLEARTEXT}old").unwrap());
        assert_eq!(usual.notes, [""; 0]);
    }

    #[test]
    fn the_nearest_limit_counts_and_a_rejection_always() {
        let (near, _) = level(&["Simultaneous-Use := 1"], &["Session-Timeout = 60"]).unwrap();
        let (far, _) = level(
            &["Simultaneous-Use := 5", "Auth-Type := Reject", "NAS-Port == 1"],
            &["Session-Timeout := 90", "Idle-Timeout = 5", "Framed-IP-Address = 192.0.2.1"],
        )
        .unwrap();
        let both = near.over(&far).unwrap();
        assert_eq!(both.limits.simultaneous, Some(1));
        assert_eq!(both.limits.session_timeout, Some(60));
        assert_eq!(both.limits.idle_timeout, Some(5));
        assert!(both.limits.disabled);
        assert_eq!(both.checks.len(), 1);
        assert_eq!(both.sources, [Some(Source::Items), None, None]);
    }

    #[test]
    fn an_address_goes_before_a_pool_of_the_same_list() {
        let (level, _) =
            level(&["Pool-Name := \"main\""], &["Framed-IP-Address = 255.255.255.254"]).unwrap();
        assert_eq!(level.sources, [Some(Source::Items), None, None]);
    }

    #[test]
    fn what_can_not_be_used_is_refused() {
        let many: Vec<String> = (0..65).map(|port| format!("NAS-Port != {port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let cases: &[(&[&str], &[&str])] = &[
            (&["Simultaneous-Use := 70000"], &[]),
            (&["Login-Time := \"sometimes\""], &[]),
            (&["SSHA-Password := \"secret\""], &[]),
            (&[], &["Idle-Timeout == 5"]),
            (&[], &["Session-Timeout > 5"]),
            (&many, &[]),
        ];
        for (check, reply) in cases {
            let error = level(check, reply).expect_err(&format!("{check:?} {reply:?}")).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
