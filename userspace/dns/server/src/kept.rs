//! What outlives the process: the wire cache, and beside it the secrets of server cookies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use muralla_dns_wire::Secrets;
use tracing::{info, warn};

use crate::desk::Desk;

/// Nobody else reads what customers ask for, or makes their cookies.
const OURS_ALONE: u32 = 0o600;

/// More bytes than secrets have.
const MOST_SECRETS: u64 = 1 << 10;

/// Brings the cache of the last time back, as far as it is of use still.
pub(crate) fn load_cache(desk: &Desk, file: &Path) {
    let begin = Instant::now();
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            warn!(file = %file.display(), %error, "the cache of the last time can't be read: starting cold");
            return;
        }
    };
    match desk.load(&mut BufReader::new(opened)) {
        Ok(loaded) => match loaded.skipped {
            Some(reason) => {
                info!(file = %file.display(), %reason, "the cache of the last time is not used: starting cold");
            }
            None => info!(?loaded, took = ?begin.elapsed(), "the cache of the last time is back"),
        },
        Err(error) => {
            warn!(file = %file.display(), %error, "the cache of the last time is damaged; what was good of it is used");
        }
    }
}

/// Keeps the cache for the next time.
pub(crate) fn save_cache(desk: &Desk, file: &Path) {
    // At the end of the role another may be at it still: each would take the other's half for what a crash has left.
    let _one_at_a_time = desk.saving.lock();
    match replace(file, |writer| desk.save(writer)) {
        Ok(entries) => info!(entries, file = %file.display(), "cache saved"),
        Err(error) => {
            warn!(
                %error,
                "the cache can't be saved to {}: make room or choose another [dns] cache_file",
                file.display()
            );
        }
    }
}

/// The secrets of the last time, or `new` ones, which are kept beside the cache from now on.
pub(crate) fn secrets(cache_file: Option<&Path>, new: Secrets) -> Secrets {
    let Some(cache_file) = cache_file else { return new };
    let file = secrets_file(cache_file);
    match read_secrets(&file) {
        Ok(Some(kept)) => return kept,
        Ok(None) => {}
        Err(error) => {
            warn!(
                file = %file.display(),
                %error,
                "the secrets of cookies can't be used: clients are given new cookies"
            );
        }
    }
    save_secrets(cache_file, &new);
    new
}

/// Keeps the secrets beside the cache.
pub(crate) fn save_secrets(cache_file: &Path, secrets: &Secrets) {
    let file = secrets_file(cache_file);
    if let Err(error) = replace(&file, |writer| writer.write_all(&secrets.to_bytes())) {
        warn!(
            file = %file.display(),
            %error,
            "the secrets of cookies can't be kept: after a restart clients are given new cookies"
        );
    }
}

fn secrets_file(cache_file: &Path) -> PathBuf {
    beside(cache_file, ".cookies")
}

/// A file whose name is longer by that, and so never the same one, whatever its extension.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// None if there are none.
fn read_secrets(file: &Path) -> io::Result<Option<Secrets>> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if opened.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read the file, or write to it"));
    }
    let mut bytes = Vec::new();
    opened.take(MOST_SECRETS).read_to_end(&mut bytes)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged");
    Secrets::from_bytes(&bytes).ok_or_else(damaged).map(Some)
}

/// Replaces a file whole, so that a crash in the middle leaves the old one.
fn replace<T>(
    file: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> io::Result<T> {
    let new = beside(file, ".new");
    let attempt = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // What a crash left there may have other permissions.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(OURS_ALONE).open(&new)?;
        let mut writer = BufWriter::with_capacity(1 << 20, opened);
        let written = write(&mut writer)?;
        writer.flush()?;
        writer.get_ref().sync_data()?;
        fs::rename(&new, file)?;
        Ok(written)
    };
    attempt().inspect_err(|_| {
        // On a full disk the half of it would keep it full.
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("deep").join("cache");
        let of = |number: u8| Secrets::new([number; 16], None, 7);
        let same = |one: Secrets, other: Secrets| one.to_bytes() == other.to_bytes();
        assert!(same(secrets(Some(&cache), of(1)), of(1)), "there were none");
        assert!(same(secrets(Some(&cache), of(2)), of(1)), "they are kept");
        assert!(same(secrets(None, of(2)), of(2)), "nothing is kept");
        let file = secrets_file(&cache);
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);

        // A file that a crash left in the middle is no hindrance.
        fs::write(folder.path().join("deep").join("cache.cookies.new"), "half").unwrap();
        save_secrets(&cache, &of(3));
        assert!(same(secrets(Some(&cache), of(4)), of(3)));

        fs::write(&file, "nonsense").unwrap();
        assert!(same(secrets(Some(&cache), of(5)), of(5)), "a bad file");
        assert!(same(secrets(Some(&cache), of(6)), of(5)), "and those are kept");

        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(same(secrets(Some(&cache), of(7)), of(7)), "others may have read it");
        assert_eq!(mode(), 0o600);
    }
}
