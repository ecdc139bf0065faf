//! Mbox: a file for each folder, in which each message has a line before it that begins with `From ` (RFC 4155).
//!
//! What is written is mboxrd: lines that could be taken for such a one get a `>`, and lines that have one get another. What is read may
//! be any of the kinds that there are: a line counts only behind an empty one, and only with a date in it. Folders below others lie in
//! a directory beside the file of the one above, with `.sbd` behind its name, as Thunderbird has them; when mail is read, without it,
//! too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use memchr::memchr;

use crate::folders::{Folder, FolderPath, Message};
use crate::frame::MOST;
use crate::transfer::mbox::line::FromLine;
use crate::transfer::{
    Entry, Fetched, Listing, Problem, Source, Target, TransferError, blocking, lines, names,
};

pub mod line;

/// What the name of a directory of folders below another ends with.
const BELOW: &str = ".sbd";

/// Directories below each other.
const DEEPEST: usize = 32;

/// As much of a line is looked at.
const LINE: usize = 1024;

/// A file, or a directory of files, to import from.
#[derive(Debug)]
pub struct MboxSource {
    path: PathBuf,
    /// Where a single file's messages go.
    folder: FolderPath,
    messages: Vec<Stretch>,
}

/// Where a message is.
#[derive(Clone, Debug)]
struct Stretch {
    file: PathBuf,
    start: u64,
    end: u64,
    received: i64,
}

impl MboxSource {
    /// What is in a file, for a folder; or what is in a directory, for folders that are named as the files.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, folder: FolderPath) -> Self {
        Self { path: path.into(), folder, messages: Vec::new() }
    }
}

impl Source for MboxSource {
    fn list(&mut self) -> BoxFuture<'_, Result<Listing, TransferError>> {
        async move {
            let (path, folder) = (self.path.clone(), self.folder.clone());
            let (listing, messages) = blocking(move || list(&path, folder)).await?;
            self.messages = messages;
            Ok(listing)
        }
        .boxed()
    }

    fn fetch(&mut self, entry: usize) -> BoxFuture<'_, Result<Fetched, TransferError>> {
        let stretch = self.messages.get(entry).cloned();
        async move {
            match stretch {
                Some(stretch) => blocking(move || Ok(fetch(&stretch))).await,
                None => Ok(Fetched::Nothing),
            }
        }
        .boxed()
    }
}

fn list(path: &Path, folder: FolderPath) -> Result<(Listing, Vec<Stretch>), TransferError> {
    let about = fs::metadata(path).map_err(TransferError::file("opening", path))?;
    let (mut listing, mut messages) = (Listing::default(), Vec::new());
    if !about.is_dir() {
        if !list_file(path, &folder, &mut listing, &mut messages)
            .map_err(TransferError::file("reading", path))?
        {
            return Err(no_mbox(path, "it does not begin with a line of From and a date"));
        }
        listing.folders.push(folder);
        return Ok((listing, messages));
    }
    let mut files = Vec::new();
    find_files(path, &[], &mut files).map_err(TransferError::file("reading", path))?;
    files.sort();
    for (names, file) in files {
        let place = || file.display().to_string();
        let folder = match names::folder(names.iter().map(String::as_str)) {
            Ok(folder) => folder,
            Err(error) => {
                listing.problems.push(Problem { place: place(), reason: error.to_string() });
                continue;
            }
        };
        match list_file(&file, &folder, &mut listing, &mut messages) {
            Ok(true) => listing.folders.push(folder),
            // An index, or whatever else lies about.
            Ok(false) => {}
            Err(error) => {
                listing.problems.push(Problem { place: place(), reason: error.to_string() });
            }
        }
    }
    if listing.folders.is_empty() && listing.problems.is_empty() {
        return Err(no_mbox(path, "no file in it begins with a line of From and a date"));
    }
    Ok((listing, messages))
}

fn no_mbox(path: &Path, reason: &'static str) -> TransferError {
    TransferError::Format { place: path.display().to_string(), format: "mbox", reason }
}

fn find_files(
    directory: &Path,
    above: &[String],
    found: &mut Vec<(Vec<String>, PathBuf)>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        // Links are not followed: they may lead to what is not theirs whose mail it is.
        let kind = entry.file_type()?;
        if file.starts_with('.') {
            continue;
        }
        let ending = if kind.is_dir() { BELOW } else { ".mbox" };
        let name = file.strip_suffix(ending).unwrap_or(&file);
        let names = [above, &[names::from_file(name)]].concat();
        if kind.is_dir() && names.len() < DEEPEST {
            let _ = find_files(&entry.path(), &names, found);
        } else if kind.is_file() {
            found.push((names, entry.path()));
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// The messages of a file. Tells whether it is an mbox; an empty one is.
fn list_file(
    path: &Path,
    folder: &FolderPath,
    listing: &mut Listing,
    messages: &mut Vec<Stretch>,
) -> io::Result<bool> {
    let mut reader = BufReader::with_capacity(256 << 10, open(path)?);
    let mut line = Vec::new();
    // Where the line begins, and the empty one before it.
    let (mut at, mut empty) = (0, Some(0));
    let mut current: Option<Stretch> = None;
    let mut add = |stretch: Option<Stretch>, end: u64| {
        if let Some(stretch) = stretch.filter(|stretch| stretch.start < end) {
            listing.entries.push(Entry {
                folder: folder.clone(),
                place: format!("{}, at byte {}", path.display(), stretch.start),
                bytes: end - stretch.start,
                identity: None,
                uidl: None,
            });
            messages.push(Stretch { end, ..stretch });
        }
    };
    loop {
        let length = read_line(&mut reader, &mut line)?;
        if length == 0 {
            break;
        }
        let from = empty.and_then(|_| FromLine::parse(&line));
        match (from, empty) {
            (Some(from), Some(before)) => {
                add(current.take(), before);
                let start = at + length;
                current =
                    Some(Stretch { file: path.to_owned(), start, end: start, received: from.time });
            }
            _ if current.is_none() => return Ok(false),
            _ => {}
        }
        empty = matches!(line.as_slice(), b"\n" | b"\r\n").then_some(at);
        at += length;
    }
    let end = empty.filter(|_| current.is_some()).unwrap_or(at);
    add(current, end);
    Ok(true)
}

/// Reads a line, of which as much is kept as is looked at. Returns how long it is with its end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut length = 0;
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let newline = memchr(b'\n', buffer);
        let used = newline.map_or(buffer.len(), |newline| newline + 1);
        let room = LINE.saturating_sub(line.len()).min(used);
        line.extend_from_slice(buffer.get(..room).unwrap_or_default());
        length += used as u64;
        reader.consume(used);
        if newline.is_some() || used == 0 {
            return Ok(length);
        }
    }
}

fn fetch(stretch: &Stretch) -> Fetched {
    let length = stretch.end - stretch.start;
    if length > MOST as u64 {
        return Fetched::Refused(format!("it has {length} bytes, and {MOST} are the most"));
    }
    let mut quoted = Vec::new();
    let read = open(&stretch.file).and_then(|mut file| {
        file.seek(SeekFrom::Start(stretch.start))?;
        file.take(length).read_to_end(&mut quoted)
    });
    match read {
        Err(error) => return Fetched::Refused(error.to_string()),
        Ok(read) if (read as u64) < length => {
            return Fetched::Refused("the file was changed meanwhile".to_owned());
        }
        Ok(_) => {}
    }
    let message = lines::to_crlf(&lines::unquote(&quoted));
    let (message, state) = lines::take_state(&message);
    if state.is_none {
        return Fetched::Nothing;
    }
    let (raw, flags) = (Bytes::from(message), state.flags);
    Fetched::Message { raw, flags, received: Some(stretch.received) }
}

/// A directory to export to: a file for each folder. One that is there is replaced when the new one is complete.
#[derive(Debug)]
pub struct MboxTarget {
    root: PathBuf,
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl MboxTarget {
    /// Files in a directory, which is made if it isn't there.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { path: root.clone(), root, file: None }
    }

    fn unfinished(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        // Hidden, so that nobody takes it for a folder.
        self.path.with_file_name(format!(".{name}.new"))
    }
}

impl Target for MboxTarget {
    fn begin(&mut self, folder: &Folder) -> Result<(), TransferError> {
        let mut directory = self.root.clone();
        let mut names: Vec<String> = folder.path.split('/').map(names::to_file).collect();
        let last = names.pop().unwrap_or_default();
        directory.extend(names.into_iter().map(|name| format!("{name}{BELOW}")));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(TransferError::file("making the directory", &directory))?;
        self.path = directory.join(last);
        let path = self.unfinished();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(TransferError::file("making", &path))?;
        self.file = Some(BufWriter::with_capacity(256 << 10, file));
        Ok(())
    }

    fn wants(&mut self, _: &Message) -> bool {
        true
    }

    fn add(&mut self, message: &Message, raw: &[u8]) -> Result<(), TransferError> {
        let path = self.unfinished();
        let Some(file) = &mut self.file else { return Ok(()) };
        let from = FromLine { sender: line::sender(raw), time: message.received };
        let content = lines::quote(&lines::with_state(raw, message.flags));
        let end: &[u8] = if content.ends_with(b"\n") { b"\n" } else { b"\n\n" };
        let write = [from.to_string().as_bytes(), &content, end].concat();
        file.write_all(&write).map_err(TransferError::file("writing", &path))
    }

    fn end(&mut self) -> Result<(), TransferError> {
        let path = self.unfinished();
        let Some(file) = self.file.take() else { return Ok(()) };
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&path, &self.path))
            .map_err(TransferError::file("writing", &path))
    }

    fn finish(&mut self) -> Result<(), TransferError> {
        let sync = File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root)?));
        sync.map_err(TransferError::file("flushing", &self.root))
    }
}
