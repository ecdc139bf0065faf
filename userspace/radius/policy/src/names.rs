//! How a User-Name leads to a subscriber: letters' case, and realms.

use std::collections::HashMap;

/// Longest name of a subscriber, in bytes: what fits into User-Name.
pub const LONGEST_NAME: usize = 253;

/// Whether `Ann` and `ann` are the same subscriber.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Case {
    /// No.
    #[default]
    Exact,
    /// Yes, for the letters of ASCII; others are compared as they stand.
    Folded,
}

/// What is done with a realm: the part of a name that says whose user it is, as in `ann@isp.example`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Realm {
    /// It is part of the subscriber's name.
    #[default]
    Keep,
    /// The subscriber's name is what is left without it.
    Strip,
    /// Its users are none of ours.
    Refuse,
}

/// How names are read. The default: letters' case matters, and a name is taken as a whole.
#[derive(Clone, Debug, Default)]
pub struct Names {
    case: Case,
    /// Realms by name, in small letters.
    realms: HashMap<Box<str>, Realm>,
    others: Realm,
    bare: Option<Box<str>>,
}

/// A name, and what to do with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Login<'a> {
    /// The subscriber's name.
    Local(&'a [u8]),
    /// A realm whose users are refused.
    Refused,
}

impl Names {
    /// Reads names with this rule for letters.
    pub fn new(case: Case) -> Self {
        Self { case, ..Self::default() }
    }

    /// Does this with one realm. Its name is read without regard to case.
    #[must_use]
    pub fn with_realm(mut self, name: &str, realm: Realm) -> Self {
        self.realms.insert(name.to_ascii_lowercase().into(), realm);
        self
    }

    /// Does this with all realms that are not named.
    #[must_use]
    pub fn with_other_realms(mut self, realm: Realm) -> Self {
        self.others = realm;
        self
    }

    /// Takes names without a realm for names with this one, wherever it is kept.
    #[must_use]
    pub fn with_default_realm(mut self, name: &str) -> Self {
        self.bare = Some(name.into());
        self
    }

    /// Whether letters' case matters.
    pub fn case(&self) -> Case {
        self.case
    }

    /// What a User-Name leads to. `buffer` is for names that have to be put together.
    pub fn login<'a>(&self, user_name: &'a [u8], buffer: &'a mut [u8; LONGEST_NAME]) -> Login<'a> {
        let (local, realm) = split(user_name);
        let Some(realm) = realm else {
            return Login::Local(self.with_realm_added(user_name, buffer));
        };
        match self.rule(realm) {
            Realm::Keep => Login::Local(user_name),
            Realm::Strip => Login::Local(local),
            Realm::Refuse => Login::Refused,
        }
    }

    /// Whether two names are the same subscriber's.
    pub(crate) fn same(&self, one: &[u8], other: &[u8]) -> bool {
        match self.case {
            Case::Exact => one == other,
            Case::Folded => one.eq_ignore_ascii_case(other),
        }
    }

    /// The spelling by which attempts, sessions and subscribers are found; the same for all that mean one subscriber.
    /// None for who is refused, and for names that are longer than any. `buffer` is for names that have to be changed.
    pub fn key<'a>(
        &self,
        user_name: &'a [u8],
        buffer: &'a mut [u8; LONGEST_NAME],
    ) -> Option<&'a [u8]> {
        let mut whole = [0; LONGEST_NAME];
        let local = match self.login(user_name, &mut whole) {
            Login::Local(local) => local,
            Login::Refused => return None,
        };
        let key = buffer.get_mut(..local.len())?;
        key.copy_from_slice(local);
        if self.case == Case::Folded {
            key.make_ascii_lowercase();
        }
        Some(key)
    }

    /// A subscriber's name as it is hashed.
    pub(crate) fn hashed<'a>(
        &self,
        name: &'a [u8],
        buffer: &'a mut [u8; LONGEST_NAME],
    ) -> &'a [u8] {
        if self.case == Case::Exact {
            return name;
        }
        let Some(folded) = buffer.get_mut(..name.len()) else { return name };
        folded.copy_from_slice(name);
        folded.make_ascii_lowercase();
        folded
    }

    fn rule(&self, realm: &[u8]) -> Realm {
        if self.realms.is_empty() {
            return self.others;
        }
        let mut small = [0; LONGEST_NAME];
        let Some(small) = small.get_mut(..realm.len()) else { return self.others };
        small.copy_from_slice(realm);
        small.make_ascii_lowercase();
        let known = str::from_utf8(small).ok().and_then(|name| self.realms.get(name));
        known.copied().unwrap_or(self.others)
    }

    fn with_realm_added<'a>(&self, name: &'a [u8], buffer: &'a mut [u8; LONGEST_NAME]) -> &'a [u8] {
        let Some(realm) = self
            .bare
            .as_ref()
            .filter(|realm| !name.is_empty() && self.rule(realm.as_bytes()) == Realm::Keep)
        else {
            return name;
        };
        let length = name.len() + 1 + realm.len();
        let Some(whole) = buffer.get_mut(..length) else { return name };
        let parts = name.iter().chain(b"@").chain(realm.as_bytes());
        whole.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        whole
    }
}

/// The user and the realm: `user@realm` (RFC 7542), or `REALM\user` as Windows writes it.
fn split(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    let parts = |at: usize| name.split_at_checked(at);
    if let Some(at) = name.iter().rposition(|byte| *byte == b'@')
        && let Some((user, [_, realm @ ..])) = parts(at)
        && !user.is_empty()
        && !realm.is_empty()
    {
        return (user, Some(realm));
    }
    if let Some(at) = name.iter().position(|byte| *byte == b'\\')
        && let Some((realm, [_, user @ ..])) = parts(at)
        && !user.is_empty()
        && !realm.is_empty()
    {
        return (user, Some(realm));
    }
    (name, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn login(names: &Names, user_name: &str) -> Option<String> {
        match names.login(user_name.as_bytes(), &mut [0; LONGEST_NAME]) {
            Login::Local(name) => Some(String::from_utf8(name.to_vec()).unwrap()),
            Login::Refused => None,
        }
    }

    #[test]
    fn names_and_realms() {
        let plain = Names::default();
        let strict = Names::default()
            .with_realm("ISP.example", Realm::Strip)
            .with_realm("partner.example", Realm::Keep)
            .with_other_realms(Realm::Refuse);
        let full = Names::default()
            .with_realm("gone.example", Realm::Refuse)
            .with_default_realm("isp.example");
        let long = "x".repeat(250);
        let cases = [
            (&plain, "ann", Some("ann")),
            (&plain, "ann@isp.example", Some("ann@isp.example")),
            (&plain, "HOME\\ann", Some("HOME\\ann")),
            (&plain, "", Some("")),
            (&strict, "ann", Some("ann")),
            (&strict, "ann@isp.EXAMPLE", Some("ann")),
            (&strict, "isp.example\\ann", Some("ann")),
            (&strict, "ann@partner.example", Some("ann@partner.example")),
            (&strict, "ann@elsewhere.example", None),
            // The last one counts.
            (&strict, "ann@elsewhere.example@isp.example", Some("ann@elsewhere.example")),
            (&strict, "HOME\\ann@isp.example", Some("HOME\\ann")),
            // No realm, or no user.
            (&strict, "ann@", Some("ann@")),
            (&strict, "@isp.example", Some("@isp.example")),
            (&strict, "\\ann", Some("\\ann")),
            (&full, "ann", Some("ann@isp.example")),
            (&full, "ann@other.example", Some("ann@other.example")),
            (&full, "ann@gone.example", None),
            (&full, "", Some("")),
            (&full, &long, Some(&long)),
        ];
        for (names, user_name, expected) in cases {
            assert_eq!(login(names, user_name).as_deref(), expected, "{user_name}");
        }
    }

    #[test]
    fn case_is_folded_where_it_is_said() {
        for (case, same) in [(Case::Exact, false), (Case::Folded, true)] {
            let names = Names::new(case);
            assert_eq!(names.same(b"Ann", b"aNN"), same);
            let key = |name: &str| {
                let mut buffer = [0; LONGEST_NAME];
                let key = names.key(name.as_bytes(), &mut buffer).unwrap().to_vec();
                let hashed = names.hashed(name.as_bytes(), &mut [0; LONGEST_NAME]).to_vec();
                assert_eq!(hashed, key);
                key
            };
            assert_eq!(key("Ann") == key("aNN"), same);
            assert_ne!(key("\u{e9}"), key("\u{c9}"));
        }
        let names = Names::new(Case::Folded).with_other_realms(Realm::Strip);
        let mut buffer = [0; LONGEST_NAME];
        assert_eq!(names.key(b"Ann@isp.example", &mut buffer), Some(&b"ann"[..]));
        assert_eq!(names.key(&[b'x'; 254], &mut buffer), None);
        let names = Names::default().with_other_realms(Realm::Refuse);
        assert_eq!(names.key(b"Ann@isp.example", &mut buffer), None);
    }

    proptest! {
        #[test]
        fn no_name_is_too_odd(name in proptest::collection::vec(any::<u8>(), 0..300)) {
            let names = Names::new(Case::Folded)
                .with_realm("a", Realm::Strip)
                .with_other_realms(Realm::Strip)
                .with_default_realm("b");
            if let Login::Local(local) = names.login(&name, &mut [0; LONGEST_NAME]) {
                prop_assert!(local.len() <= name.len());
            }
        }
    }
}
