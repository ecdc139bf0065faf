//! A copy of everything in memory, on this machine's disk, for a start while the database is away.
//!
//! The file is written beside the old one and takes its place when it is safe, so there is always a whole one. It ends with
//! a checksum: what a crash or a broken disk left is not taken for accounts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use muralla_mail_envelope::Domain;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::entries::{BackendEntry, DkimAlgorithm, DkimKeyEntry, DomainEntry, ShardEntry};
use crate::index::{Index, Small, SmallRows};
use crate::{DirectoryError, Hidden, record};

/// The form of the file and of the records in it.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 16] = b"muralla-mail-dir";

/// Longest description of domains and what there is little of.
const LONGEST_SMALL: u64 = 1 << 30;

const ACCOUNT: u8 = 1;
const ALIAS: u8 = 2;
const END: u8 = 0;

/// What a copy has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Copied {
    /// When it was made, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) accounts: u64,
    pub(crate) aliases: u64,
}

/// What there is little of, secrets included.
#[derive(Deserialize, Serialize)]
struct Rows {
    domains: Vec<DomainEntry>,
    backends: Vec<BackendEntry>,
    shards: Vec<Shard>,
    keys: Vec<Key>,
    secret: [u8; 32],
}

#[derive(Deserialize, Serialize)]
struct Shard {
    entry: ShardEntry,
    location: Option<String>,
    packs: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Key {
    domain: Domain,
    selector: String,
    algorithm: DkimAlgorithm,
    private_key: String,
    active: bool,
    created: i64,
}

/// Writes the copy; none if another process writes it at this moment.
///
/// # Errors
///
/// If the file can't be written. Then the one of before stays.
pub(crate) fn write(index: &Index, path: &Path, at: u64) -> Result<Option<Copied>, DirectoryError> {
    let new = beside(path);
    let failed = |source| DirectoryError::File {
        what: format!("the copy of the directory can not be written to {}", new.display()),
        source,
    };
    write_to(index, path, &new, at).map_err(failed)
}

fn write_to(index: &Index, path: &Path, new: &Path, at: u64) -> io::Result<Option<Copied>> {
    if let Some(folder) = folder_of(path) {
        fs::create_dir_all(folder)?;
    }
    // What is left of a crash is written over. Passwords are in it.
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(new)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !is_there(&file, new) {
        return Ok(None);
    }
    file.set_len(0)?;
    let mut out =
        Hashed { inner: BufWriter::with_capacity(1 << 20, file), hasher: blake3::Hasher::new() };
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&at.to_le_bytes())?;
    let small = serde_json::to_vec(&rows(&index.small()))?;
    out.write_all(&(small.len() as u64).to_le_bytes())?;
    out.write_all(&small)?;
    let mut copied = Copied { at, accounts: 0, aliases: 0 };
    let mut outcome = Ok(());
    let mut put = |out: &mut Hashed<_>, kind: u8, bytes: &[u8]| {
        if outcome.is_ok() {
            outcome = entry(out, kind, bytes);
        }
    };
    index.each_account(|record| {
        copied.accounts += 1;
        put(&mut out, ACCOUNT, record);
    });
    index.each_alias(|record| {
        copied.aliases += 1;
        put(&mut out, ALIAS, record);
    });
    outcome?;
    out.write_all(&[END])?;
    out.write_all(&copied.accounts.to_le_bytes())?;
    out.write_all(&copied.aliases.to_le_bytes())?;
    let hash = out.hasher.finalize();
    let mut inner = out.inner;
    inner.write_all(hash.as_bytes())?;
    let file = inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    if let Some(folder) = folder_of(path) {
        File::open(folder)?.sync_all()?;
    }
    Ok(Some(copied))
}

/// Whether it is still what its name says: another process may have put it in the place of the copy while this one came for
/// the lock, and then it is not ours to be written over.
fn is_there(file: &File, path: &Path) -> bool {
    let same = |one: &fs::Metadata, other: &fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => same(&one, &other),
        _ => false,
    }
}

fn entry(out: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&[kind])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)
}

/// Reads a copy into an empty index; none if there is no file.
///
/// # Errors
///
/// If it can't be read, or is damaged. Then what is in the index is worth nothing.
pub(crate) fn read(index: &Index, path: &Path) -> Result<Option<Copied>, DirectoryError> {
    let failed = |source| DirectoryError::File {
        what: format!(
            "the copy of the directory in {} can not be read, and is made anew when the database is back",
            path.display()
        ),
        source,
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    read_from(index, file).map(Some).map_err(failed)
}

/// How many domains the copy has, as far as it can be read.
pub(crate) fn domains(path: &Path) -> usize {
    let Ok(file) = File::open(path) else { return 0 };
    head(&mut Hashed::reading(file)).map_or(0, |(_, rows)| rows.domains.len())
}

/// When it was made, and what stands before the accounts.
fn head(input: &mut Hashed<BufReader<File>>) -> io::Result<(u64, Rows)> {
    if &input.array::<16>()? != MAGIC || u32::from_le_bytes(input.array()?) != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another version"));
    }
    let at = u64::from_le_bytes(input.array()?);
    let length = u64::from_le_bytes(input.array()?);
    if length > LONGEST_SMALL {
        return Err(damaged());
    }
    let small = input.vec(length)?;
    Ok((at, serde_json::from_slice(&small).map_err(|_| damaged())?))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged")
}

fn read_from(index: &Index, file: File) -> io::Result<Copied> {
    let mut input = Hashed::reading(file);
    let (at, rows) = head(&mut input)?;
    index.set_small(Small::of(small_rows(rows)).0);
    let mut copied = Copied { at, accounts: 0, aliases: 0 };
    loop {
        let [kind] = input.array()?;
        if kind == END {
            break;
        }
        let length = u32::from_le_bytes(input.array()?);
        if u64::from(length) > record::LONGEST as u64 {
            return Err(damaged());
        }
        let bytes = input.vec(length.into())?;
        match kind {
            ACCOUNT if record::Account::is_whole(&bytes) => {
                index.put_account(bytes.into());
                copied.accounts += 1;
            }
            ALIAS if record::is_whole_alias(&bytes) => {
                index.put_alias(bytes.into());
                copied.aliases += 1;
            }
            _ => return Err(damaged()),
        }
    }
    let counted = [input.array()?, input.array()?].map(u64::from_le_bytes);
    let hash = input.hasher.finalize();
    let mut written = [0; 32];
    input.inner.read_exact(&mut written)?;
    if hash != blake3::Hash::from(written) || counted != [copied.accounts, copied.aliases] {
        return Err(damaged());
    }
    Ok(copied)
}

fn rows(small: &Small) -> Rows {
    let key = |key: &DkimKeyEntry| Key {
        domain: key.domain.clone(),
        selector: key.selector.clone(),
        algorithm: key.algorithm,
        private_key: key.private_key.reveal().to_owned(),
        active: key.active,
        created: key.created,
    };
    let shard = |entry: &ShardEntry| Shard {
        entry: entry.clone(),
        location: entry.location.as_ref().map(|text| text.reveal().to_owned()),
        packs: entry.packs.as_ref().map(|text| text.reveal().to_owned()),
    };
    Rows {
        domains: small.domains.values().map(|domain| domain.entry.clone()).collect(),
        backends: small.backends.values().map(|backend| BackendEntry::clone(backend)).collect(),
        shards: small.shards.values().map(|entry| shard(entry)).collect(),
        keys: small.keys.values().flat_map(|keys| keys.iter().map(key)).collect(),
        secret: small.secret,
    }
}

fn small_rows(rows: Rows) -> SmallRows {
    let shard = |shard: Shard| ShardEntry {
        location: shard.location.map(Hidden::new),
        packs: shard.packs.map(Hidden::new),
        ..shard.entry
    };
    let key = |key: Key| DkimKeyEntry {
        domain: key.domain,
        selector: key.selector,
        algorithm: key.algorithm,
        private_key: Hidden::new(key.private_key),
        active: key.active,
        created: key.created,
    };
    SmallRows {
        domains: rows.domains,
        backends: rows.backends,
        shards: rows.shards.into_iter().map(shard).collect(),
        keys: rows.keys.into_iter().map(key).collect(),
        secret: rows.secret,
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    new.into()
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// What goes through it is hashed.
struct Hashed<T> {
    inner: T,
    hasher: blake3::Hasher,
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Hashed<BufReader<File>> {
    fn reading(file: File) -> Self {
        let inner = BufReader::with_capacity(1 << 20, file);
        Self { inner, hasher: blake3::Hasher::new() }
    }
}

impl<T: Read> Hashed<T> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// Of a length that may be a lie: no more memory is taken than there are bytes.
    fn vec(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.inner).take(length).read_to_end(&mut bytes)?;
        if read as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.hasher.update(&bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use muralla_credentials::Credential;

    use super::*;
    use crate::entries::Backend;
    use crate::record::{NewAccount, pack_alias};
    use crate::{BackendId, ShardId};

    fn filled() -> Index {
        let index = Index::new([1, 2]);
        let domain = Domain::parse("a.example").unwrap();
        let rows = SmallRows {
            domains: vec![DomainEntry::new(domain.clone())],
            backends: vec![BackendEntry {
                id: Some(BackendId(1)),
                name: "old".into(),
                backend: Backend::Lmtp { host: "h".into(), port: 24 },
                note: None,
            }],
            shards: vec![ShardEntry {
                id: Some(ShardId::MAIN),
                name: "main".into(),
                location: Some(Hidden::new("postgres://u:p@h/d")),
                packs: None,
                closed: false,
                note: None,
            }],
            keys: vec![DkimKeyEntry {
                domain,
                selector: "a".into(),
                algorithm: DkimAlgorithm::RsaSha256,
                private_key: Hidden::new("private"),
                active: true,
                created: 5,
            }],
            secret: [7; 32],
        };
        index.set_small(Small::of(rows).0);
        for id in 1..200 {
            let name = format!("n{id}@a.example");
            let credential = Credential::parse("{CLEARTEXT}secret").unwrap();
            let account = NewAccount { id, name: &name, credential, ..NewAccount::default() };
            index.put_account(account.pack().into());
        }
        index.put_alias(pack_alias("all@a.example", &[("n1@a.example".into(), true)]).into());
        index
    }

    #[test]
    fn a_copy_has_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("copy");
        assert_eq!(read(&Index::new([3, 4]), &path).unwrap(), None);
        let copied = write(&filled(), &path, 12).unwrap().unwrap();
        assert_eq!(copied, Copied { at: 12, accounts: 199, aliases: 1 });
        let index = Index::new([3, 4]);
        assert_eq!(read(&index, &path).unwrap(), Some(copied));
        let record = index.account("n77@a.example").unwrap();
        assert_eq!(*record, *filled().account("n77@a.example").unwrap());
        assert!(index.alias("all@a.example").is_some());
        let small = index.small();
        assert_eq!(small.keys["a.example"][0].private_key.reveal(), "private");
        assert_eq!(
            small.shards[&ShardId::MAIN].location.as_ref().unwrap().reveal(),
            "postgres://u:p@h/d"
        );
        assert_eq!((small.secret, small.backends.len()), ([7; 32], 1));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!beside(&path).exists());
    }

    /// Whatever a crash or a disk makes of the file, it is not taken for accounts.
    #[test]
    fn what_is_damaged_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        write(&filled(), &path, 12).unwrap().unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&Index::new([3, 4]), &path).is_err(), "cut at {cut}");
        }
        for at in (0..whole.len()).step_by(41) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            assert!(read(&Index::new([3, 4]), &path).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_torn_write_leaves_the_old_one_and_two_writers_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        write(&filled(), &path, 12).unwrap().unwrap();
        // Somebody else writes, and has got half through.
        fs::write(beside(&path), b"half a file").unwrap();
        let other = File::open(beside(&path)).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        assert_eq!(write(&filled(), &path, 13).unwrap(), None);
        assert_eq!(read(&Index::new([3, 4]), &path).unwrap().unwrap().at, 12);
        // He dies.
        drop(other);
        assert_eq!(write(&filled(), &path, 14).unwrap().unwrap().at, 14);
        assert_eq!(read(&Index::new([3, 4]), &path).unwrap().unwrap().at, 14);
    }
}
