//! What leads nowhere: aliases of nobody, circles, forwards to who is not there.

use std::collections::BTreeSet;

use muralla_mail_envelope::Address;

use crate::index::{Index, Small};
use crate::record::{self, Account};
use crate::resolve::resolve;
use crate::{Directory, Name, Options, Resolution};

impl Directory {
    /// Looks at every alias, forward and catch-all, as they are in memory, and tells what is wrong with them, in words for
    /// the operator. Takes a second for half a million; call it where nobody waits for the thread.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let index = self.inner.index.load();
        problems(&index, self.options())
    }
}

fn problems(index: &Index, options: &Options) -> Vec<String> {
    let small = index.small();
    let mut problems = BTreeSet::new();
    index.each_alias(|alias| {
        let name = String::from_utf8_lossy(record::name_of(alias)).into_owned();
        if !small.domains.contains_key(crate::name::split(&name).1) {
            problems.insert(format!("alias {name}: its domain is none of ours"));
            return;
        }
        let targets = record::targets(alias).map(|(target, _)| target);
        look(index, &small, options, &format!("alias {name}"), targets, &mut problems);
        if let Some(whole) = crate::name::address_of(&name)
            && let Some(why) = wrong(&resolve(index, options, &whole))
        {
            problems.insert(format!("alias {name} {why}"));
        }
    });
    index.each_account(|record| {
        let Some(account) = Account::read(record) else { return };
        let what = format!("account {}", account.name);
        if !small.domains.contains_key(crate::name::split(account.name).1) {
            problems.insert(format!("{what}: its domain is none of ours"));
        }
        if !small.shards.contains_key(&account.shard) {
            problems.insert(format!(
                "{what}: there is no shard {}, where its mail lives",
                account.shard
            ));
        }
        if small.backends_of(&account).contains(&crate::BackendId::MISSING) {
            problems
                .insert(format!("{what}: one of its back-ends is not there, and its mail waits"));
        }
        look(index, &small, options, &what, account.forwards().into_iter(), &mut problems);
    });
    for domain in small.domains.values() {
        let what = format!("catch-all of {}", domain.entry.name);
        let targets: Vec<String> = domain.entry.catch_all.iter().map(ToString::to_string).collect();
        look(index, &small, options, &what, targets.iter().map(String::as_str), &mut problems);
        if let Some(other) = &domain.entry.alias_of
            && !small.domains.contains_key(other.as_str())
        {
            problems.insert(format!(
                "domain {}: {other}, which it is an alias of, is none of ours",
                domain.entry.name
            ));
        }
    }
    problems.into_iter().collect()
}

/// Looks where some targets lead; the name's own account among them is fine.
fn look<'a>(
    index: &Index,
    small: &Small,
    options: &Options,
    what: &str,
    targets: impl Iterator<Item = &'a str>,
    problems: &mut BTreeSet<String>,
) {
    for target in targets {
        let Ok(address) = Address::parse(target) else {
            problems.insert(format!("{what}: {target} is no address"));
            continue;
        };
        let ours = address.domain().and_then(|domain| small.domain(domain.as_str()));
        let Some(ours) = ours else { continue };
        let name = Name::join(&address.local.folded(), ours.entry.name.as_str());
        if name.is_some_and(|name| index.account(name.as_str()).is_some()) {
            continue;
        }
        if let Some(why) = wrong(&resolve(index, options, &address)) {
            problems.insert(format!("{what}: its target {target} {why}"));
        }
    }
}

fn wrong(resolution: &Resolution) -> Option<&'static str> {
    match resolution {
        Resolution::Deliver(_) | Resolution::Disabled | Resolution::NotOurs => None,
        Resolution::Unknown => Some("leads to nobody"),
        Resolution::Loop => Some("leads in a circle to nobody"),
        Resolution::TooMany => Some("leads to more than can be followed"),
    }
}

#[cfg(test)]
mod tests {
    use muralla_mail_envelope::Domain;

    use super::*;
    use crate::ShardId;
    use crate::entries::{DomainEntry, ShardEntry};
    use crate::index::SmallRows;
    use crate::record::{NewAccount, pack_alias};

    #[test]
    fn what_leads_nowhere_is_told() {
        let index = Index::new([1, 2]);
        let mut domain = DomainEntry::new(Domain::parse("a.example").unwrap());
        domain.catch_all = vec![Address::parse("nobody@b.example").unwrap()];
        let other = DomainEntry::new(Domain::parse("b.example").unwrap());
        let shard = ShardEntry {
            id: Some(ShardId::MAIN),
            name: "main".into(),
            location: None,
            packs: None,
            closed: false,
            note: None,
        };
        let rows =
            SmallRows { domains: vec![domain, other], shards: vec![shard], ..SmallRows::default() };
        index.set_small(Small::of(rows).0);
        let account = |id, name, shard, backends, forwards: &[&str]| {
            let mut account = NewAccount { id, name, shard, backends, ..NewAccount::default() };
            account.lists.forwards = forwards.iter().map(|text| (*text).to_owned()).collect();
            index.put_account(account.pack().into());
        };
        account(1, "ann@b.example", 1, "", &["x@else.example"]);
        account(2, "bob@b.example", 7, "gone", &["nobody@b.example"]);
        account(3, "carl@old.example", 1, "", &[]);
        let alias = |name, targets: &[&str]| {
            let targets: Vec<_> = targets.iter().map(|text| ((*text).to_owned(), true)).collect();
            index.put_alias(pack_alias(name, &targets).into());
        };
        alias("fine@b.example", &["ann@b.example", "x@else.example"]);
        alias("ann@b.example", &["ann@b.example"]);
        alias("half@b.example", &["ann@b.example", "nobody@b.example"]);
        alias("circle@b.example", &["circle2@b.example"]);
        alias("circle2@b.example", &["circle@b.example"]);
        alias("stray@old.example", &["ann@b.example"]);
        assert_eq!(
            problems(&index, &Options::default()),
            [
                "account bob@b.example: its target nobody@b.example leads to nobody",
                "account bob@b.example: one of its back-ends is not there, and its mail waits",
                "account bob@b.example: there is no shard 7, where its mail lives",
                "account carl@old.example: its domain is none of ours",
                "alias circle2@b.example leads in a circle to nobody",
                "alias circle2@b.example: its target circle@b.example leads in a circle to nobody",
                "alias circle@b.example leads in a circle to nobody",
                "alias circle@b.example: its target circle2@b.example leads in a circle to nobody",
                "alias half@b.example: its target nobody@b.example leads to nobody",
                "alias stray@old.example: its domain is none of ours",
                "catch-all of a.example: its target nobody@b.example leads to nobody",
            ]
        );
    }
}
