//! Everything out of the database into memory.

use std::path::Path;
use std::sync::Arc;

use muralla_database::{DatabaseError, Position, Work};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Bulk, Filling, Profile};
use sqlx::AssertSqlSafe;
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::changes::{self, LOG};
use crate::convert::{Intake, Taken};
use crate::image::{Image, ImageShelf, ImageWriter};
use crate::rest::Rest;
use crate::state::{Progress, unix_now};
use crate::stored::{
    PLAIN, PROFILE, SUBSCRIBER, entries, nases, plain_subscriber_of, profile_of, readable_pools,
    subscriber_of,
};
use crate::{NasEntry, State, StateError, SubscriberEntry};
use crate::{convert, interims};

/// What was loaded, and from where the log of changes goes on.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Where the log of changes stood: [`State::follow`] begins there.
    pub position: Position,
    /// Subscribers in the base.
    pub subscribers: u64,
    /// Profiles in the base.
    pub profiles: u64,
    /// NASes.
    pub nases: Vec<NasEntry>,
    /// Rows that can't be used, and why, the first [`Loaded::MOST_PROBLEMS`]. Who is in one of them is refused
    /// (`subscriber_unreadable`): without a rule that can't be read, somebody might get in who must not.
    pub problems: Vec<String>,
    /// How many rows can't be used.
    pub refused: u64,
    /// What rows say that does nothing, or not what it should, the first [`Loaded::MOST_PROBLEMS`].
    pub notes: Vec<String>,
}

impl Loaded {
    /// Most problems that are told.
    pub const MOST_PROBLEMS: usize = 100;

    fn problem(&mut self, problem: String) {
        self.refused += 1;
        if self.problems.len() < Self::MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn note(&mut self, note: impl FnOnce() -> String) {
        if self.notes.len() < Self::MOST_PROBLEMS {
            self.notes.push(note());
        }
    }

    /// What became of a subscriber.
    pub(crate) fn note_taken(&mut self, name: &str, taken: Taken) {
        match taken {
            Ok(notes) => {
                self.subscribers += 1;
                for note in notes {
                    self.note(|| format!("subscriber {name}: {note}"));
                }
            }
            Err(reason) => self.problem(format!("subscriber {name}: {reason}")),
        }
    }

    async fn add_others(&mut self, work: &mut Work) -> Result<(), DatabaseError> {
        for note in interims::too_slow(&readable_pools(work).await?.0, &entries(work).await?) {
            self.note(|| note);
        }
        let (nases, problems) = nases(work).await?;
        self.nases = nases;
        for problem in problems {
            self.problem(problem);
        }
        Ok(())
    }

    fn add_problems_of(&mut self, base: &Base) {
        for problem in base.problems() {
            self.problem(problem);
        }
    }
}

impl State {
    /// Loads all subscribers and profiles into a base, instead of what is in it, all as they were at one moment. Until it is
    /// done, the base answers with what it had.
    ///
    /// # Errors
    ///
    /// If the database is away. Rows that can't be used are no error: see [`Loaded::problems`].
    pub async fn load_into(
        &self,
        dictionary: &Dictionary,
        base: &Base,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Loaded, StateError> {
        let loaded = self
            .watched(async {
                let mut work = self.inner.engine.read().await?;
                Ok(load(&mut work, dictionary, base, None, progress).await?)
            })
            .await?;
        self.note_loaded(&loaded);
        Ok(loaded)
    }

    /// As [`State::load_into`], and writes the file for [`State::load_image`] on the way. That it can't be written is told in the log.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn load_and_keep(
        &self,
        dictionary: &Dictionary,
        base: &Base,
        file: &Path,
    ) -> Result<Loaded, StateError> {
        let loaded = self
            .watched(async {
                let mut work = self.inner.engine.read().await?;
                let position = LOG.end(&mut work).await?;
                let image = match ImageWriter::begin(&mut work, &position, file).await {
                    Ok(image) => image,
                    Err(error @ StateError::File { .. }) => {
                        not_kept(&error);
                        None
                    }
                    Err(error) => return Err(error),
                };
                Ok(load(&mut work, dictionary, base, image, |_| ()).await?)
            })
            .await?;
        self.note_loaded(&loaded);
        Ok(loaded)
    }

    /// As [`State::load_into`], but with the subscribers in a file of theirs, out of which each is fetched when he is asked for: it
    /// takes no longer than it takes to read the file. None if there is no such file, it is of another database, or is too old for
    /// what was changed since to be known. What is loaded is as the subscribers were then: call [`State::catch_up_but_sessions`] from
    /// its position before anybody is answered, and [`Rest::fill`] soon, since the file is in memory until then.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn load_image(
        &self,
        dictionary: &Arc<Dictionary>,
        base: &Base,
        file: &Path,
    ) -> Result<Option<(Loaded, Rest)>, StateError> {
        let image = match Image::read(file) {
            Ok(Some(image)) => Arc::new(image),
            Ok(None) => return Ok(None),
            Err(reason) => {
                warn!(%reason, file = %file.display(), "the file of subscribers is not used: reading them out of the database");
                return Ok(None);
            }
        };
        let keep = i64::try_from(self.inner.options.keep_changes.as_secs()).unwrap_or(i64::MAX);
        let loaded = self
            .watched(async {
                let mut work = self.inner.engine.read().await?;
                if !image.is_of(&mut work).await? {
                    return Ok(None);
                }
                // Looked at before the work: another database, or too much, would have it done twice.
                let (changes, _) =
                    changes::after_but_sessions(&mut work, &image.position, keep).await?;
                if changes.everything {
                    return Ok(None);
                }
                let loading =
                    Loading::begin(&mut work, dictionary, base, image.position.clone()).await?;
                loading.bulk.reserve(usize::try_from(image.subscribers).unwrap_or_default());
                match ImageShelf::new(&image, &loading.bulk, dictionary) {
                    Some(shelf) => Ok(Some(loading.end_with(&mut work, shelf).await?)),
                    None => Ok(None),
                }
            })
            .await?;
        let Some((mut loaded, filling)) = loaded else { return Ok(None) };
        self.note_loaded(&loaded);
        let rest = Rest::new(self, Arc::clone(&image), filling, dictionary, loaded.clone());
        loaded.subscribers = image.subscribers;
        Ok(Some((loaded, rest)))
    }

    /// Writes all subscribers into a file for [`State::load_image`]. Gives how many there are; none if nothing could be told of which
    /// database they are, as its log of changes is empty.
    ///
    /// # Errors
    ///
    /// If the database is away, or the file can't be written. Then the file of before stays.
    pub async fn write_image(&self, file: &Path) -> Result<Option<u64>, StateError> {
        let written = self.watched(async {
            let mut work = self.inner.engine.read().await?;
            let position = LOG.end(&mut work).await?;
            let Some(mut image) = ImageWriter::begin(&mut work, &position, file).await? else {
                return Ok(None);
            };
            let (mut count, mut failed) = (0, None);
            work.each_of_many(SUBSCRIBER, Vec::new(), |row| {
                count += 1;
                let (name, entry) = (row.text(0).unwrap_or_default(), subscriber_of(&row));
                if failed.is_none() {
                    failed = add(&mut image, &name, &entry).err();
                }
                Ok(())
            })
            .await?;
            match failed {
                Some(failed) => Err(failed),
                // Whoever shares this thread goes on meanwhile, however long the disk takes.
                None => match spawn_blocking(move || image.finish()).await {
                    Ok(finished) => finished.map(|()| Some(count)),
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
            }
        });
        written.await
    }

    fn note_loaded(&self, loaded: &Loaded) {
        self.note_following(|following| {
            following.current = unix_now();
            for problem in loaded.problems.iter().chain(&loaded.notes) {
                following.note_problem(problem.clone());
            }
        });
    }

    /// Notes what of a load was found later than the rest of it.
    pub(crate) fn note_found(&self, before: &Loaded, loaded: &Loaded) {
        let problems = loaded.problems.iter().skip(before.problems.len());
        let notes = loaded.notes.iter().skip(before.notes.len());
        self.note_following(|following| {
            for problem in problems.chain(notes) {
                following.note_problem(problem.clone());
            }
        });
    }
}

fn not_kept(reason: &StateError) {
    warn!(%reason, "the file of subscribers can't be written: the next start reads them out of the database, which takes longer");
}

pub(crate) async fn load(
    work: &mut Work,
    dictionary: &Dictionary,
    base: &Base,
    mut image: Option<ImageWriter>,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Loaded, DatabaseError> {
    // Before anything else, so that nothing comes in between that is neither here nor there.
    let position = LOG.end(work).await?;
    let mut loading = Loading::begin(work, dictionary, base, position).await?;
    let total = work.number("SELECT count(*) FROM radius_subscriber", Vec::new()).await?;
    let total = total.max(0).cast_unsigned();
    loading.bulk.reserve(usize::try_from(total).unwrap_or_default());
    let what = "loading subscribers";
    progress(Progress { what, done: 0, total: Some(total) });
    let mut done = 0u64;
    let mut take = |name: Result<String, DatabaseError>,
                    entry: Result<SubscriberEntry, DatabaseError>| {
        done += 1;
        if done.is_multiple_of(10_000) {
            progress(Progress { what, done, total: Some(total) });
        }
        let name = name.unwrap_or_default();
        keep(&mut image, &name, &entry);
        loading.take(&name, entry.as_ref().map_err(ToString::to_string));
    };
    // Most subscribers have a name, a password and a profile. To carry a row's empty columns as well would take three times
    // as long, so those who have more are asked for by themselves.
    let plain = format!("SELECT name, credential, profiles FROM radius_subscriber WHERE {PLAIN}");
    work.each_of_many(AssertSqlSafe(plain), Vec::new(), |row| {
        take(row.text(0), plain_subscriber_of(&row));
        Ok(())
    })
    .await?;
    let others = format!("{SUBSCRIBER} WHERE NOT ({PLAIN})");
    work.each_of_many(AssertSqlSafe(others), Vec::new(), |row| {
        take(row.text(0), subscriber_of(&row));
        Ok(())
    })
    .await?;
    let loaded = loading.end(work).await?;
    if let Some(image) = image {
        // Nobody waits for the disk before he may log in.
        spawn_blocking(move || {
            if let Err(error) = image.finish() {
                not_kept(&error);
            }
        });
    }
    progress(Progress { what, done, total: Some(total) });
    Ok(loaded)
}

/// Adds a subscriber to the file, or gives the file up if it can't be written.
fn keep(
    image: &mut Option<ImageWriter>,
    name: &str,
    entry: &Result<SubscriberEntry, DatabaseError>,
) {
    if let Some(writer) = image
        && let Err(error) = add(writer, name, entry)
    {
        not_kept(&error);
        *image = None;
    }
}

fn add(
    image: &mut ImageWriter,
    name: &str,
    entry: &Result<SubscriberEntry, DatabaseError>,
) -> Result<(), StateError> {
    match entry {
        Ok(entry) => image.add(name, Ok(entry)),
        Err(error) => image.add(name, Err(&error.to_string())),
    }
}

/// A load under way: profiles are in it from the start, then come subscribers, from wherever.
struct Loading<'b> {
    base: &'b Base,
    bulk: Bulk,
    intake: Intake<'b>,
    loaded: Loaded,
}

impl<'b> Loading<'b> {
    async fn begin(
        work: &mut Work,
        dictionary: &'b Dictionary,
        base: &'b Base,
        position: Position,
    ) -> Result<Self, DatabaseError> {
        let mut loaded = Loaded {
            position,
            subscribers: 0,
            profiles: 0,
            nases: Vec::new(),
            problems: Vec::new(),
            refused: 0,
            notes: Vec::new(),
        };
        let bulk = base.bulk();
        let (profiles, problems) = profiles(work, dictionary).await?;
        for problem in problems {
            loaded.problem(problem);
        }
        for (profile, result) in profiles.iter().zip(bulk.upsert_profiles(&profiles)) {
            match result {
                Ok(notes) => {
                    loaded.profiles += 1;
                    for note in notes {
                        loaded.note(|| format!("profile {}: {note}", profile.name));
                    }
                }
                Err(error) => loaded.problem(format!("profile {}: {error}", profile.name)),
            }
        }
        Ok(Self { base, bulk, intake: Intake::new(dictionary), loaded })
    }

    fn take(&mut self, name: &str, entry: Result<&SubscriberEntry, String>) {
        let taken = entry.and_then(|entry| self.intake.take(&self.bulk, entry));
        if taken.is_err() {
            self.bulk.shut_out(name);
        }
        self.loaded.note_taken(name, taken);
    }

    async fn end(self, work: &mut Work) -> Result<Loaded, DatabaseError> {
        let Self { base, bulk, mut loaded, .. } = self;
        loaded.add_others(work).await?;
        base.commit(bulk);
        loaded.add_problems_of(base);
        Ok(loaded)
    }

    /// The same with subscribers who are on a shelf.
    async fn end_with(
        self,
        work: &mut Work,
        shelf: ImageShelf,
    ) -> Result<(Loaded, Filling), DatabaseError> {
        let Self { base, bulk, mut loaded, .. } = self;
        loaded.add_others(work).await?;
        let filling = base.commit_lent(bulk, Box::new(shelf));
        loaded.add_problems_of(base);
        Ok((loaded, filling))
    }
}

/// All profiles that can be read, and what is wrong with the others.
pub(crate) async fn profiles(
    work: &mut Work,
    dictionary: &Dictionary,
) -> Result<(Vec<Profile>, Vec<String>), DatabaseError> {
    let (mut profiles, mut problems) = (Vec::new(), Vec::new());
    work.each(PROFILE, Vec::new(), |row| {
        let profile = profile_of(&row).map_err(|error| error.to_string());
        match profile.and_then(|entry| convert::profile(dictionary, &entry)) {
            Ok(profile) => profiles.push(profile),
            Err(reason) => {
                let name = row.text(0).unwrap_or_default();
                problems.push(format!("profile {name}: {reason}"));
            }
        }
        Ok(())
    })
    .await?;
    Ok((profiles, problems))
}
