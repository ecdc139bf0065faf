//! Whether sessions are heard of often enough for their addresses to stay theirs.

use crate::{PoolEntry, ProfileEntry};

/// A lease must outlive two updates that are lost.
pub(crate) const UPDATES: u32 = 3;

/// Profiles whose sessions tell of themselves so seldom that a lease may end before its session, in words for the operator.
pub(crate) fn too_slow(pools: &[PoolEntry], profiles: &[ProfileEntry]) -> Vec<String> {
    let mut slow = Vec::new();
    for profile in profiles {
        let Some(interim) = interim_of(profile) else { continue };
        let named = [&profile.pool, &profile.pool6, &profile.delegated_pool6];
        for pool in named.into_iter().flatten() {
            let Some(pool) = pools.iter().find(|known| known.name == *pool) else { continue };
            if u64::from(interim) * u64::from(UPDATES) > u64::from(pool.lease_seconds) {
                slow.push(format!(
                    "profile {}: an update every {interim} s is too seldom for pool {}, whose leases live {} s without one: give \
                     {} s at most (`muralla radius profile set {} --interim {}s`), or leases more (`muralla radius pool set {} \
                     --lease {}s`)",
                    profile.name,
                    pool.name,
                    pool.lease_seconds,
                    pool.lease_seconds / UPDATES,
                    profile.name,
                    pool.lease_seconds / UPDATES,
                    pool.name,
                    u64::from(interim) * u64::from(UPDATES),
                ));
            }
        }
    }
    slow
}

/// Its Acct-Interim-Interval, by its own field or among its reply items.
fn interim_of(profile: &ProfileEntry) -> Option<u32> {
    let item = |item: &String| {
        let (name, rest) = item.split_once(char::is_whitespace)?;
        let number = rest.trim_start_matches([' ', '\t', ':', '=', '+']).trim_matches('"');
        name.eq_ignore_ascii_case("Acct-Interim-Interval").then(|| number.trim().parse().ok())?
    };
    profile.interim.or_else(|| profile.reply.iter().find_map(item)).filter(|interim| *interim > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_must_come_three_times_in_a_lease() {
        let mut pool = PoolEntry::ipv4("home", ["192.0.2.0/24"]);
        pool.lease_seconds = 900;
        for (interim, reply, slow) in [
            (None, None, false),
            (Some(300), None, false),
            (Some(301), None, true),
            (None, Some("Acct-Interim-Interval = 600"), true),
            (None, Some("acct-interim-interval := 60"), false),
            (Some(300), Some("Acct-Interim-Interval = 600"), false),
        ] {
            let profile = ProfileEntry {
                name: "gold".into(),
                pool6: Some("home".into()),
                interim,
                reply: reply.into_iter().map(Into::into).collect(),
                ..ProfileEntry::default()
            };
            let told = too_slow(std::slice::from_ref(&pool), &[profile]);
            assert_eq!(!told.is_empty(), slow, "{interim:?} {reply:?}: {told:?}");
            assert!(told.iter().all(|told| told.contains("pool set home --lease")), "{told:?}");
        }
    }
}
