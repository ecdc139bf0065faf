//! Maildir with the folders of Maildir++: a file for each message, its flags in its name, and when it came as the time of the file.
//!
//! Folders are named as Dovecot and Courier do, or lie below each other as directories (Dovecot's `LAYOUT=fs`), which is found out.
//! Links are not followed: whoever owns a Maildir must not have other people's files read by the one who imports it.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::folders::{Flags, Folder, FolderPath, Message, Purpose};
use crate::frame::MOST;
use crate::transfer::{
    Entry, Fetched, Listing, Problem, Source, Target, TransferError, blocking, lines, names,
};

/// Directories of a folder that messages are in. `tmp` has none yet.
const WITH_MESSAGES: [&str; 2] = ["new", "cur"];
const DIRECTORIES: [&str; 3] = ["cur", "new", "tmp"];

/// Where Dovecot writes down what its small letters mean.
const KEYWORDS: &str = "dovecot-keywords";

/// Directories below each other.
const DEEPEST: usize = 32;

/// A Maildir to import from.
#[derive(Debug)]
pub struct MaildirSource {
    root: PathBuf,
    /// In the order in which they were listed.
    files: Vec<Mail>,
}

/// The file of a message.
#[derive(Clone, Debug)]
struct Mail {
    path: PathBuf,
    flags: Flags,
    received: i64,
}

impl MaildirSource {
    /// The Maildir in a directory.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), files: Vec::new() }
    }
}

impl Source for MaildirSource {
    fn list(&mut self) -> BoxFuture<'_, Result<Listing, TransferError>> {
        async move {
            let root = self.root.clone();
            let (listing, files) = blocking(move || list(&root)).await?;
            self.files = files;
            Ok(listing)
        }
        .boxed()
    }

    fn fetch(&mut self, entry: usize) -> BoxFuture<'_, Result<Fetched, TransferError>> {
        let mail = self.files.get(entry).cloned();
        async move {
            match mail {
                Some(mail) => blocking(move || Ok(fetch(&mail))).await,
                None => Ok(Fetched::Nothing),
            }
        }
        .boxed()
    }
}

fn list(root: &Path) -> Result<(Listing, Vec<Mail>), TransferError> {
    let mut folders = Vec::new();
    if is_maildir(root) {
        folders.push((root.to_owned(), vec!["Inbox".to_owned()]));
    }
    let mut below = Vec::new();
    find_below(root, &[], &mut below)
        .map_err(TransferError::file("reading the directory", root))?;
    below.sort();
    folders.extend(below.into_iter().map(|(names, path)| (path, names)));
    if folders.is_empty() {
        return Err(TransferError::Format {
            place: root.display().to_string(),
            format: "Maildir",
            reason: "there is no directory cur in it",
        });
    }
    let (mut listing, mut files) = (Listing::default(), Vec::new());
    for (path, names) in folders {
        match names::folder(names.iter().map(String::as_str)) {
            Ok(folder) => {
                list_folder(&path, &folder, &mut listing, &mut files);
                listing.folders.push(folder);
            }
            Err(error) => {
                let place = path.display().to_string();
                listing.problems.push(Problem { place, reason: error.to_string() });
            }
        }
    }
    Ok((listing, files))
}

fn is_maildir(path: &Path) -> bool {
    fs::symlink_metadata(path.join("cur")).is_ok_and(|about| about.is_dir())
}

/// Folders below a directory, by the names of their paths.
fn find_below(
    directory: &Path,
    above: &[String],
    found: &mut Vec<(Vec<String>, PathBuf)>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        if !entry.file_type()?.is_dir() || DIRECTORIES.contains(&file.as_str()) {
            continue;
        }
        let names: Vec<String> = match file.strip_prefix('.') {
            Some(path) => path.split('.').map(names::from_file).collect(),
            None => vec![names::from_file(&file)],
        };
        let names = [above, &names].concat();
        let is_plain = !file.starts_with('.');
        if is_maildir(&entry.path()) {
            found.push((names.clone(), entry.path()));
        }
        if is_plain && names.len() < DEEPEST {
            // One that can't be read is none of a mailbox, as a rule.
            let _ = find_below(&entry.path(), &names, found);
        }
    }
    Ok(())
}

fn list_folder(path: &Path, folder: &FolderPath, listing: &mut Listing, files: &mut Vec<Mail>) {
    let words = read_keywords(path);
    let mut mails: Vec<(String, u64, Mail)> = Vec::new();
    for directory in WITH_MESSAGES {
        let directory = path.join(directory);
        let mut list = || -> io::Result<()> {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let name = entry.file_name();
                // What begins with a dot is no message.
                if name.as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                let about = match entry.metadata() {
                    Ok(about) if about.is_file() => about,
                    _ => continue,
                };
                let name = name.to_string_lossy().into_owned();
                let received = about.modified().ok().map_or(0, seconds);
                let mail = Mail { path: entry.path(), flags: flags_of(&name, &words), received };
                mails.push((name, about.len(), mail));
            }
            Ok(())
        };
        match list() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let place = directory.display().to_string();
                listing.problems.push(Problem { place, reason: error.to_string() });
            }
            _ => {}
        }
    }
    // Directories have no order: the oldest first, as they came.
    mails.sort_by(|(one_name, _, one), (name, _, other)| {
        (one.received, one_name).cmp(&(other.received, name))
    });
    for (_, bytes, mail) in mails {
        let place = mail.path.display().to_string();
        let folder = folder.clone();
        listing.entries.push(Entry { folder, place, bytes, identity: None, uidl: None });
        files.push(mail);
    }
}

fn fetch(mail: &Mail) -> Fetched {
    let (raw, flags) = match read(&mail.path) {
        Ok(raw) => (raw, mail.flags),
        // Its owner read or marked it meanwhile, and so it has another name.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match renamed(&mail.path) {
            Some((raw, flags)) => (raw, flags),
            None => return Fetched::Nothing,
        },
        Err(error) => return Fetched::Refused(error.to_string()),
    };
    Fetched::Message {
        raw: Bytes::from(lines::to_crlf(&raw)),
        flags,
        received: Some(mail.received),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Nor a link, nor a pipe that nobody writes into.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    if about.len() > MOST as u64 {
        let reason = format!("it has {} bytes, and {MOST} are the most", about.len());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    let mut raw = Vec::new();
    // It may grow while it is read: one byte more than is taken is too long, however long it is.
    file.take(MOST as u64 + 1).read_to_end(&mut raw)?;
    Ok(raw)
}

/// The same message under another name, in `cur`.
fn renamed(path: &Path) -> Option<(Vec<u8>, Flags)> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent()?.parent()?;
    let own = base(name);
    for entry in fs::read_dir(folder.join("cur")).ok()?.flatten() {
        let found = entry.file_name();
        let Some(found) = found.to_str().filter(|found| base(found) == own) else { continue };
        if let Ok(raw) = read(&entry.path()) {
            return Some((raw, flags_of(found, &read_keywords(folder))));
        }
    }
    None
}

/// A file's name without its flags, which it has as long as it is there.
fn base(name: &str) -> &str {
    name.split_once(":2,").map_or(name, |(base, _)| base)
}

fn flags_of(name: &str, words: &HashMap<char, Flags>) -> Flags {
    let Some((_, letters)) = name.split_once(":2,") else { return Flags::default() };
    let known = letters.chars().filter_map(|letter| words.get(&letter));
    known.fold(Flags::from_letters(letters), |flags, flag| flags | *flag)
}

/// What a folder's small letters mean: lines of a number and a word, 0 for `a`.
fn read_keywords(folder: &Path) -> HashMap<char, Flags> {
    let text = read(&folder.join(KEYWORDS)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let words = text.lines().filter_map(|line| {
        let (number, word) = line.split_once(' ')?;
        let number = number.parse::<u8>().ok().filter(|number| *number < 26)?;
        Some((char::from(b'a' + number), lines::keyword(word.trim())))
    });
    words.collect()
}

fn seconds(time: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    }
}

/// A Maildir to export to. What it has from an earlier export is not written again; what was removed since stays in it.
#[derive(Debug)]
pub struct MaildirTarget {
    root: PathBuf,
    folder: PathBuf,
    uidvalidity: u32,
    /// Names without flags of what is there, and with them.
    there: HashMap<String, String>,
    marked: bool,
}

/// Flags that have no letter of their own.
const WORDS: [(Flags, char); 2] = [(Flags::JUNK, 'a'), (Flags::NOT_JUNK, 'b')];

impl MaildirTarget {
    /// A Maildir in a directory, which is made if it isn't there.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { folder: root.clone(), root, uidvalidity: 0, there: HashMap::new(), marked: false }
    }

    fn base(&self, message: &Message) -> String {
        let Message { received, folder, uid, .. } = message;
        format!("{}.{}V{}U{uid}.muralla", (*received).max(0), folder.0, self.uidvalidity)
    }

    fn suffix(message: &Message) -> String {
        let own = WORDS.iter().filter(|(flag, _)| message.flags.has(*flag));
        let own: String = own.map(|(_, letter)| *letter).collect();
        format!(":2,{}{own}", message.flags.to_letters())
    }
}

impl Target for MaildirTarget {
    fn begin(&mut self, folder: &Folder) -> Result<(), TransferError> {
        self.folder = if folder.purpose == Purpose::Inbox {
            self.root.clone()
        } else {
            let names: Vec<String> = folder.path.split('/').map(names::to_file).collect();
            let name = format!(".{}", names.join("."));
            // Each name is short enough, and all together may not be.
            self.root.join(if name.len() <= 255 {
                name
            } else {
                format!(".{}", names::to_file(&folder.path))
            })
        };
        self.uidvalidity = folder.uidvalidity;
        self.marked = false;
        self.there.clear();
        for directory in DIRECTORIES {
            let path = self.folder.join(directory);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(TransferError::file("making the directory", &path))?;
        }
        if self.folder != self.root {
            let path = self.folder.join("maildirfolder");
            File::create(&path).map_err(TransferError::file("making", &path))?;
        }
        for directory in WITH_MESSAGES {
            let path = self.folder.join(directory);
            let entries =
                fs::read_dir(&path).map_err(TransferError::file("reading the directory", &path))?;
            for entry in entries.flatten() {
                if let Ok(name) = entry.file_name().into_string() {
                    // What is behind the first comma says how long it is.
                    let base = base(&name).split(',').next().unwrap_or_default().to_owned();
                    self.there.insert(base, name);
                }
            }
        }
        Ok(())
    }

    fn wants(&mut self, message: &Message) -> bool {
        self.marked |= WORDS.iter().any(|(flag, _)| message.flags.has(*flag));
        let Some(name) = self.there.get(&self.base(message)) else { return true };
        // It may have been read since.
        let now = format!("{}{}", base(name), Self::suffix(message));
        if now != *name {
            let cur = self.folder.join("cur");
            // One that somebody else moved is theirs.
            let _ = fs::rename(cur.join(name), cur.join(now));
        }
        false
    }

    fn add(&mut self, message: &Message, raw: &[u8]) -> Result<(), TransferError> {
        let content = lines::to_lf(raw);
        let base = self.base(message);
        let path = self.folder.join("tmp").join(&base);
        let failed = |error| TransferError::file("writing", &path)(error);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        file.write_all(&content).map_err(failed)?;
        let since = Duration::from_secs(u64::try_from(message.received).unwrap_or(0));
        let came = UNIX_EPOCH + since;
        file.set_times(FileTimes::new().set_accessed(came).set_modified(came)).map_err(failed)?;
        // As Dovecot reads them: bytes of the file, and of the message with CRLF.
        let sizes = format!(",S={},W={}", content.len(), raw.len());
        let name = format!("{base}{sizes}{}", Self::suffix(message));
        fs::rename(&path, self.folder.join("cur").join(name)).map_err(failed)
    }

    fn end(&mut self) -> Result<(), TransferError> {
        let path = self.folder.join(KEYWORDS);
        if self.marked && !path.exists() {
            let words = "0 $Junk\n1 $NotJunk\n";
            fs::write(&path, words).map_err(TransferError::file("writing", &path))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), TransferError> {
        // All at once: a flush for each of 100,000 files takes minutes.
        let sync = File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root)?));
        sync.map_err(TransferError::file("flushing", &self.root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_in_the_name() {
        let words = HashMap::from([('a', Flags::JUNK), ('c', Flags::FORWARDED)]);
        for (name, flags) in [
            ("1.a.host", Flags::default()),
            ("1.a.host,S=5:2,", Flags::default()),
            ("1.a.host:2,FS", Flags::FLAGGED | Flags::SEEN),
            ("1.a.host:2,RSac", Flags::ANSWERED | Flags::SEEN | Flags::JUNK | Flags::FORWARDED),
            ("1.a.host:1,S", Flags::default()),
        ] {
            assert_eq!(flags_of(name, &words), flags, "{name}");
        }
        assert_eq!(base("1.a.host,S=5:2,FS"), "1.a.host,S=5");
    }

    #[test]
    fn times_before_1970_are_told() {
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_secs(7)), -7);
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_secs(7)), 7);
    }
}
