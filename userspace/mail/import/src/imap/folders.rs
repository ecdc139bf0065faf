//! A server's folders, and where they belong here.

use muralla_mail_store::transfer::{Problem, names};
use muralla_mail_store::{FolderPath, Purpose};

use super::answers::Listed;
use crate::error::shown;
use crate::options::Choice;

/// A folder that is read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Remote {
    /// As the server wants it said.
    pub(crate) name: Vec<u8>,
    /// For people: its names with `/` between them.
    pub(crate) path: String,
    /// Where its messages belong.
    pub(crate) folder: FolderPath,
}

/// What special folders are for (RFC 6154).
const SPECIAL: [(&str, Purpose); 4] = [
    ("\\junk", Purpose::Spam),
    ("\\sent", Purpose::Sent),
    ("\\drafts", Purpose::Drafts),
    ("\\trash", Purpose::Trash),
];

/// What shows messages that are in other folders.
const VIEWS: [&str; 2] = ["\\flagged", "\\important"];

/// Those of the folders that are wanted, Inbox first and the others as the server has them; what can't be had goes to the problems.
/// `foreign` is how names of other people's folders begin.
pub(crate) fn choose(
    listed: &[Listed],
    foreign: &[Vec<u8>],
    choice: &Choice,
    problems: &mut Vec<Problem>,
) -> Vec<Remote> {
    let mut chosen: Vec<Remote> = Vec::new();
    for one in listed {
        let has = |attribute: &str| one.attributes.iter().any(|own| own == attribute);
        let names = names_of(&one.name, one.delimiter);
        let path = names.join("/");
        let is_foreign =
            foreign.iter().any(|prefix| !prefix.is_empty() && one.name.starts_with(prefix));
        if has("\\noselect") || has("\\nonexistent") || is_foreign || !choice.takes(&path) {
            continue;
        }
        if chosen.iter().any(|other| other.name == one.name) {
            continue;
        }
        if VIEWS.iter().any(|attribute| has(attribute)) && !choice.names(&path) {
            continue;
        }
        if has("\\all") && !choice.names(&path) {
            let reason = "it has what is in all other folders, and perhaps more: it is brought by --only with its name";
            problems.push(Problem { place: shown(path.as_bytes()), reason: reason.to_owned() });
            continue;
        }
        let special = SPECIAL.iter().find(|(attribute, _)| has(attribute));
        let folder = match special {
            Some((_, purpose)) => Ok((*purpose).into()),
            None => names::folder(names.iter().map(String::as_str)),
        };
        match folder {
            Ok(folder) => chosen.push(Remote { name: one.name.clone(), path, folder }),
            Err(error) => {
                problems.push(Problem { place: shown(path.as_bytes()), reason: error.to_string() });
            }
        }
    }
    // The sort is stable.
    chosen.sort_by_key(|one| !one.name.eq_ignore_ascii_case(b"inbox"));
    chosen
}

/// Names below each other, for people: in modified UTF-7 by the standard, and in UTF-8 by some servers.
fn names_of(name: &[u8], delimiter: Option<char>) -> Vec<String> {
    let name = String::from_utf8_lossy(name);
    // A delimiter is ASCII, and so is what another name is encoded in, but for what stands between & and -.
    let parts: Vec<&str> = match delimiter {
        Some(delimiter) => name.split(delimiter).filter(|part| !part.is_empty()).collect(),
        None => vec![&*name],
    };
    let decode = |part: &str| names::from_utf7(part).unwrap_or_else(|| part.to_owned());
    parts.into_iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, delimiter: char, attributes: &[&str]) -> Listed {
        Listed {
            name: name.as_bytes().to_vec(),
            delimiter: Some(delimiter),
            attributes: attributes.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    fn chosen(
        listed: &[Listed],
        foreign: &[&str],
        choice: &Choice,
    ) -> (Vec<(String, String)>, usize) {
        let foreign: Vec<Vec<u8>> = foreign.iter().map(|one| one.as_bytes().to_vec()).collect();
        let mut problems = Vec::new();
        let chosen = choose(listed, &foreign, choice, &mut problems);
        let chosen = chosen.into_iter().map(|one| (one.path, one.folder.to_string()));
        (chosen.collect(), problems.len())
    }

    #[test]
    fn folders_of_other_servers() {
        let all = Choice::default();
        // Dovecot.
        let (folders, problems) = chosen(
            &[
                listed("Papierkorb", '/', &["\\hasnochildren", "\\trash"]),
                listed("Lists", '/', &["\\noselect", "\\haschildren"]),
                listed("Lists/Rust &- C", '/', &[]),
                listed("Entw&APw-rfe", '/', &["\\drafts"]),
                listed("A&APE-o/Se&APE-al", '/', &[]),
                listed("INBOX", '/', &[]),
                listed("INBOX", '/', &[]),
                listed("shared/bob/INBOX", '/', &[]),
                listed("Bulk Mail", '/', &[]),
                listed("Gone", '/', &["\\nonexistent"]),
            ],
            &["shared/", ""],
            &all,
        );
        let expected = [
            ("INBOX", "Inbox"),
            ("Papierkorb", "Trash"),
            ("Lists/Rust & C", "Lists/Rust & C"),
            ("Entwürfe", "Drafts"),
            ("Año/Señal", "Año/Señal"),
            ("Bulk Mail", "Spam"),
        ];
        assert_eq!(folders, expected.map(|(path, folder)| (path.to_owned(), folder.to_owned())));
        assert_eq!(problems, 0);
        // Courier and Cyrus have everything below INBOX.
        let (folders, _) = chosen(
            &[
                listed("INBOX.Sent Items", '.', &[]),
                listed("INBOX.Lists.a/b", '.', &[]),
                listed("INBOX", '.', &[]),
            ],
            &[],
            &all,
        );
        let expected =
            [("INBOX", "Inbox"), ("INBOX/Sent Items", "Sent"), ("INBOX/Lists/a/b", "Lists/a_b")];
        assert_eq!(folders, expected.map(|(path, folder)| (path.to_owned(), folder.to_owned())));
        // Gmail.
        let gmail = [
            listed("INBOX", '/', &[]),
            listed("[Gmail]", '/', &["\\noselect"]),
            listed("[Gmail]/All Mail", '/', &["\\all"]),
            listed("[Gmail]/Starred", '/', &["\\flagged"]),
            listed("[Gmail]/Spam", '/', &["\\junk"]),
        ];
        let (folders, problems) = chosen(&gmail, &[], &all);
        let expected = [("INBOX", "Inbox"), ("[Gmail]/Spam", "Spam")];
        assert_eq!(folders, expected.map(|(path, folder)| (path.to_owned(), folder.to_owned())));
        assert_eq!(problems, 1, "somebody may miss what is nowhere else");
        let choice = Choice { only: vec!["[Gmail]/All Mail".to_owned()], ..Choice::default() };
        assert_eq!(chosen(&gmail, &[], &choice).0.len(), 1);
        let choice = Choice { except: vec!["[Gmail]".to_owned()], ..Choice::default() };
        assert_eq!(
            chosen(&gmail, &[], &choice),
            (vec![("INBOX".to_owned(), "Inbox".to_owned())], 0)
        );
    }

    #[test]
    fn names_that_can_not_be() {
        let (folders, problems) = chosen(
            &[
                listed("&U,B-", '/', &[]),
                listed("a\u{1}b", '/', &[]),
                listed("/", '/', &[]),
                listed("Ordner/Entwürfe", '/', &[]),
            ],
            &[],
            &Choice::default(),
        );
        let expected = [("&U,B-", "&U,B-"), ("Ordner/Entwürfe", "Ordner/Entwürfe")];
        assert_eq!(folders, expected.map(|(path, folder)| (path.to_owned(), folder.to_owned())));
        assert_eq!(problems, 2);
    }
}
