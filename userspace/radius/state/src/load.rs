//! Everything out of the database into memory.

use std::num::NonZero;
use std::path::Path;
use std::thread;

use muralla_database::{DatabaseError, Position, Work};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Bulk, Profile};
use sqlx::AssertSqlSafe;
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::changes::{self, LOG};
use crate::convert::{Intake, Taken};
use crate::image::{Image, ImageWriter, Kept, Rows};
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

    /// As [`State::load_into`], but with the subscribers out of a file of theirs, which takes a fraction of the time; none if there is
    /// no such file, it is of another database, or is too old for what was changed since to be known. What is loaded is as the
    /// subscribers were then: call [`State::catch_up_but_sessions`] from its position before anybody is answered.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn load_image(
        &self,
        dictionary: &Dictionary,
        base: &Base,
        file: &Path,
    ) -> Result<Option<Loaded>, StateError> {
        let image = match Image::read(file) {
            Ok(Some(image)) => image,
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
                let mut loading =
                    Loading::begin(&mut work, dictionary, base, image.position.clone()).await?;
                loading.bulk.reserve(usize::try_from(image.subscribers).unwrap_or_default());
                let mut rows = image.rows();
                while !rows.is_empty() {
                    if !loading.take_rows(&mut rows) {
                        return Ok(None);
                    }
                    tokio::task::yield_now().await;
                }
                Ok(Some(loading.end(&mut work).await?))
            })
            .await?;
        if let Some(loaded) = &loaded {
            self.note_loaded(loaded);
        }
        Ok(loaded)
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
}

/// Subscribers of a file that a thread reads until it rests, so that a stop is heard of.
const STRETCH: usize = 16_384;

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
    /// One for each thread that reads.
    intakes: Vec<Intake<'b>>,
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
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let intakes = std::iter::repeat_with(|| Intake::new(dictionary)).take(threads).collect();
        Ok(Self { base, bulk, intakes, loaded })
    }

    fn take(&mut self, name: &str, entry: Result<&SubscriberEntry, String>) {
        let Some(intake) = self.intakes.first_mut() else { return };
        let taken = entry.and_then(|entry| intake.take(&self.bulk, entry));
        self.note(name, taken);
    }

    /// Takes the next rows of a file, on all cores: nobody can log in meanwhile. False if one of them is none.
    fn take_rows(&mut self, rows: &mut Rows<'_>) -> bool {
        let Self { bulk, intakes, .. } = self;
        let stretches: Option<Vec<_>> =
            intakes.iter().map(|_| rows.next_stretch(STRETCH)).collect();
        let Some(stretches) = stretches else { return false };
        let (bulk, lists) = (&*bulk, rows.lists.as_slice());
        let read = thread::scope(|scope| {
            let work = intakes.iter_mut().zip(stretches);
            let threads: Vec<_> = work
                .map(|(intake, rows)| scope.spawn(move || taken(bulk, intake, &rows, lists)))
                .collect();
            let mut all = Some((0, Vec::new()));
            for thread in threads {
                let part = match thread.join() {
                    Ok(part) => part,
                    Err(panicked) => std::panic::resume_unwind(panicked),
                };
                all = all.zip(part).map(|((count, mut told), (more, rest))| {
                    told.extend(rest);
                    (count + more, told)
                });
            }
            all
        });
        let Some((silent, told)) = read else { return false };
        self.loaded.subscribers += silent;
        for (name, taken) in told {
            self.note(&name, taken);
        }
        true
    }

    fn note(&mut self, name: &str, taken: Taken) {
        match taken {
            Ok(notes) => {
                self.loaded.subscribers += 1;
                for note in notes {
                    self.loaded.note(|| format!("subscriber {name}: {note}"));
                }
            }
            Err(reason) => {
                self.bulk.shut_out(name);
                self.loaded.problem(format!("subscriber {name}: {reason}"));
            }
        }
    }

    async fn end(self, work: &mut Work) -> Result<Loaded, DatabaseError> {
        let Self { base, bulk, mut loaded, .. } = self;
        for note in interims::too_slow(&readable_pools(work).await?.0, &entries(work).await?) {
            loaded.note(|| note);
        }
        let (nases, problems) = nases(work).await?;
        loaded.nases = nases;
        for problem in problems {
            loaded.problem(problem);
        }
        base.commit(bulk);
        for problem in base.problems() {
            loaded.problem(problem);
        }
        Ok(loaded)
    }
}

/// Puts rows of a file in. Gives how many subscribers there was nothing to say about, and what of the others; none if a row is
/// none.
fn taken(
    bulk: &Bulk,
    intake: &mut Intake<'_>,
    rows: &[&[u8]],
    lists: &[Vec<String>],
) -> Option<(u64, Vec<(String, Taken)>)> {
    let (mut silent, mut told) = (0, Vec::new());
    for row in rows {
        match Kept::of(row)? {
            Kept::Subscriber(mut entry, numbers) => {
                match intake.take_kept(bulk, &mut entry, numbers, lists)? {
                    Ok(notes) if notes.is_empty() => silent += 1,
                    taken => told.push((entry.name, taken)),
                }
            }
            Kept::Unreadable(name, reason) => told.push((name, Err(reason))),
        }
    }
    Some((silent, told))
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
