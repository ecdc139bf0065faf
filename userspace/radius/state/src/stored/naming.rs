//! Names of NASes, which sessions go by.
//!
//! A session is named by its NAS's entry, and by no address, which changes: a box that goes by another name from one record to
//! the next tells of a new session, whose counters are billed from the beginning once more, and the one before stays open until
//! nothing was heard of it for long. So a name is not changed while sessions are open under it.

use ipnet::IpNet;
use muralla_database::{DatabaseError, Work};

use crate::{NasEntry, StateError};

/// What a change of a NAS's name is measured by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Naming<'n> {
    /// NASes that the database has not: those of the configuration, which go before its own of the same prefix.
    pub configured: &'n [(IpNet, String)],
    /// Whether the name is changed also where sessions are open under the one before.
    pub force: bool,
}

/// By which name packets go that come from all of a prefix: that of the longest prefix which it is in.
pub(super) fn name_of<'n>(
    prefix: IpNet,
    entries: &'n [NasEntry],
    configured: &'n [(IpNet, String)],
) -> Option<&'n str> {
    let configured = configured.iter().map(|(known, name)| (*known, true, name.as_str()));
    let entries = entries.iter().map(|nas| (nas.prefix, false, nas.name.as_str()));
    configured
        .chain(entries)
        .filter(|(known, ..)| known.trunc().contains(&prefix.trunc()))
        .max_by_key(|(known, is_configured, _)| (known.prefix_len(), *is_configured))
        .map(|(.., name)| name)
}

/// Open sessions of a NAS's name.
pub(crate) async fn open_sessions(work: &mut Work, name: &str) -> Result<i64, DatabaseError> {
    let sql = "SELECT count(*) FROM radius_session WHERE state = 0 AND nas = $1";
    work.number(sql, vec![name.into()]).await
}

/// What is wrong with another name for all of a prefix, while that many sessions are open under the one before.
pub(crate) fn renamed(prefix: IpNet, before: &str, sessions: i64) -> String {
    format!(
        "{sessions} sessions are open under the name {before}, which packets from {prefix} go by until now: by another name their \
         next records would be of new sessions, and all that they used be counted once more, while they themselves stay open and \
         keep their users' places until nothing was heard of them for long. Keep the name {before}, which several prefixes may \
         have (telco, groups and secret are each entry's own), or change it when nobody is on line"
    )
}

/// Takes out what would have packets go by another name while sessions are open under the one before: new entries within another's
/// prefix. Tells of each its prefix, and what is wrong.
pub(crate) async fn take_out_renaming(
    work: &mut Work,
    new: &mut Vec<NasEntry>,
    before: &[NasEntry],
    configured: &[(IpNet, String)],
) -> Result<Vec<(IpNet, String)>, DatabaseError> {
    let mut taken_out = Vec::new();
    for nas in std::mem::take(new) {
        let prefix = nas.prefix.trunc();
        let is_known = before.iter().any(|known| known.prefix.trunc() == prefix);
        let was = name_of(prefix, before, configured).filter(|_| !is_known);
        let is = name_of(prefix, std::slice::from_ref(&nas), configured);
        let sessions = match was {
            Some(was) if is != Some(was) => open_sessions(work, was).await?,
            _ => 0,
        };
        match was.filter(|_| sessions > 0) {
            Some(was) => taken_out.push((prefix, renamed(prefix, was, sessions))),
            None => new.push(nas),
        }
    }
    Ok(taken_out)
}

/// Refuses to have packets from a prefix go by another name while sessions are open under the one before. `after` is the entry
/// that the prefix is to have, if any.
pub(super) async fn refuse_renaming(
    work: &mut Work,
    prefix: IpNet,
    before: &[NasEntry],
    after: Option<&NasEntry>,
    naming: Naming<'_>,
) -> Result<(), StateError> {
    if naming.force {
        return Ok(());
    }
    let was = name_of(prefix, before, naming.configured);
    let mut entries: Vec<NasEntry> =
        before.iter().filter(|nas| nas.prefix.trunc() != prefix).cloned().collect();
    entries.extend(after.cloned());
    let is = name_of(prefix, &entries, naming.configured);
    // What nobody is let in from has no sessions to come.
    let (Some(was), Some(is)) = (was, is) else { return Ok(()) };
    if was == is {
        return Ok(());
    }
    let sessions = open_sessions(work, was).await?;
    if sessions == 0 {
        return Ok(());
    }
    let reason = format!(
        "{}; --force does it nevertheless, as is right where none of these sessions is on a box within {prefix}",
        renamed(prefix, was, sessions)
    );
    Err(StateError::invalid(format!("NAS {prefix}"), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_names_and_the_configuration_goes_first() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let entries = [
            NasEntry::new("wide", net("192.0.2.0/24"), "xyzzy5461"),
            NasEntry::new("box", net("192.0.2.16/28"), "xyzzy5461"),
            NasEntry::new("shadowed", net("198.51.100.0/24"), "xyzzy5461"),
        ];
        let configured = [(net("198.51.100.0/24"), "file".to_owned())];
        for (prefix, expected) in [
            ("192.0.2.16/28", Some("box")),
            ("192.0.2.17/32", Some("box")),
            ("192.0.2.0/27", Some("wide")),
            ("192.0.0.0/16", None),
            ("198.51.100.7/32", Some("file")),
            ("2001:db8::1/128", None),
        ] {
            assert_eq!(name_of(net(prefix), &entries, &configured), expected, "{prefix}");
        }
    }
}
