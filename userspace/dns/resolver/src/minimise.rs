//! QNAME minimisation (RFC 9156): which part of a name the servers of a zone are shown.

use hickory_proto::rr::Name;

use crate::config::Minimisation;

/// Most queries for parts of one name (RFC 9156 section 2.3, MAX_MINIMISE_COUNT).
const MAX_PROBES: usize = 10;

/// How many of them add a single label (MINIMISE_ONE_LAB).
const SINGLE_STEPS: usize = 4;

/// The state of one walk down a name.
#[derive(Debug)]
pub(crate) struct Minimiser {
    name: Name,
    /// Labels of the name that were shown to a server, or that it is known to know.
    shown: usize,
    probes: usize,
    off: bool,
}

/// What is asked next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Probe {
    /// A part of the name, for address records, which every server answers.
    Part(Name),
    /// The question itself.
    Whole,
}

impl Minimiser {
    /// Starts at the servers of a zone.
    pub(crate) fn new(name: &Name, zone: &Name, mode: Minimisation) -> Self {
        Self {
            name: name.clone(),
            shown: zone.iter().len(),
            probes: 0,
            off: mode == Minimisation::Off,
        }
    }

    /// What is asked next; the caller then reports by [`Self::descend`], [`Self::give_up`] or asks again after the part
    /// turned out to exist.
    pub(crate) fn next(&mut self) -> Probe {
        let total = self.name.iter().len();
        // Below the last label there's nothing to hide: a DS record lies above its name, and the whole is as short.
        if self.off || self.probes >= MAX_PROBES || self.shown + 1 >= total {
            return Probe::Whole;
        }
        let left = total - self.shown;
        let step = if self.probes < SINGLE_STEPS {
            1
        } else {
            // The rest in equal parts, so that 34 labels of ip6.arpa fit.
            left.div_ceil(MAX_PROBES - self.probes).max(1)
        };
        self.probes += 1;
        self.shown += step;
        if self.shown >= total {
            return Probe::Whole;
        }
        let part = self.name.trim_to(self.shown);
        // Labels with an underscore name services, and zones are hardly cut there (section 2.3): show what follows too.
        if part.iter().next().is_some_and(|label| label.first() == Some(&b'_')) {
            return self.next();
        }
        Probe::Part(part)
    }

    /// Whether no part is left to be asked before the whole.
    pub(crate) fn is_through(&self) -> bool {
        self.off || self.shown + 1 >= self.name.iter().len()
    }

    /// A referral led to the servers of a deeper zone.
    pub(crate) fn descend(&mut self, zone: &Name) {
        self.shown = zone.iter().len();
    }

    /// From here on the whole name is asked.
    pub(crate) fn give_up(&mut self) {
        self.off = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn walk(text: &str, zone: &str, mode: Minimisation) -> Vec<String> {
        let mut minimiser = Minimiser::new(&name(text), &name(zone), mode);
        let mut parts = Vec::new();
        loop {
            match minimiser.next() {
                Probe::Part(part) => parts.push(part.to_string()),
                Probe::Whole => return parts,
            }
        }
    }

    #[test]
    fn a_name_is_shown_label_by_label() {
        for (question, zone, expected) in [
            ("www.example.com.", ".", vec!["com.", "example.com."]),
            ("www.example.com.", "com.", vec!["example.com."]),
            ("www.example.com.", "example.com.", vec![]),
            ("com.", ".", vec![]),
            (".", ".", vec![]),
            ("_25._tcp.mx.a.b.", "b.", vec!["a.b.", "mx.a.b."]),
        ] {
            assert_eq!(walk(question, zone, Minimisation::Strict), expected, "{question} {zone}");
        }
        assert!(walk("www.example.com.", ".", Minimisation::Off).is_empty());
    }

    #[test]
    fn the_longest_names_need_few_queries() {
        let reverse = Name::from("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap());
        let parts = walk(&reverse.to_string(), ".", Minimisation::Strict);
        assert!(parts.len() <= MAX_PROBES, "{parts:?}");
        assert_eq!(parts.first().map(String::as_str), Some("arpa."));
    }

    #[test]
    fn a_referral_skips_what_it_tells() {
        let mut minimiser = Minimiser::new(&name("a.b.c.d.e."), &name("."), Minimisation::Strict);
        assert_eq!(minimiser.next(), Probe::Part(name("e.")));
        minimiser.descend(&name("c.d.e."));
        assert_eq!(minimiser.next(), Probe::Part(name("b.c.d.e.")));
        minimiser.give_up();
        assert_eq!(minimiser.next(), Probe::Whole);
    }
}
