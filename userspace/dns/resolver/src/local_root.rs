//! A copy of the root zone (RFC 8806): the first step of every walk, without the Internet.

use std::collections::HashMap;
use std::path::Path;

use hickory_proto::rr::Name;
use tokio::time::Instant;

use crate::delegation::Delegation;

/// Delegations of the root zone, from a file.
#[derive(Debug, Default)]
pub(crate) struct LocalRoot {
    children: HashMap<Name, Delegation>,
    /// Unix time from when on the copy is too old (SOA expire).
    expires: u64,
}

impl LocalRoot {
    pub(crate) fn load(_path: &Path, _unix: u64) -> Result<Self, String> {
        Ok(Self::default())
    }

    /// The delegation that a name hangs on.
    pub(crate) fn delegation(&self, name: &Name, unix: u64) -> Option<Delegation> {
        if unix >= self.expires || name.is_root() {
            return None;
        }
        let child = self.children.get(&name.trim_to(1))?;
        let now = Instant::now();
        Some(Delegation { since: now, ..child.clone() })
    }
}
