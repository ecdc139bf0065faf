//! `DEFAULT` entries as profiles.
//!
//! FreeRADIUS goes through a users file from its top, and takes each entry that matches until one of them says nothing of
//! Fall-Through; whatever it took first stays, but for what a later one sets by `:=`. Here a subscriber has his profiles in
//! their order, and what is his own goes before them. Where the two come to different answers, that is noted.

use std::collections::HashSet;

use muralla_radius_dictionary::{Operator, Pair, UsersEntry};
use muralla_radius_policy::subscriber::MOST_PROFILES;

use super::place_of;
use crate::convert::Trial;
use crate::import::{Import, credential_of, is_said, profile_of};
use crate::{ProfileEntry, StateError, SubscriberEntry};

/// The name of the first of them; the others have a number behind it.
const NAME: &str = "default";

/// The profile that applies where all others that a subscriber has ask for something that the request has not: he is not
/// refused for that.
const OTHERWISE: &str = "default-otherwise";

/// What the note of one begins with; where it stands follows.
const ORIGIN: &str = "DEFAULT of ";

/// So many can a subscriber have, and the one that applies otherwise.
const MOST: usize = MOST_PROFILES - 1;

/// The `DEFAULT` entries that became profiles, in the order of the file.
pub(super) struct Defaults<'e> {
    all: Vec<Taken<'e>>,
    /// Two of them that somebody has both of, and that were compared.
    compared: HashSet<(usize, usize)>,
    /// Somebody needs [`OTHERWISE`].
    otherwise: bool,
}

struct Taken<'e> {
    /// Which of the file's entries it is.
    at: usize,
    entry: &'e UsersEntry,
    profile: ProfileEntry,
    /// It is not for every request.
    conditional: bool,
    /// It refuses those for whom it is.
    refuses: bool,
    /// Subscribers that have it.
    given: usize,
    /// Those of them whose own entry stands below it.
    below: usize,
    /// Attributes that come to something else than they did, with the entries that this is about: how many, and the first.
    differ: Vec<(&'e str, usize, &'e UsersEntry)>,
}

impl<'e> Defaults<'e> {
    pub(super) fn of(trial: &Trial, entries: &'e [UsersEntry], import: &mut Import) -> Self {
        let mut all: Vec<Taken<'e>> = Vec::new();
        for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.is_default()) {
            let place = place_of(entry);
            if all.len() == MOST {
                let reason = format!(
                    "it is one more than the {MOST} that a subscriber can have as profiles: join some of them, or make a profile of \
                     it and give it to those whom it concerns"
                );
                import.refuse(place, &entry.name, reason);
                continue;
            }
            let name = match all.len() {
                0 => NAME.to_owned(),
                before => format!("{NAME}-{}", before + 1),
            };
            // What is said of one that can't be taken is why.
            let mut said = Import::default();
            let tried = default_of(name, entry, &mut said).and_then(|profile| {
                let (notes, conditional) = trial.profile(&profile)?;
                for note in notes {
                    said.note(&place, &entry.name, note);
                }
                Ok((profile, conditional))
            });
            match tried {
                Ok((profile, _)) if says_nothing(&profile) => {
                    import.notes.append(&mut said.notes);
                    let reason = "left out: it says nothing that counts here";
                    import.note(place, &entry.name, reason);
                }
                Ok((profile, conditional)) => {
                    import.notes.append(&mut said.notes);
                    let refuses = entry.check.iter().any(rejects);
                    let (given, below, differ) = (0, 0, Vec::new());
                    let new =
                        Taken { at, entry, profile, conditional, refuses, given, below, differ };
                    all.push(new);
                }
                Err(reason) => import.refuse(place, &entry.name, reason),
            }
        }
        Self { all, compared: HashSet::new(), otherwise: false }
    }

    /// Gives a subscriber those that concerned his entry, which is the file's `at`.
    pub(super) fn give(&mut self, at: usize, entry: &'e UsersEntry, to: &mut SubscriberEntry) {
        let mut taken: Vec<(usize, &'e UsersEntry)> = Vec::new();
        let mut for_all = false;
        for default in &mut self.all {
            let below = default.at < at;
            if !below && !entry.fall_through {
                break;
            }
            if below {
                default.compare(default.entry, entry, false, entry);
            } else {
                default.compare(entry, default.entry, true, entry);
            }
            for (before, first) in &taken {
                if self.compared.insert((*before, default.at)) {
                    default.compare(first, default.entry, true, first);
                }
            }
            taken.push((default.at, default.entry));
            default.given += 1;
            default.below += usize::from(below);
            for_all |= !default.conditional;
            to.profiles.push(default.profile.name.clone());
            if !default.conditional && !default.profile.fall_through {
                break;
            }
        }
        if !taken.is_empty() && !for_all {
            self.otherwise = true;
            to.profiles.push(OTHERWISE.to_owned());
        }
    }

    /// Puts them among the profiles, and says what has become of each.
    pub(super) fn enter(self, import: &mut Import) {
        for default in self.all {
            default.tell(import);
            import.profiles.push(default.profile);
        }
        if self.otherwise {
            let note = "for whom no other default of a users file applies".to_owned();
            let name = OTHERWISE.to_owned();
            import.profiles.push(ProfileEntry {
                name,
                note: Some(note),
                ..ProfileEntry::default()
            });
        }
    }
}

/// Makes sure that none takes the place of a profile that is another file's, or of the operator's own: whoever has that would get
/// something else.
pub(in crate::import) fn insist_on_own_defaults(
    new: &[ProfileEntry],
    stored: &[ProfileEntry],
) -> Result<(), StateError> {
    fn file(profile: &ProfileEntry) -> Option<&str> {
        let place = profile.note.as_deref()?.strip_prefix(ORIGIN)?;
        place.rsplit_once(':').map(|(file, _)| file)
    }
    for profile in new {
        let Some(from) = file(profile) else { continue };
        let note = profile.note.clone();
        let other = stored.iter().find(|other| {
            other.name == profile.name
                && file(other) != Some(from)
                && ProfileEntry { note: note.clone(), ..(*other).clone() } != *profile
        });
        if let Some(other) = other {
            let whose = file(other).unwrap_or("the operator's own");
            return Err(StateError::invalid(
                format!("profile {}", profile.name),
                format!(
                    "it would take the place of one that is there ({whose}): put all entries into one file by $INCLUDE, or remove \
                     that one first"
                ),
            ));
        }
    }
    Ok(())
}

impl<'e> Taken<'e> {
    /// Notes what FreeRADIUS, which comes to `first` before it comes to `then`, made of both, if it is not what is made of
    /// them here. `whose` entry it is that this is about.
    fn compare(
        &mut self,
        first: &'e UsersEntry,
        then: &'e UsersEntry,
        first_is_nearer: bool,
        whose: &'e UsersEntry,
    ) {
        let said = |entry: &'e UsersEntry| {
            entry.check.iter().filter(|pair| pair.operator.sets()).chain(&entry.reply)
        };
        let mut met: Vec<&str> = Vec::new();
        for one in said(first) {
            let name = one.attribute.name();
            if met.contains(&name) || !said(then).any(|other| differs(one, other, first_is_nearer))
            {
                continue;
            }
            met.push(name);
            match self.differ.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, count, _)) => *count += 1,
                None => self.differ.push((name, 1, whose)),
            }
        }
    }

    fn tell(&self, import: &mut Import) {
        let (place, name) = (place_of(self.entry), &self.profile.name);
        let mut note = |reason: String| import.note(&place, &self.entry.name, reason);
        note(format!(
            "it is the profile {name} now (subscribers of this file that have it: {}); `muralla radius user set NAME --profile {name}` \
             gives it to others",
            self.given
        ));
        if self.below > 0 && !self.profile.fall_through && !self.refuses {
            note(format!(
                "it has no Fall-Through, so that nothing below it was looked at where it matched; here the {} entries below count \
                 all the same",
                self.below
            ));
        }
        if self.refuses && !self.entry.reply.is_empty() {
            note(
                "what it replied is not sent with a refusal: [radius.answers] texts has the words for those"
                    .to_owned(),
            );
        }
        for (attribute, count, first) in &self.differ {
            note(format!(
                "{attribute} is given elsewhere, too (first by {} at {}, {count} in all), and the two come to something else than in \
                 FreeRADIUS: here a subscriber's own goes first, then what his profiles say in their order",
                first.name,
                place_of(first)
            ));
        }
    }
}

/// Whether one pair after the other comes to something else in FreeRADIUS than here, where the nearer one goes first.
fn differs(first: &Pair, then: &Pair, first_is_nearer: bool) -> bool {
    if first.attribute != then.attribute || first.tag != then.tag || first.value == then.value {
        return false;
    }
    match (first_is_nearer, first.operator, then.operator) {
        // It takes away what was there.
        (true, _, Operator::Set) => true,
        // `=` gives nothing beside what was there, and here it does beside `+=`; `+=` does, and here not beside `:=`.
        (true, Operator::Add, Operator::Equal) | (true, Operator::Set, Operator::Add) => true,
        (true, ..) => false,
        (false, _, Operator::Equal) => true,
        (false, ..) => false,
    }
}

/// Whether nobody would miss it.
fn says_nothing(profile: &ProfileEntry) -> bool {
    let ProfileEntry { name, note, .. } = profile.clone();
    *profile == ProfileEntry { name, note, fall_through: true, ..ProfileEntry::default() }
}

fn rejects(pair: &Pair) -> bool {
    pair.attribute.name() == "Auth-Type" && is_said(pair.operator) && auth_type(pair) == "reject"
}

/// The name of an Auth-Type, in small letters.
fn auth_type(pair: &Pair) -> String {
    let name = pair.value.number().and_then(|number| pair.attribute.value_name(number));
    name.unwrap_or_default().to_ascii_lowercase()
}

/// Makes a profile of an entry. Fails with what a profile can't say, and what to do instead.
fn default_of(
    name: String,
    entry: &UsersEntry,
    import: &mut Import,
) -> Result<ProfileEntry, String> {
    let place = place_of(entry);
    let mut check = Vec::new();
    for pair in &entry.check {
        let attribute = pair.attribute.name();
        if credential_of(pair).is_some() {
            return Err(format!(
                "{attribute}: one password for everybody is none; enter each subscriber's own"
            ));
        }
        let mut left_out = |why: &str| import.note(&place, &entry.name, format!("{pair}: {why}"));
        match (attribute, is_said(pair.operator)) {
            ("Auth-Type", true) => match auth_type(pair).as_str() {
                "reject" => check.push(pair.clone()),
                "accept" => {
                    return Err(format!(
                        "{pair} lets everybody in, known or not: enter those who may, with `Auth-Type := Accept` in an entry of \
                         their own"
                    ));
                }
                "local" | "pap" | "chap" | "ms-chap" | "mschap" => {
                    left_out("left out, the method follows from the request");
                }
                "system" | "crypt-local" => left_out(
                    "left out, no passwords of the system are looked at: enter them as Crypt-Password in entries of a users file",
                ),
                _ => {
                    return Err(format!(
                        "{pair}: nobody else is asked about a password here: enter each subscriber's own, and leave Auth-Type out"
                    ));
                }
            },
            ("Autz-Type" | "Acct-Type" | "Session-Type" | "Post-Auth-Type", true) => {
                left_out("left out, there are no modules to choose from");
            }
            ("Proxy-To-Realm" | "Replicate-To-Realm", true) => {
                return Err(format!(
                    "{pair}: requests are not passed on to other servers here; let NASes send those of that realm there"
                ));
            }
            ("User-Profile", true) => {
                return Err(format!(
                    "{pair}: give that profile to the subscribers whom it concerns, or let {NAME} build on it: \
                     `muralla radius profile set {NAME} --parent NAME`"
                ));
            }
            (
                "Realm" | "Suffix" | "Prefix" | "Hint" | "Stripped-User-Name" | "User-Category",
                _,
            ) => {
                return Err(format!(
                    "{pair}: that is nowhere in a request; compare what is, such as User-Name =~ \"@example.net$\""
                ));
            }
            ("LDAP-Group", _) => {
                return Err(format!(
                    "{pair}: make a profile for that group, and give it to who is in it"
                ));
            }
            ("Current-Time" | "Time-Of-Day", _) => {
                return Err(format!("{pair}: say it by Login-Time := \"Wk0800-1800\""));
            }
            ("Group" | "Group-Name", false) => {
                import.note(
                    &place,
                    &entry.name,
                    format!(
                        "{pair}: a subscriber's groups are his profiles: give one of that name to who is in the group"
                    ),
                );
                check.push(pair.clone());
            }
            _ => check.push(pair.clone()),
        }
    }
    if let Some(pair) = entry.reply.iter().find(|pair| {
        matches!(pair.attribute.name(), "Exec-Program" | "Exec-Program-Wait")
            && pair.attribute.is_internal()
    }) {
        return Err(format!(
            "{}: no program is run here, and one that is waited for may refuse somebody: say by check items whom it refused",
            pair.attribute.name()
        ));
    }
    let mut profile = profile_of(&name, &check, &entry.reply, import, &place)?;
    profile.fall_through = entry.fall_through;
    profile.note = Some(format!("{ORIGIN}{place}"));
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use muralla_radius_dictionary::Dictionary;

    use super::*;
    use crate::import::from_users;

    fn import(text: &str) -> Import {
        from_users(&Dictionary::built_in(), Path::new("users"), text)
    }

    /// Who has which profiles.
    fn given(import: &Import) -> Vec<String> {
        let of = |entry: &SubscriberEntry| format!("{}: {}", entry.name, entry.profiles.join(" "));
        import.subscribers.iter().map(of).collect()
    }

    fn refused(import: &Import) -> Vec<String> {
        import.refused.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fall_through_is_obeyed() {
        for (text, expected) in [
            // Below all that say nothing of it nothing was ever looked at.
            ("ann\nDEFAULT\n Framed-MTU = 1492\n", &["ann: "][..]),
            ("ann\n Fall-Through = Yes\nDEFAULT\n Framed-MTU = 1492\n", &["ann: default"]),
            (
                "DEFAULT\n Framed-MTU = 1492, Fall-Through = Yes\nann\nbob\n Fall-Through = Yes\nDEFAULT\n Framed-MTU = 9000\n",
                &["ann: default", "bob: default default-2"],
            ),
            // One that is for all, and ends the search, hides those below it.
            (
                "ann\n Fall-Through = Yes\nDEFAULT\n Class = 0x01\nDEFAULT\n Class = 0x02\n",
                &["ann: default"],
            ),
            // One that is for some is nobody's reason to be refused.
            (
                "DEFAULT NAS-Port-Type == Async\n Class = 0x01, Fall-Through = Yes\nann\nbob\n Fall-Through = Yes\n\
                 DEFAULT Huntgroup-Name == \"dial\"\n Class = 0x02\nDEFAULT\n Class = 0x03\n",
                &["ann: default default-otherwise", "bob: default default-2 default-3"],
            ),
        ] {
            let text = text.replace("ann\n", "ann Cleartext-Password := \"x\"\n");
            let text = text.replace("bob\n", "bob Cleartext-Password := \"x\"\n");
            let import = import(&text);
            assert_eq!(given(&import), expected, "{text}");
            assert_eq!(refused(&import), [""; 0], "{text}");
            let needed = expected.iter().any(|of| of.contains(OTHERWISE));
            let there = import.profiles.iter().any(|profile| profile.name == OTHERWISE);
            assert_eq!(needed, there, "{text}");
        }
    }

    #[test]
    fn what_an_entry_says_is_said_by_its_profile() {
        let import = import(
            "DEFAULT NAS-Port-Type == Async, Simultaneous-Use := 1, Auth-Type := PAP, Pool-Name := \"dial\"\n \
             Framed-MTU = 1492, Session-Timeout := 3600, Fall-Through = Yes\n\
             DEFAULT Huntgroup-Name == \"closed\", Auth-Type := Reject\n Reply-Message = \"Closed\"\n",
        );
        assert_eq!(refused(&import), [""; 0]);
        let [first, second] = import.profiles.as_slice() else { panic!("{:?}", import.profiles) };
        assert_eq!((first.name.as_str(), first.fall_through), ("default", true));
        assert_eq!((first.simultaneous, first.session_timeout), (Some(1), Some(3600)));
        assert_eq!(first.pool.as_deref(), Some("dial"));
        assert_eq!(first.check, ["NAS-Port-Type == Async"]);
        assert_eq!(first.reply, ["Framed-MTU = 1492"]);
        assert_eq!(first.note.as_deref(), Some("DEFAULT of users:1"));
        assert_eq!(second.check, ["Huntgroup-Name == \"closed\"", "Auth-Type := Reject"]);
        let notes: Vec<String> = import.notes.iter().map(ToString::to_string).collect();
        for expected in [
            "users:1: DEFAULT: Auth-Type := PAP: left out",
            "users:1: DEFAULT: it is the profile default now (subscribers of this file that have it: 0)",
            "users:3: DEFAULT: it is the profile default-2 now",
            "users:3: DEFAULT: what it replied is not sent with a refusal",
        ] {
            assert!(notes.iter().any(|note| note.starts_with(expected)), "{expected}: {notes:#?}");
        }
        assert_eq!(notes.len(), 4, "{notes:#?}");
    }

    #[test]
    fn what_no_profile_can_say_is_told_with_what_to_do_and_the_rest_is_taken() {
        for (entry, expected) in [
            ("DEFAULT Auth-Type := exec\n", "is asked about a password"),
            ("DEFAULT Auth-Type = LDAP\n", "is asked about a password"),
            ("DEFAULT Auth-Type := Accept\n", "lets everybody in"),
            ("DEFAULT Cleartext-Password := \"topsecret\"\n", "one password for everybody"),
            ("DEFAULT Proxy-To-Realm := \"other\"\n", "not passed on"),
            ("DEFAULT User-Profile := \"gold\"\n", "--parent"),
            ("DEFAULT Suffix == \".ppp\"\n", "User-Name =~"),
            ("DEFAULT Hint == \"PPP\"\n", "User-Name =~"),
            ("DEFAULT LDAP-Group == \"x\"\n", "make a profile"),
            ("DEFAULT Time-Of-Day > \"10:00:00\"\n", "Login-Time"),
            ("DEFAULT Login-Time := \"sometimes\"\n", "Login-Time"),
            ("DEFAULT\n Exec-Program-Wait = \"/bin/true\"\n", "no program is run"),
            ("DEFAULT\n Message-Authenticator = 0x00\n", "no place in an Access-Accept"),
        ] {
            let text = format!(
                "ann Cleartext-Password := \"x\"\n Fall-Through = Yes\n{entry}DEFAULT\n Framed-MTU = 1492\n"
            );
            let import = import(&text);
            let refused = refused(&import);
            assert!(
                matches!(&*refused, [one] if one.starts_with("users:3: DEFAULT: ") && one.contains(expected)),
                "{entry}: {refused:#?}"
            );
            assert_eq!(given(&import), ["ann: default"], "{entry}");
            assert!(!format!("{refused:?}{:?}", import.notes).contains("topsecret"), "{entry}");
        }
    }

    #[test]
    fn one_that_says_nothing_is_no_profile() {
        let import = import(
            "DEFAULT Auth-Type = System\n Fall-Through = 1\nann Cleartext-Password := \"x\"\n Fall-Through = 1\n\
             DEFAULT Auth-Type := Local\nDEFAULT\n Class = 0x01\n",
        );
        assert_eq!(refused(&import), [""; 0]);
        assert_eq!(given(&import), ["ann: default"], "the one that ended the search still does");
        let notes: Vec<String> = import.notes.iter().map(ToString::to_string).collect();
        assert!(notes[0].contains("enter them as Crypt-Password"), "{notes:#?}");
        assert!(notes[1].starts_with("users:1: DEFAULT: left out: it says nothing"), "{notes:#?}");
    }

    #[test]
    fn more_than_a_subscriber_can_have_are_refused() {
        let text: String = (1..=MOST + 2)
            .map(|port| format!("DEFAULT NAS-Port == {port}\n Class = 0x01\n"))
            .collect();
        let text = format!("ann Cleartext-Password := \"x\"\n Fall-Through = Yes\n{text}");
        let import = import(&text);
        assert_eq!(import.refused.len(), 2, "{:?}", import.refused);
        assert!(import.refused[0].place == format!("users:{}", 3 + 2 * MOST));
        let ann = &import.subscribers[0];
        assert_eq!(ann.profiles.len(), MOST_PROFILES, "{:?}", ann.profiles);
        assert_eq!(ann.profiles.last().map(String::as_str), Some(OTHERWISE));
    }

    #[test]
    fn what_comes_to_something_else_is_noted() {
        let note = |default: &str, own: &str, default_first: bool| {
            let (mut first, mut then) = (
                format!("ann Cleartext-Password := \"x\"\n {own}, Fall-Through = Yes\n"),
                format!("DEFAULT\n {default}, Fall-Through = Yes\n"),
            );
            if default_first {
                std::mem::swap(&mut first, &mut then);
            }
            let import = import(&format!("{first}{then}"));
            import.notes.iter().any(|note| note.reason.contains("come to something else"))
        };
        for (default, own, default_first, expected) in [
            ("Framed-MTU = 1492", "Framed-MTU = 9000", true, true),
            ("Framed-MTU = 1492", "Framed-MTU = 1492", true, false),
            ("Framed-MTU = 1492", "Framed-MTU := 9000", true, false),
            ("Framed-MTU = 1492", "Framed-MTU += 9000", true, false),
            ("Framed-MTU = 1492", "Class = 0x01", true, false),
            ("Framed-MTU = 1492", "Framed-MTU = 9000", false, false),
            ("Framed-MTU := 1492", "Framed-MTU = 9000", false, true),
            ("Framed-MTU += 1492", "Framed-MTU = 9000", false, false),
            ("Framed-MTU += 1492", "Framed-MTU := 9000", false, true),
            ("Framed-MTU = 1492", "Framed-MTU += 9000", false, true),
        ] {
            let noted = note(default, own, default_first);
            assert_eq!(noted, expected, "{default} | {own} | {default_first}");
        }
        // Between two of them, it is noted once, however many subscribers have both.
        let users = "ann Cleartext-Password := \"x\"\nbob Cleartext-Password := \"x\"\n";
        let import = import(&format!(
            "DEFAULT\n Framed-MTU = 1492, Fall-Through = Yes\nDEFAULT\n Framed-MTU := 9000, Fall-Through = Yes\n{users}"
        ));
        let notes: Vec<&str> = import
            .notes
            .iter()
            .filter(|note| note.reason.contains("come to something else"))
            .map(|note| note.reason.as_str())
            .collect();
        assert!(
            matches!(&*notes, [note] if note.starts_with("Framed-MTU is given elsewhere")
                && note.contains("DEFAULT at users:1, 1 in all")),
            "{notes:?}"
        );
    }
}
