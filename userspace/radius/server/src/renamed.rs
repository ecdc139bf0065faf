//! NASes that go by another name than before while sessions are open under the one before.
//!
//! A session is named by its NAS's entry (see [`SessionId`](muralla_radius_accounting::SessionId)): the next record of a box that
//! goes by another name is of a new session, whose counters are counted from the beginning once more, and the session before stays
//! open and keeps its user's place. Nobody can take that back but an operator, so it is said for as long as it is so.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use crate::nases::Nases;

/// Most of them that are told, and remembered.
const MOST: usize = 20;

/// What packets from all of a prefix went by, and go by now.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Renamed {
    pub(crate) prefix: IpNet,
    pub(crate) was: Arc<str>,
    pub(crate) is: Arc<str>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Renamings {
    list: Vec<Renamed>,
}

impl Renamings {
    /// Compares those in force with those before. `open` tells how many sessions are open under a name. Gives words for what is
    /// new.
    pub(crate) fn note(
        &mut self,
        before: &Nases,
        now: &Nases,
        open: impl Fn(&str) -> usize,
    ) -> Vec<String> {
        self.list.retain(|renamed| open(&renamed.was) > 0);
        let mut new: Vec<Renamed> = now.renamed_since(before);
        // Whatever was said of the prefix before is not so any more.
        let prefixes: HashSet<IpNet> = new.iter().map(|renamed| renamed.prefix).collect();
        self.list.retain(|renamed| !prefixes.contains(&renamed.prefix));
        new.retain(|renamed| open(&renamed.was) > 0);
        new.sort_by_key(|renamed| renamed.prefix);
        let words = new.iter().take(MOST).map(|renamed| words(renamed, open(&renamed.was)));
        let words = words.collect();
        self.list.append(&mut new);
        self.list.truncate(MOST);
        words
    }

    /// Words for all of which that is so still, and for names under which sessions are `open`, each with how many, and that no
    /// NAS has.
    pub(crate) fn tell(&self, nases: &Nases, open: &[(String, usize)]) -> Vec<String> {
        let count = |name: &str| {
            open.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
        };
        let mut told: Vec<String> = Vec::new();
        let mut names: HashSet<&str> = nases.iter().map(|nas| &*nas.name).collect();
        for renamed in &self.list {
            let open = count(&renamed.was);
            if open > 0 {
                told.push(words(renamed, open));
                names.insert(&renamed.was);
            }
        }
        let orphans = open.iter().filter(|(name, count)| *count > 0 && !names.contains(&**name));
        told.extend(orphans.take(MOST).map(|(name, open)| {
            format!(
                "{open} sessions are open under the name {name}, which no NAS has: if one was given another name, give it that one \
                 back, or all that they used is counted once more; if it is gone, `muralla radius sessions close` ends them"
            )
        }));
        told
    }
}

fn words(renamed: &Renamed, open: usize) -> String {
    let Renamed { prefix, was, is } = renamed;
    format!(
        "NAS {is} ({prefix}) WAS {was}, AND {open} SESSIONS ARE OPEN UNDER THAT NAME: the next records of its boxes are of new sessions, \
         and what they used is counted once more, while those of before stay open and keep their users' places until nothing was \
         heard of them for long; unless none of them is on its boxes, give it the name {was} again until nobody is on line"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NasConfig;

    fn nases(list: &[(&str, &str)], before: &Nases) -> Nases {
        let config: Vec<NasConfig> = list
            .iter()
            .map(|(name, prefix)| {
                NasConfig::new(*name, prefix.parse().unwrap(), "a secret of sixteen")
            })
            .collect();
        let (nases, problems) = Nases::new(&config, &[], before, 1);
        assert_eq!(problems, [""; 0]);
        nases
    }

    #[test]
    fn another_name_is_told_while_sessions_are_open_under_the_one_before() {
        let before = nases(&[("pop", "192.0.2.0/24"), ("far", "2001:db8::/32")], &Nases::default());
        let on = |name: &str| if name == "pop" { 7 } else { 0 };
        let open = [("pop".to_owned(), 7)];
        // Renamed; a part of it cut out, also at its first address; and as it was.
        for (list, told) in [
            (&[("bras", "192.0.2.0/24"), ("far", "2001:db8::/32")][..], 1),
            (&[("pop", "192.0.2.0/24"), ("box", "192.0.2.0/28"), ("far", "2001:db8::/32")][..], 1),
            (&[("pop", "192.0.2.0/24"), ("pop", "192.0.2.0/28"), ("far", "2001:db8::/32")][..], 0),
            // Nobody is on line there.
            (&[("pop", "192.0.2.0/24"), ("near", "2001:db8::/32")][..], 0),
            (&[("pop", "192.0.2.0/24")][..], 0),
        ] {
            let (mut renamings, now) = (Renamings::default(), nases(list, &before));
            let words = renamings.note(&before, &now, on);
            assert_eq!(words.len(), told, "{list:?}: {words:?}");
            assert_eq!(renamings.tell(&now, &open), words, "{list:?}");
            assert!(words.iter().all(|words| words.contains("WAS pop, AND 7 SESSIONS")));
            // It is so no more once nobody is on line, or the name is back.
            assert_eq!(renamings.tell(&now, &[("pop".to_owned(), 0)]), [""; 0]);
            assert_eq!(renamings.note(&now, &before, on), [""; 0]);
            assert_eq!(renamings.tell(&before, &open), [""; 0], "{list:?}");
        }
    }

    #[test]
    fn the_outer_of_two_at_one_address_is_compared_with_the_outer() {
        let before = nases(&[("pop", "192.0.2.0/24"), ("box", "192.0.2.0/28")], &Nases::default());
        let now = nases(&[("bras", "192.0.2.0/24"), ("box", "192.0.2.0/28")], &before);
        let renamed = now.renamed_since(&before);
        assert_eq!(renamed.len(), 1);
        assert_eq!((&*renamed[0].was, &*renamed[0].is), ("pop", "bras"));
    }

    #[test]
    fn sessions_under_a_name_that_nobody_has_are_told_of() {
        let now = nases(&[("pop", "192.0.2.0/24")], &Nases::default());
        let open = [("pop".to_owned(), 7), ("old".to_owned(), 2), ("ended".to_owned(), 0)];
        let told = Renamings::default().tell(&now, &open);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("2 sessions are open under the name old, which no NAS has"));
    }
}
