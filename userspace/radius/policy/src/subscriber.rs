//! Subscribers: as they are told, and as they lie in memory.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::Ipv6Net;
use muralla_radius_dictionary::Pair;
use triomphe::ThinArc;

use crate::credential::{Credential, Scheme, View};
use crate::level::Level;
use crate::names::LONGEST_NAME;

/// Most profiles of a subscriber.
pub const MOST_PROFILES: usize = 8;

/// A subscriber. `Subscriber { name, credential, ..Subscriber::default() }` may connect from anywhere, for as long as
/// he likes, and gets nothing but what his profiles give.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// His name, as it is left of User-Name by the rules for realms: 1 to 253 bytes.
    pub name: String,
    /// What he is known by. If it is [`Credential::None`], a password attribute among the check items counts.
    pub credential: Credential,
    /// His profiles. The first that applies is taken, and the next ones as well while a profile has
    /// [`fall_through`](crate::Profile::fall_through). None at all is as good as one that gives nothing.
    pub profiles: Vec<String>,
    /// He is refused.
    pub disabled: bool,
    /// He is refused before then, in seconds since 1970.
    pub not_before: Option<i64>,
    /// He is refused from then on, in seconds since 1970.
    pub not_after: Option<i64>,
    /// Seconds that are left to him.
    pub credit_seconds: Option<i64>,
    /// Bytes that are left to him, in both directions together.
    pub credit_bytes: Option<i64>,
    /// How many sessions he may have at a time, if not what his profile says.
    pub simultaneous: Option<u16>,
    /// What must hold of a request of his.
    pub check: Vec<Pair>,
    /// What he gets.
    pub reply: Vec<Pair>,
    /// His address.
    pub address: Option<Ipv4Addr>,
    /// His Framed-IPv6-Prefix.
    pub prefix6: Option<Ipv6Net>,
    /// His Delegated-IPv6-Prefix.
    pub delegated6: Option<Ipv6Net>,
    /// The pool of his address.
    pub pool: Option<String>,
    /// The pool of his Framed-IPv6-Prefix.
    pub pool6: Option<String>,
    /// The pool of his Delegated-IPv6-Prefix.
    pub delegated_pool6: Option<String>,
}

/// A subscriber as he lies in memory: what is said of him in as few bytes as it takes, one after the other. All of it is in
/// one place behind one pointer, since each pointer that a login follows is a wait for memory. To clone it is to share it.
#[derive(Clone)]
pub(crate) struct Record(ThinArc<Option<Arc<Level>>, u8>);

/// Which of the optional fields are there.
mod flag {
    pub(super) const DISABLED: u16 = 1;
    pub(super) const NOT_BEFORE: u16 = 1 << 1;
    pub(super) const NOT_AFTER: u16 = 1 << 2;
    pub(super) const CREDIT_SECONDS: u16 = 1 << 3;
    pub(super) const CREDIT_BYTES: u16 = 1 << 4;
    pub(super) const SIMULTANEOUS: u16 = 1 << 5;
    pub(super) const ADDRESS: u16 = 1 << 6;
    pub(super) const PREFIX6: u16 = 1 << 7;
    pub(super) const DELEGATED6: u16 = 1 << 8;
    pub(super) const POOL: u16 = 1 << 9;
    pub(super) const POOL6: u16 = 1 << 10;
    pub(super) const DELEGATED_POOL6: u16 = 1 << 11;
}

/// What is packed of a subscriber, with names of profiles and pools as numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) credential: &'a [u8],
    /// Numbers of four bytes each.
    profiles: &'a [u8],
    pub(crate) disabled: bool,
    pub(crate) not_before: Option<i64>,
    pub(crate) not_after: Option<i64>,
    pub(crate) credit_seconds: Option<i64>,
    pub(crate) credit_bytes: Option<i64>,
    pub(crate) simultaneous: Option<u16>,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) prefix6: Option<Ipv6Net>,
    pub(crate) delegated6: Option<Ipv6Net>,
    pub(crate) pool: Option<u32>,
    pub(crate) pool6: Option<u32>,
    pub(crate) delegated_pool6: Option<u32>,
}

/// Numbers of what a subscriber names.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) profiles: Vec<u32>,
    pub(crate) pool: Option<u32>,
    pub(crate) pool6: Option<u32>,
    pub(crate) delegated_pool6: Option<u32>,
}

impl Record {
    /// Packs a subscriber whose name and number of profiles were checked.
    pub(crate) fn new(
        subscriber: &Subscriber,
        credential: &Credential,
        numbers: &Numbers,
        own: Option<Arc<Level>>,
    ) -> Self {
        let mut packer = Packer(Vec::with_capacity(128));
        packer.flags(subscriber, numbers);
        packer.short(subscriber.name.as_bytes());
        let at = packer.0.len();
        packer.0.extend([0, 0]);
        credential.pack(&mut packer.0);
        let length = u16::try_from(packer.0.len() - at - 2).unwrap_or(u16::MAX);
        if let Some(place) = packer.0.get_mut(at..at + 2) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        packer.0.push(u8::try_from(numbers.profiles.len()).unwrap_or(u8::MAX));
        packer.0.extend(numbers.profiles.iter().flat_map(|number| number.to_be_bytes()));
        for time in [subscriber.not_before, subscriber.not_after] {
            packer.0.extend(time.into_iter().flat_map(i64::to_be_bytes));
        }
        for credit in [subscriber.credit_seconds, subscriber.credit_bytes] {
            packer.0.extend(credit.into_iter().flat_map(i64::to_be_bytes));
        }
        packer.0.extend(subscriber.simultaneous.into_iter().flat_map(u16::to_be_bytes));
        packer.0.extend(subscriber.address.into_iter().flat_map(|address| address.octets()));
        packer.prefix(subscriber.prefix6);
        packer.prefix(subscriber.delegated6);
        for pool in [numbers.pool, numbers.pool6, numbers.delegated_pool6] {
            packer.0.extend(pool.into_iter().flat_map(u32::to_be_bytes));
        }
        Self(ThinArc::from_header_and_slice(own, &packer.0))
    }

    /// Items of his own. Few have any.
    pub(crate) fn own(&self) -> Option<&Arc<Level>> {
        self.0.header.header.as_ref()
    }

    fn packed(&self) -> &[u8] {
        &self.0.slice
    }

    /// His name alone, which every look-up compares.
    pub(crate) fn name(&self) -> &[u8] {
        let mut unpacker = Unpacker(self.packed());
        unpacker.take::<2>();
        unpacker.short()
    }

    /// Everything that is packed.
    pub(crate) fn fields(&self) -> Fields<'_> {
        let mut unpacker = Unpacker(self.packed());
        let flags = u16::from_be_bytes(unpacker.take().unwrap_or_default());
        let has = |flag: u16| flags & flag != 0;
        let name = unpacker.short();
        let length = u16::from_be_bytes(unpacker.take().unwrap_or_default());
        let credential = unpacker.bytes(usize::from(length));
        let [count] = unpacker.take().unwrap_or_default();
        let profiles = unpacker.bytes(4 * usize::from(count));
        Fields {
            name,
            credential,
            profiles,
            disabled: has(flag::DISABLED),
            not_before: unpacker.number(has(flag::NOT_BEFORE)),
            not_after: unpacker.number(has(flag::NOT_AFTER)),
            credit_seconds: unpacker.number(has(flag::CREDIT_SECONDS)),
            credit_bytes: unpacker.number(has(flag::CREDIT_BYTES)),
            simultaneous: unpacker.take_if(has(flag::SIMULTANEOUS)).map(u16::from_be_bytes),
            address: unpacker.take_if::<4>(has(flag::ADDRESS)).map(Ipv4Addr::from),
            prefix6: unpacker.prefix(has(flag::PREFIX6)),
            delegated6: unpacker.prefix(has(flag::DELEGATED6)),
            pool: unpacker.take_if(has(flag::POOL)).map(u32::from_be_bytes),
            pool6: unpacker.take_if(has(flag::POOL6)).map(u32::from_be_bytes),
            delegated_pool6: unpacker.take_if(has(flag::DELEGATED_POOL6)).map(u32::from_be_bytes),
        }
    }

    /// What he is known by.
    pub(crate) fn scheme(&self) -> Scheme {
        View::of(self.fields().credential).scheme()
    }
}

/// Without what he is known by.
impl fmt::Debug for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Record").field(&String::from_utf8_lossy(self.name())).finish()
    }
}

impl Fields<'_> {
    /// Numbers of his profiles, in their order.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.profiles.as_chunks::<4>().0.iter().map(|number| u32::from_be_bytes(*number))
    }
}

struct Packer(Vec<u8>);

impl Packer {
    fn flags(&mut self, subscriber: &Subscriber, numbers: &Numbers) {
        let flags = [
            (flag::DISABLED, subscriber.disabled),
            (flag::NOT_BEFORE, subscriber.not_before.is_some()),
            (flag::NOT_AFTER, subscriber.not_after.is_some()),
            (flag::CREDIT_SECONDS, subscriber.credit_seconds.is_some()),
            (flag::CREDIT_BYTES, subscriber.credit_bytes.is_some()),
            (flag::SIMULTANEOUS, subscriber.simultaneous.is_some()),
            (flag::ADDRESS, subscriber.address.is_some()),
            (flag::PREFIX6, subscriber.prefix6.is_some()),
            (flag::DELEGATED6, subscriber.delegated6.is_some()),
            (flag::POOL, numbers.pool.is_some()),
            (flag::POOL6, numbers.pool6.is_some()),
            (flag::DELEGATED_POOL6, numbers.delegated_pool6.is_some()),
        ];
        let set = flags.iter().filter(|(_, there)| *there).fold(0_u16, |set, (flag, _)| set | flag);
        self.0.extend(set.to_be_bytes());
    }

    /// Its length in a byte, and at most [`LONGEST_NAME`] bytes.
    fn short(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(..LONGEST_NAME).unwrap_or(bytes);
        self.0.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(bytes);
    }

    fn prefix(&mut self, prefix: Option<Ipv6Net>) {
        if let Some(prefix) = prefix {
            self.0.push(prefix.prefix_len());
            self.0.extend(prefix.network().octets());
        }
    }
}

struct Unpacker<'a>(&'a [u8]);

impl<'a> Unpacker<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn take_if<const N: usize>(&mut self, there: bool) -> Option<[u8; N]> {
        if there { self.take() } else { None }
    }

    fn number(&mut self, there: bool) -> Option<i64> {
        self.take_if(there).map(i64::from_be_bytes)
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or_default();
        self.0 = rest;
        taken
    }

    fn short(&mut self) -> &'a [u8] {
        let [length] = self.take().unwrap_or_default();
        self.bytes(usize::from(length))
    }

    fn prefix(&mut self, there: bool) -> Option<Ipv6Net> {
        let [length] = self.take_if(there)?;
        let octets = self.take::<16>()?;
        Ipv6Net::new(Ipv6Addr::from(octets), length).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    fn any_prefix() -> impl Strategy<Value = Ipv6Net> {
        (any::<u128>(), 0..=128_u8)
            .prop_map(|(bits, length)| Ipv6Net::new(bits.into(), length).unwrap().trunc())
    }

    fn any_subscriber() -> impl Strategy<Value = (Subscriber, Numbers)> {
        let person = ("\\PC{1,60}", of("[ -~]{1,128}"), any::<bool>(), of(any::<u16>()));
        let times = (of(any::<i64>()), of(any::<i64>()), of(any::<i64>()), of(any::<i64>()));
        let addresses = (of(any::<u32>()), of(any_prefix()), of(any_prefix()));
        let numbers = (
            proptest::collection::vec(any::<u32>(), 0..9),
            of(any::<u32>()),
            of(any::<u32>()),
            of(any::<u32>()),
        );
        (person, times, addresses, numbers).prop_map(|(person, times, addresses, numbers)| {
            let (name, password, disabled, simultaneous) = person;
            let (not_before, not_after, credit_seconds, credit_bytes) = times;
            let (address, prefix6, delegated6) = addresses;
            let (profiles, pool, pool6, delegated_pool6) = numbers;
            let credential = password.map_or(Credential::None, |password| {
                Credential::cleartext(password.as_bytes()).unwrap()
            });
            let subscriber = Subscriber {
                name,
                credential,
                disabled,
                not_before,
                not_after,
                credit_seconds,
                credit_bytes,
                simultaneous,
                address: address.map(Ipv4Addr::from),
                prefix6,
                delegated6,
                ..Subscriber::default()
            };
            (subscriber, Numbers { profiles, pool, pool6, delegated_pool6 })
        })
    }

    fn same(record: &Record, subscriber: &Subscriber, numbers: &Numbers) {
        let fields = record.fields();
        assert_eq!(record.name(), subscriber.name.as_bytes());
        assert_eq!(fields.name, subscriber.name.as_bytes());
        assert_eq!(View::of(fields.credential).scheme(), subscriber.credential.scheme());
        assert!(fields.profiles().eq(numbers.profiles.iter().copied()));
        assert_eq!(fields.disabled, subscriber.disabled);
        assert_eq!(fields.not_before, subscriber.not_before);
        assert_eq!(fields.not_after, subscriber.not_after);
        assert_eq!(fields.credit_seconds, subscriber.credit_seconds);
        assert_eq!(fields.credit_bytes, subscriber.credit_bytes);
        assert_eq!(fields.simultaneous, subscriber.simultaneous);
        assert_eq!(fields.address, subscriber.address);
        assert_eq!(fields.prefix6, subscriber.prefix6);
        assert_eq!(fields.delegated6, subscriber.delegated6);
        assert_eq!(fields.pool, numbers.pool);
        assert_eq!(fields.pool6, numbers.pool6);
        assert_eq!(fields.delegated_pool6, numbers.delegated_pool6);
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            (subscriber, numbers) in any_subscriber(),
        ) {
            let record = Record::new(&subscriber, &subscriber.credential, &numbers, None);
            same(&record, &subscriber, &numbers);
        }
    }
}
