//! A copy of what a database elsewhere has, on this machine's disk, for a start while that is away.
//!
//! It has subscribers, profiles and NASes as they were when it was made; what is given out of pools it has not, since other
//! servers may give it out meanwhile.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::Base;
use muralla_radius_state::{Charged, Loaded, Location, State, StateError};
use tracing::warn;

/// Subscribers that are copied at once.
const PIECE: u32 = 2_000;

/// Makes the copy anew, and gives the number of subscribers in it.
///
/// # Errors
///
/// When the database does not answer, or the file can't be written. Then the copy of before stays.
pub(crate) async fn copy(state: &State, file: &Path) -> Result<u64, StateError> {
    let new = beside(file, ".new");
    let disk = |source: io::Error| StateError::File { what: new.display().to_string(), source };
    remove(&new).map_err(disk)?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(disk)?;
    }
    // Passwords are in it. An empty file is a database without tables.
    File::options().write(true).create_new(true).mode(0o600).open(&new).map_err(disk)?;
    let copy = State::open(&Location::Sqlite(new.clone())).await?;
    let copied = fill(&copy, state).await;
    copy.close().await;
    let copied = copied?;
    // What is still in the log would stay behind.
    if fs::metadata(beside(&new, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(disk(io::Error::other("its log could not be folded into it")));
    }
    // First what open sessions have off the credits: with the copy before it, some of a credit may be used twice, but nobody is
    // refused for it.
    write_charges(file, &state.charged_sessions().await?).map_err(disk)?;
    fs::rename(&new, file).map_err(disk)?;
    Ok(copied)
}

/// Up to where open sessions were off the credits that the copy has; none if that is not known.
pub(crate) fn charges(file: &Path) -> Option<Vec<Charged>> {
    let text = fs::read_to_string(charges_beside(file)).ok()?;
    let mut charges: Vec<Charged> = text.lines().map_while(read_charge).collect();
    // The last line tells how many there are.
    let count = text.lines().nth(charges.len())?;
    let whole = count.strip_prefix("all ")?.parse() == Ok(charges.len());
    charges.shrink_to_fit();
    whole.then_some(charges)
}

fn read_charge(line: &str) -> Option<Charged> {
    let mut words = line.splitn(5, ' ');
    let mut next = || words.next();
    Some(Charged {
        id: next()?.parse().ok()?,
        seconds: next()?.parse().ok()?,
        octets: next()?.parse().ok()?,
        updated: next()?.parse().ok()?,
        user: next()?.to_owned(),
    })
}

fn write_charges(file: &Path, charges: &[Charged]) -> io::Result<()> {
    let mut text = String::new();
    // A name with a line's end would be two lines, and has no sessions: those have such names in other letters.
    let plain = || charges.iter().filter(|charged| !charged.user.contains(['\n', '\r']));
    for Charged { user, id, seconds, octets, updated } in plain() {
        text.push_str(&format!("{id} {seconds} {octets} {updated} {user}\n"));
    }
    text.push_str(&format!("all {}\n", plain().count()));
    let (file, new) = (charges_beside(file), charges_beside(&file.with_added_extension("new")));
    let mut opened =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    opened.write_all(text.as_bytes())?;
    fs::rename(&new, file)
}

fn charges_beside(file: &Path) -> PathBuf {
    file.with_added_extension("charges")
}

async fn fill(copy: &State, state: &State) -> Result<u64, StateError> {
    let (mut copied, mut after) = (0, String::new());
    copy.take_over(&state.profiles().await?, &[]).await?;
    for nas in state.nases().await?.0 {
        copy.put_nas(&nas).await?;
    }
    loop {
        let piece = state.subscribers(&after, PIECE).await?;
        let Some(last) = piece.last() else { return Ok(copied) };
        after.clone_from(&last.name);
        copy.take_over(&[], &piece).await?;
        copied += piece.len() as u64;
    }
}

/// Loads the copy, and tells from when it is; none if there is none.
pub(crate) async fn load(
    dictionary: &Dictionary,
    base: &Base,
    file: &Path,
) -> Option<(Loaded, SystemTime)> {
    let made = fs::metadata(file).and_then(|data| data.modified()).ok()?;
    let location = Location::Sqlite(file.to_owned());
    let loaded = async {
        let copy = State::open(&location).await?;
        let loaded = copy.load_into(dictionary, base, |_| ()).await;
        copy.close().await;
        loaded
    };
    match loaded.await {
        Ok(loaded) => Some((loaded, made)),
        Err(error) => {
            warn!(%error, file = %file.display(), "the copy of the database can't be used");
            None
        }
    }
}

/// The file whose name goes on with `suffix`.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a database with what lies beside it.
fn remove(file: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(file, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use muralla_radius_policy::Names;
    use muralla_radius_state::{Hidden, NasEntry, ProfileEntry, SubscriberEntry};

    use super::*;

    fn subscriber(name: String) -> SubscriberEntry {
        SubscriberEntry {
            name,
            credential: Hidden::new("{CLEARTEXT}arctangent"),
            profiles: vec!["home".to_owned()],
            ..SubscriberEntry::default()
        }
    }

    #[tokio::test]
    async fn what_was_copied_is_loaded_and_a_second_copy_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let dictionary = Dictionary::built_in();
        let there = State::open(&Location::Sqlite(folder.path().join("there"))).await.unwrap();
        let home = ProfileEntry { name: "home".to_owned(), ..ProfileEntry::default() };
        there.put_profiles(&dictionary, &[home]).await.unwrap();
        let nas = NasEntry::new("one", "192.0.2.0/24".parse().unwrap(), "a secret");
        there.put_nas(&nas).await.unwrap();
        // More than one piece.
        let many = PIECE as usize + 7;
        let all: Vec<_> = (0..many).map(|number| subscriber(format!("user {number}"))).collect();
        there.put_subscribers(&dictionary, &all, |_| ()).await.unwrap();
        // What an operator's own SQL entered, and what would be refused of others, is copied as it stands.
        let odd = SubscriberEntry {
            check: vec!["Max-Daily-Session := 3600".to_owned(), "nonsense".to_owned()],
            ..subscriber("user odd".to_owned())
        };
        there.take_over(&[], &[odd]).await.unwrap();

        let file = folder.path().join("deep").join("copy.db");
        let base = Base::new(Arc::clone(&dictionary), Names::default(), [1, 2]);
        assert!(load(&dictionary, &base, &file).await.is_none(), "there is none yet");
        assert_eq!(copy(&there, &file).await.unwrap(), many as u64 + 1);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (loaded, _) = load(&dictionary, &base, &file).await.unwrap();
        assert_eq!((loaded.subscribers, loaded.profiles, loaded.refused), (many as u64, 1, 1));
        assert_eq!(loaded.nases, [nas]);
        assert!(base.is_ready() && base.subscriber("user 2001").is_some());

        assert_eq!(charges(&file), Some(Vec::new()));
        let id = "0123456789abcdef".repeat(2).parse().unwrap();
        let charged = |user: &str| Charged {
            user: user.to_owned(),
            id,
            seconds: 7,
            octets: u64::MAX,
            updated: -1,
        };
        let all = [charged("ann b"), charged("né"), charged("")];
        write_charges(&file, &all).unwrap();
        assert_eq!(charges(&file).as_deref(), Some(&all[..]));
        let text = fs::read_to_string(charges_beside(&file)).unwrap();
        for cut in ["", &text[..text.len() - 6], "all 1\n"] {
            fs::write(charges_beside(&file), cut).unwrap();
            assert_eq!(charges(&file), None, "{cut}");
        }

        there.remove_subscriber("user 2001").await.unwrap();
        // What a crash left of an attempt is no hindrance.
        fs::write(folder.path().join("deep").join("copy.db.new"), "half").unwrap();
        assert_eq!(copy(&there, &file).await.unwrap(), many as u64);
        load(&dictionary, &base, &file).await.unwrap();
        assert!(base.subscriber("user 2001").is_none());

        fs::write(&file, "nonsense").unwrap();
        assert!(load(&dictionary, &base, &file).await.is_none());
        assert!(base.is_ready(), "what is in memory stays");
    }
}
