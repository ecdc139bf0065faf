//! Where NASes send from, as of their last accounting records.
//!
//! Several boxes may be behind one entry of the configuration, each with its own address; and behind a translation of addresses
//! NAS-IP-Address is none at which a box can be reached. What its packets come from is, if anything is: that is kept for each box,
//! not for each session, so that it costs some kilobytes. After a restart it is learnt anew.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;

use muralla_radius_accounting::{Record, SessionView};
use parking_lot::RwLock;

/// Boxes that are told apart at most, as many as the session table knows: 9 MB of them.
const MOST: usize = 262_144;

/// What a box is known by: the NAS's entry, and what the box calls itself.
type Name<'a> = (&'a str, Option<&'a [u8]>, Option<IpAddr>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    keys: RandomState,
    /// By the hash of their names, whose 64 bits don't meet by chance, and whose key nobody knows.
    known: RwLock<HashMap<u64, IpAddr>>,
}

impl Whereabouts {
    /// Notes where a record came from; nothing of one that this server made itself.
    pub(crate) fn note(&self, record: &Record<'_>) {
        let source = record.source.ip().to_canonical();
        if source.is_unspecified() {
            return;
        }
        let hash = self.hash((record.nas, record.nas_identifier, record.nas_address));
        if self.known.read().get(&hash) == Some(&source) {
            return;
        }
        let mut known = self.known.write();
        if known.len() < MOST || known.contains_key(&hash) {
            known.insert(hash, source);
        }
    }

    /// Where the box that a session is on sends from, as far as it has done so since the start.
    pub(crate) fn of(&self, view: &SessionView) -> Option<IpAddr> {
        let name = (&*view.nas, view.nas_identifier.as_deref(), view.nas_address);
        self.known.read().get(&self.hash(name)).copied()
    }

    fn hash(&self, name: Name<'_>) -> u64 {
        self.keys.hash_one(name)
    }
}
