//! By which of its secrets a NAS last proved itself, while there are two.
//!
//! During a roll a box has the old secret or the new one. Its accounting says which, and so does a Message-Authenticator. But an
//! Access-Request of a NAS that sends none, by CHAP or MS-CHAP, says nothing: an answer by the wrong one is thrown away by the
//! box, which then takes this server for dead. So what was proven last is remembered for each address that packets come from.
//!
//! A table of fixed size for all threads, and none waits for another. A slot says which secret it was by a keyed hash of the
//! address and the secret itself: once the roll has ended and another begins it means no other one, and where two addresses
//! share a slot the one does not speak for the other.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use muralla_radius_wire::Secret;
use siphasher::sip::SipHasher13;

/// Addresses that are remembered: 64 KiB. Only those of NASes whose secret is being rolled are noted.
const SLOTS: usize = 1 << 13;

/// See the module.
pub(crate) struct Proven {
    keys: [u64; 2],
    slots: Box<[AtomicU64]>,
}

impl Proven {
    /// An empty table. The keys must be secret and random.
    pub(crate) fn new(keys: [u64; 2]) -> Self {
        Self { keys, slots: std::iter::repeat_with(AtomicU64::default).take(SLOTS).collect() }
    }

    /// Notes that a packet from there proved to be made with one of these secrets.
    pub(crate) fn note(&self, source: IpAddr, secrets: &[Secret], index: usize) {
        if secrets.len() < 2 {
            return;
        }
        let (Some(slot), Some(secret)) = (self.slot(source), secrets.get(index)) else { return };
        let mark = self.mark(source, secret);
        // Most say what is known, and leave the line to all threads.
        if slot.load(Relaxed) != mark {
            slot.store(mark, Relaxed);
        }
    }

    /// The index of the secret that packets from there proved last; 0, the one in force, if nothing is known.
    pub(crate) fn of(&self, source: IpAddr, secrets: &[Secret]) -> usize {
        let Some(slot) = self.slot(source) else { return 0 };
        let mark = slot.load(Relaxed);
        secrets.iter().position(|secret| self.mark(source, secret) == mark).unwrap_or_default()
    }

    fn slot(&self, source: IpAddr) -> Option<&AtomicU64> {
        let hash = self.hasher(source).finish();
        self.slots.get(usize::try_from(hash).unwrap_or_default() % SLOTS)
    }

    fn mark(&self, source: IpAddr, secret: &Secret) -> u64 {
        let mut hasher = self.hasher(source);
        hasher.write(secret.as_bytes());
        hasher.finish()
    }

    fn hasher(&self, source: IpAddr) -> SipHasher13 {
        let mut hasher = SipHasher13::new_with_keys(self.keys[0], self.keys[1]);
        match source.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_proof_counts_for_whoever_gave_it() {
        let secret = |text: &str| Secret::new(text).unwrap();
        let [one, other]: [IpAddr; 2] =
            ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let both = [secret("old"), secret("next")];
        let proven = Proven::new([1, 2]);
        assert_eq!(proven.of(one, &both), 0);
        proven.note(one, &both, 1);
        assert_eq!((proven.of(one, &both), proven.of(other, &both)), (1, 0));
        assert_eq!(proven.of("::ffff:192.0.2.1".parse().unwrap(), &both), 1);
        proven.note(one, &both, 0);
        assert_eq!(proven.of(one, &both), 0);
        // The next roll: what came in force by the one before is not the one to come.
        proven.note(one, &both, 1);
        assert_eq!(proven.of(one, &[secret("next"), secret("third")]), 0);
        assert_eq!(proven.of(one, &[secret("fourth"), secret("third")]), 0);
    }
}
