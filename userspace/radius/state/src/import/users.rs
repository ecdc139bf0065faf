//! Users files.

mod defaults;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use muralla_radius_dictionary::{Dictionary, Problem, UsersEntry, UsersFile};

use crate::convert::Trial;
use crate::import::{Import, subscriber_of};

use defaults::Defaults;

pub(super) use defaults::insist_on_own_defaults;

/// Readings of one file at most. Each leaves out what was wrong in the one before.
const MOST_READINGS: usize = 100;

/// Reads a users file; `file` stands for its name, and what it includes is read from beside it. An entry that can't be read
/// is left out and reported; the others are taken.
///
/// A `DEFAULT` entry becomes a profile, which the subscribers get whom it concerned: those whose entry stands below it, and
/// those above that have Fall-Through. The first is called `default`, the next `default-2`. What a profile can't say is
/// reported, and the others are taken.
#[must_use]
pub fn from_users(dictionary: &Arc<Dictionary>, file: &Path, text: &str) -> Import {
    let mut import = Import::default();
    let mut lines: Vec<&str> = text.lines().collect();
    for _ in 0..MOST_READINGS {
        match UsersFile::parse(dictionary, file, lines.join("\n")) {
            Ok(entries) => {
                take(dictionary, &entries, &mut import);
                return import;
            }
            Err(problems) => {
                if !leave_out(file, &mut lines, &problems, &mut import) {
                    return import;
                }
            }
        }
    }
    let reason = "too much is wrong with it: correct what is listed and import it again";
    import.refuse(file.display().to_string(), "the file", reason);
    import
}

/// Leaves out the entries that have problems. False if that leads nowhere.
fn leave_out(file: &Path, lines: &mut [&str], problems: &[Problem], import: &mut Import) -> bool {
    let mut went = false;
    let mut out: HashSet<usize> = HashSet::new();
    for problem in problems {
        let at = problem
            .line
            .filter(|_| problem.file == file)
            .and_then(|line| usize::try_from(line).ok());
        let place = match problem.line {
            Some(line) => format!("{}:{line}", problem.file.display()),
            None => problem.file.display().to_string(),
        };
        let mut reason = problem.what.clone();
        for advice in [problem.remedy.as_str(), advice(&problem.what)] {
            if !advice.is_empty() {
                reason.push_str("; ");
                reason.push_str(advice);
            }
        }
        let Some(at) = at.and_then(|line| line.checked_sub(1)) else {
            // Of an included file: it is left out as a whole.
            import.refuse(
                place,
                "included file",
                format!("{reason}; it is left out: import it by itself"),
            );
            let includes =
                lines.iter().enumerate().filter(|(_, line)| line.starts_with("$INCLUDE"));
            let before = out.len();
            out.extend(includes.map(|(at, _)| at));
            went |= out.len() > before;
            continue;
        };
        let (first, last) = entry_around(lines, at);
        let name = lines.get(first).and_then(|line| line.split_whitespace().next()).unwrap_or("?");
        if out.insert(first) {
            import.refuse(place, name.trim_matches('"'), reason);
            went = true;
        }
        out.extend(first..=last);
    }
    for at in out {
        if let Some(line) = lines.get_mut(at) {
            *line = "";
        }
    }
    went
}

/// The lines of the entry that a line is in: from its name up to the next entry's.
fn entry_around(lines: &[&str], at: usize) -> (usize, usize) {
    let begins = |line: &&str| {
        let first = line.chars().next();
        first.is_some_and(|first| !first.is_whitespace() && first != '#')
    };
    let first = lines.iter().take(at + 1).rposition(begins).unwrap_or(at);
    let next = lines.iter().enumerate().skip(at + 1).find(|(_, line)| begins(line));
    (first, next.map_or(lines.len(), |(next, _)| next).saturating_sub(1).max(at))
}

/// What to do about a problem that is FreeRADIUS' own.
fn advice(what: &str) -> &'static str {
    match what.contains("a value of Auth-Type") {
        true => {
            "nobody else is asked about a password here: enter each subscriber's own, and leave Auth-Type out"
        }
        false => "",
    }
}

fn take(dictionary: &Arc<Dictionary>, entries: &[UsersEntry], import: &mut Import) {
    let trial = Trial::new(dictionary);
    let mut defaults = Defaults::of(&trial, entries, import);
    let mut first: HashMap<&str, String> = HashMap::new();
    for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.is_default()) {
        let place = place_of(entry);
        if let Some(before) = first.get(entry.name.as_str()) {
            let reason = format!("there is an entry of that name already ({before}): join the two");
            import.refuse(place, &entry.name, reason);
            continue;
        }
        first.insert(&entry.name, place.clone());
        match subscriber_of(&entry.name, &entry.check, &entry.reply, import, &place) {
            Ok(mut subscriber) => {
                defaults.give(at, entry, &mut subscriber);
                import.take(&trial, &place, subscriber);
            }
            Err(reason) => import.refuse(&place, &entry.name, reason),
        }
    }
    defaults.enter(import);
}

/// Where an entry stands.
fn place_of(entry: &UsersEntry) -> String {
    format!("{}:{}", entry.file.display(), entry.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# people
bob     Cleartext-Password := "hello"
        Framed-IP-Address = 192.0.2.7,
        Session-Timeout = 3600

broken  Cleartext-Password := "x"
        No-Such-Attribute = 1
ann     NT-Password := 0x0cb6948805f797bf2a82807973b89537, Simultaneous-Use := 2, Calling-Station-Id == "0049"
        Class = "gold", Fall-Through = Yes
bob     Cleartext-Password := "again"
gone    Auth-Type := Reject
open    Auth-Type := Accept
full    Cleartext-Password := "hello", Expiration := "not a date"
DEFAULT Framed-Protocol == PPP
        Framed-MTU = 1492
DEFAULT Auth-Type := exec
        Reply-Message = "ask the other one"
"#;

    #[test]
    fn entries_are_taken_and_what_is_not_is_told() {
        let dictionary = Dictionary::built_in();
        let import = from_users(&dictionary, Path::new("users"), FILE);
        let refused: Vec<(&str, &str)> = import
            .refused
            .iter()
            .map(|refused| (refused.place.as_str(), refused.name.as_str()))
            .collect();
        assert_eq!(
            refused,
            [
                ("users:7", "broken"),
                ("users:13", "full"),
                ("users:16", "DEFAULT"),
                ("users:10", "bob"),
            ]
        );
        let exec = &import.refused[2].reason;
        assert!(exec.contains("\"exec\"") && exec.contains("leave Auth-Type out"), "{exec}");
        let names: Vec<&str> = import.subscribers.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["bob", "ann", "gone", "open"]);
        let bob = &import.subscribers[0];
        assert_eq!(bob.address, Some([192, 0, 2, 7].into()));
        assert_eq!(bob.reply, ["Session-Timeout = 3600"]);
        assert!(bob.credential.reveal().ends_with("hello"), "kept as it can be used");
        let ann = &import.subscribers[1];
        assert_eq!((ann.simultaneous, ann.check.len(), ann.reply.len()), (Some(2), 1, 1));
        assert!(import.subscribers[2].disabled);
        let profiles: Vec<&str> =
            import.profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(profiles, ["default", "default-otherwise"]);
        assert_eq!(ann.profiles, profiles, "she falls through");
        assert_eq!(bob.profiles, [""; 0], "he does not");
        let notes: Vec<(&str, &str)> =
            import.notes.iter().map(|note| (note.place.as_str(), note.name.as_str())).collect();
        assert_eq!(notes, [("users:12", "open"), ("users:14", "DEFAULT")], "{:?}", import.notes);
        let texts = format!("{:?}{:?}{:?}", import.refused, import.notes, import.subscribers);
        assert!(!texts.contains("hello") && !texts.contains("0cb69488"), "{texts}");
    }

    #[test]
    fn an_entry_ends_where_the_next_begins() {
        let lines = ["# x", "bob a", "\tb", "", "  c", "ann d"];
        assert_eq!(entry_around(&lines, 4), (1, 4));
        assert_eq!(entry_around(&lines, 1), (1, 4));
        assert_eq!(entry_around(&lines, 5), (5, 5));
        assert_eq!(entry_around(&lines, 0), (0, 0));
    }
}
