//! A filter on an operator's desk: it judges files, and learns from them, without a network and without a mailbox.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;
use muralla_filter::{Brain, BrainError, Filter, Occasion, Recipient, Stage, Verdict};
use muralla_filter_anatomy::header::Stamp;
use muralla_filter_anatomy::{Anatomy, Limits};
use muralla_filter_statistics::{Class, Day, Lesson};
use serde::Serialize;

use crate::clock;
use crate::config::FilterConfig;
use crate::guard::{self, GuardError};

/// A filter for files.
pub struct Desk {
    filter: Filter,
}

/// What is thought of a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Opinion {
    /// What would become of it for somebody who said nothing of what he puts up with.
    pub outcome: &'static str,
    /// Log-odds of spam, all in all.
    pub log_odds: f32,
    /// What of that its words say.
    pub content: f32,
    /// What dangerous is in its parts, in a sentence; nothing if that is nothing.
    pub danger: String,
    /// What was found, what is worth most first.
    pub reasons: Vec<Found>,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// By whom.
    pub stage: &'static str,
    /// Its name.
    pub name: String,
    /// What it is worth, in log-odds.
    pub worth: f32,
    /// A sentence.
    pub words: String,
}

/// Pieces of a message's text with what each moves the log-odds by.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Words {
    /// Those that speak for spam.
    pub spam: Vec<(String, f32)>,
    /// Those that speak against it.
    pub ham: Vec<(String, f32)>,
}

/// What a message is, as its file's name does not say.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody wants it.
    Ham,
    /// Nobody does.
    Spam,
}

/// A file of which it is known what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
}

/// Files of mail can't be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// The filter.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The model.
    #[error(transparent)]
    Brain(#[from] BrainError),
    /// A file.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// A line of a list.
    #[error("{list}, line {line}: write `ham PATH` or `spam PATH`")]
    Line {
        /// The list.
        list: String,
        /// Which line, from 1.
        line: usize,
    },
    /// A message that broke its reader.
    #[error("{0} can't be read as a message")]
    Unreadable(String),
}

/// Octets of a file that are read: no message is larger.
const LARGEST: u64 = 128 << 20;

/// Words that are told of each kind.
const WORDS: usize = 15;

impl Desk {
    /// A filter with a model, or with one that learned nothing.
    ///
    /// # Errors
    ///
    /// If the model can't be read.
    pub fn open(model: Option<&Path>, brands: &[String]) -> Result<Self, DeskError> {
        let config = FilterConfig {
            model: model.map(Path::to_owned),
            brands: brands.to_vec(),
            ..FilterConfig::default()
        };
        Ok(Self { filter: guard::open(&config, None, &[])? })
    }

    /// Judges a message as for somebody without history.
    pub async fn judge(&self, message: &Bytes) -> Opinion {
        let occasion = Occasion {
            message,
            sender: None,
            recipients: &[Recipient::default()],
            acquaintances: &(),
            now: when(message),
        };
        self.filter.judge(occasion).await.into()
    }

    /// Learns what a message is, as an operator's lesson of the day on which it came.
    ///
    /// # Errors
    ///
    /// If it can't be read; `name` is what it is called then.
    pub async fn learn(&self, message: &Bytes, kind: Kind, name: &Path) -> Result<(), DeskError> {
        let now = when(message);
        let day = Day(u32::try_from(now.div_euclid(86_400)).unwrap_or_default());
        let lesson = Lesson::of_operator(kind.into(), day);
        let learned = self.filter.learn(message, lesson, now).await;
        learned.map(drop).ok_or_else(|| DeskError::Unreadable(name.display().to_string()))
    }

    /// The words of a message that say most.
    pub async fn explain(&self, message: &Bytes) -> Words {
        let evidence = self.filter.explain(message, WORDS, when(message)).await.unwrap_or_default();
        let told = |pieces: Vec<muralla_filter_statistics::Piece>| {
            pieces.into_iter().map(|piece| (piece.text, piece.log_odds)).collect()
        };
        Words { spam: told(evidence.spam), ham: told(evidence.ham) }
    }

    /// Messages that it learned: those that are wanted, and those that are not.
    #[must_use]
    pub fn learned(&self) -> (u64, u64) {
        self.filter.with_brain(|brain| (brain.tally().ham, brain.tally().spam))
    }

    /// Writes what it learned, so that a file is the old one or the new one, whatever happens meanwhile.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn save(&self, path: &Path, condensed: bool) -> Result<(), DeskError> {
        let brain = self.filter.with_brain(|brain| match condensed {
            true => brain.condensed(),
            false => brain.clone(),
        });
        save(&brain, path)
    }
}

/// When a message came, by what it says, so that what is old is not judged for that; now, if it does not say.
fn when(message: &Bytes) -> i64 {
    const HEADER: usize = 64 << 10;
    let head = message.get(..message.len().min(HEADER)).unwrap_or_default();
    let header = Anatomy::read(head, &Limits::default()).header;
    let written = match header.date {
        Stamp::At(at) => Some(at),
        Stamp::Missing | Stamp::Unreadable => None,
    };
    header.received.or(written).unwrap_or_else(clock::now)
}

fn save(brain: &Brain, path: &Path) -> Result<(), DeskError> {
    let failed = |error| DeskError::File(path.display().to_string(), error);
    let beside = path.with_extension("new");
    let mut file = BufWriter::new(File::create(&beside).map_err(failed)?);
    brain.write(&mut file)?;
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

/// Reads a list of files of which it is known what they are: `ham PATH` or `spam PATH` in each line, seen from the list's folder.
///
/// # Errors
///
/// If it can't be read, or a line says something else.
pub fn read_list(list: &Path) -> Result<Vec<Known>, DeskError> {
    let shown = list.display().to_string();
    let text = fs::read_to_string(list).map_err(|error| DeskError::File(shown.clone(), error))?;
    let folder = list.parent().unwrap_or(Path::new("."));
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let wrong = || DeskError::Line { list: shown.clone(), line: at + 1 };
            let (kind, path) = line.split_once(' ').ok_or_else(wrong)?;
            Ok(Known { kind: kind.parse().map_err(|()| wrong())?, path: folder.join(path) })
        })
        .collect()
}

/// Reads a message out of a file: with the ends of lines that it has on its way, and without what programs put above one that they
/// store.
///
/// # Errors
///
/// If it can't be read, or is larger than any message.
pub fn read_message(path: &Path) -> Result<Bytes, DeskError> {
    use std::io::Read as _;

    let failed = |error| DeskError::File(path.display().to_string(), error);
    let mut octets = Vec::new();
    File::open(path).map_err(failed)?.take(LARGEST).read_to_end(&mut octets).map_err(failed)?;
    Ok(on_its_way(&octets))
}

/// A stored message with CRLF at the ends of its lines.
#[must_use]
pub fn on_its_way(stored: &[u8]) -> Bytes {
    let stored = match stored.strip_prefix(b"From ") {
        Some(rest) => {
            let end = rest.iter().position(|octet| *octet == b'\n');
            end.and_then(|end| rest.get(end + 1..)).unwrap_or_default()
        }
        None => stored,
    };
    let mut message = Vec::with_capacity(stored.len() + stored.len() / 32);
    for line in stored.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                message.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                message.extend_from_slice(b"\r\n");
            }
            None => message.extend_from_slice(line),
        }
    }
    message.into()
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "ham" => Ok(Self::Ham),
            "spam" => Ok(Self::Spam),
            _ => Err(()),
        }
    }
}

impl From<Kind> for Class {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Ham => Self::Ham,
            Kind::Spam => Self::Spam,
        }
    }
}

impl From<Verdict> for Opinion {
    fn from(verdict: Verdict) -> Self {
        let reasons = verdict.opinion.reasons.into_iter().map(|(reason, worth)| Found {
            stage: Stage::name(reason.stage),
            name: reason.name.into_owned(),
            worth,
            words: reason.words,
        });
        Self {
            outcome: verdict.outcomes.first().map_or("unscanned", |outcome| outcome.name()),
            log_odds: verdict.opinion.log_odds,
            content: verdict.opinion.content,
            danger: verdict.danger,
            reasons: reasons.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        fs::write(&list, "ham a/1\n\nspam with a space\n").unwrap();
        let known = |kind, path: &str| Known { kind, path: folder.path().join(path) };
        assert_eq!(
            read_list(&list).unwrap(),
            [known(Kind::Ham, "a/1"), known(Kind::Spam, "with a space")]
        );
        fs::write(&list, "ham a\nmaybe b\n").unwrap();
        let error = read_list(&list).unwrap_err().to_string();
        assert!(error.ends_with("line 2: write `ham PATH` or `spam PATH`"), "{error}");
    }

    #[test]
    fn messages_are_read_as_they_come() {
        for (stored, expected) in [
            ("a: b\n\nc\n", "a: b\r\n\r\nc\r\n"),
            ("a: b\r\n\r\nc", "a: b\r\n\r\nc"),
            ("From x y\na: b\n", "a: b\r\n"),
            ("From x", ""),
            ("", ""),
        ] {
            assert_eq!(on_its_way(stored.as_bytes()), expected, "{stored:?}");
        }
    }

    #[tokio::test]
    async fn what_was_learned_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        let desk = Desk::open(None, &[]).unwrap();
        let message = |text: &str| on_its_way(format!("Subject: {text}\n\n{text}\n").as_bytes());
        for _ in 0..40 {
            for (kind, text) in [(Kind::Spam, "cheap pills"), (Kind::Ham, "our meeting")] {
                desk.learn(&message(text), kind, Path::new("a")).await.unwrap();
            }
        }
        assert_eq!(desk.learned(), (40, 40));
        desk.save(&model, false).unwrap();
        let again = Desk::open(Some(&model), &[]).unwrap();
        let (spam, ham) = (
            again.judge(&message("cheap pills")).await,
            again.judge(&message("our meeting")).await,
        );
        assert!(spam.log_odds > ham.log_odds + 4.0, "{spam:?} {ham:?}");
        assert!(spam.log_odds == desk.judge(&message("cheap pills")).await.log_odds);
        let words = again.explain(&message("cheap pills")).await;
        assert!(words.spam.iter().any(|(word, _)| word.contains("pills")), "{words:?}");
        fs::write(&model, "nonsense").unwrap();
        let error = Desk::open(Some(&model), &[]).err().unwrap().to_string();
        assert!(error.contains("model"), "{error}");
    }
}
