//! Bytes stored for each byte of mail, of messages themselves and of what finds them again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use muralla_lab::corpus::{Written, write_maildir};
use rustix::process::Signal;

use super::super::table::Row;
use super::contender::{Contender, Job};
use super::ground::{Ground, stored_box};
use super::pop3::{give_away, import};

/// Letters that a dictionary is trained with, and letters that are measured.
const LETTERS: u64 = 8_000;
const LETTERS_IF_QUICK: u64 = 2_500;

/// Ours stores so many bytes of messages for a byte of mail at most, and so many of indexes and the like.
const MOST: f64 = 0.38;
const MOST_OF_INDEX: f64 = 0.03;

/// Bytes of files, and bytes of the disk that they take.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes {
    messages: u64,
    index: u64,
    disk: u64,
}

pub(super) fn rows(ground: &Ground, quick: bool) -> Result<Vec<Row>> {
    let letters = if quick { LETTERS_IF_QUICK } else { LETTERS };
    let write = |name: &str, first: u64| -> Result<_> {
        let maildir = ground.disk.folder.join(name);
        let letters = (first..first + letters).map(|number| ground.corpus.letter(number));
        let written = write_maildir(&maildir, letters)?;
        Ok((maildir, written))
    };
    // Apart from those of all other parts.
    const FIRST: u64 = 10_000_000;
    let (training, _) = write("training", FIRST)?;
    let (measured, written) = write("measured", FIRST + letters)?;
    let mut rows = vec![
        Row::plain("storage.mail", written.bytes as f64 / 1e6, "MB"),
        Row::plain("storage.mail.mean", written.bytes as f64 / written.letters as f64, "bytes"),
    ];
    let maildir = Bytes { index: 0, ..bytes(&measured, &|_| true)? };
    rows.extend(told("maildir", maildir, &written, false));
    for folder in [&training, &measured] {
        give_away(folder)?;
    }
    for contender in Contender::all(ground) {
        let name = contender.name(Job::Fetching);
        eprintln!("storage: {name}");
        let mut standing = contender.start(ground, Job::Fetching)?;
        let is_message: IsMessage<'_> = match contender {
            Contender::Debian => &|name| name.starts_with("u."),
            Contender::Muralla => &|name| !name.starts_with("mail.db"),
        };
        if contender == Contender::Muralla {
            // What it has in its log of changes goes where it belongs.
            standing.role()?.end(Signal::TERM)?;
            import(&mut standing, &stored_box(0), &training)?;
            // As the roles do when there is enough mail and some time has gone by.
            standing.role()?.command(&["mail", "store", "compact"])?;
        }
        let place = match contender {
            Contender::Debian => standing.dovecot()?.mailboxes(),
            Contender::Muralla => standing.folder.clone(),
        };
        let before = bytes(&place, is_message)?;
        import(&mut standing, &stored_box(1), &measured)?;
        let after = bytes(&place, is_message)?;
        let grown = Bytes {
            messages: after.messages.saturating_sub(before.messages),
            index: after.index.saturating_sub(before.index),
            disk: after.disk.saturating_sub(before.disk),
        };
        rows.extend(told(name, grown, &written, contender == Contender::Muralla));
    }
    for folder in [training, measured] {
        fs::remove_dir_all(folder).context("removing a Maildir")?;
    }
    Ok(rows)
}

/// Whether a file, by its name, has messages, and is no index.
type IsMessage<'f> = &'f dyn Fn(&str) -> bool;

/// Counts a folder's files, and those below.
fn bytes(folder: &Path, is_message: IsMessage<'_>) -> Result<Bytes> {
    let mut sum = Bytes::default();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let entry = entry.context("reading a folder")?;
        let about = entry.metadata().with_context(|| format!("{}", entry.path().display()))?;
        if about.is_dir() {
            let below = bytes(&entry.path(), is_message)?;
            sum.messages += below.messages;
            sum.index += below.index;
            sum.disk += below.disk;
        } else if about.is_file() {
            match is_message(&entry.file_name().to_string_lossy()) {
                true => sum.messages += about.len(),
                false => sum.index += about.len(),
            }
            // In units of 512, whatever the disk's own are (stat(2)).
            sum.disk += about.blocks() * 512;
        }
    }
    Ok(sum)
}

fn told(name: &str, bytes: Bytes, written: &Written, ours: bool) -> Vec<Row> {
    let share = |bytes: u64| bytes as f64 / written.bytes as f64;
    let row = |what: &str, value: f64, budget: Option<f64>| {
        let budget = budget.filter(|_| ours);
        Row {
            budget,
            within: budget.map(|most| value <= most),
            ..Row::plain(format!("storage.{name}.{what}"), value, "bytes/byte")
        }
    };
    vec![
        row("messages", share(bytes.messages), Some(MOST)),
        row("index", share(bytes.index), Some(MOST_OF_INDEX)),
        row("disk", share(bytes.disk), None),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_told_for_each_byte_of_mail() {
        let written = Written { letters: 2, bytes: 1_000 };
        let stored = Bytes { messages: 370, index: 40, disk: 4_096 };
        let rows = told("muralla", stored, &written, true);
        let within: Vec<_> = rows.iter().map(|row| row.within).collect();
        assert_eq!(within, [Some(true), Some(false), None]);
        assert_eq!((rows[0].id.as_str(), rows[0].value), ("storage.muralla.messages", 0.37));
        let others = told("dovecot", stored, &written, false);
        assert!(others.iter().all(|row| row.budget.is_none() && row.within.is_none()));
    }
}
