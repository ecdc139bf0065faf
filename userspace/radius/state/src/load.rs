//! Everything out of the database into memory.

use muralla_database::{DatabaseError, Position, Work};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Profile};
use sqlx::AssertSqlSafe;

use crate::changes::LOG;
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
    /// Rows that can't be used, and why, the first [`Loaded::MOST_PROBLEMS`]. Who is in one of them is refused: without a
    /// rule that can't be read, somebody might get in who must not.
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
                Ok(load(&mut work, dictionary, base, progress).await?)
            })
            .await?;
        self.note_following(|following| {
            following.current = unix_now();
            for problem in loaded.problems.iter().chain(&loaded.notes) {
                following.note_problem(problem.clone());
            }
        });
        Ok(loaded)
    }
}

pub(crate) async fn load(
    work: &mut Work,
    dictionary: &Dictionary,
    base: &Base,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Loaded, DatabaseError> {
    // Before anything else, so that nothing comes in between that is neither here nor there.
    let mut loaded = Loaded {
        position: LOG.end(work).await?,
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
    let total = work.number("SELECT count(*) FROM radius_subscriber", Vec::new()).await?;
    let total = total.max(0).cast_unsigned();
    let what = "loading subscribers";
    progress(Progress { what, done: 0, total: Some(total) });
    let mut done = 0u64;
    let mut take = |name: Result<String, DatabaseError>,
                    entry: Result<SubscriberEntry, DatabaseError>| {
        done += 1;
        if done.is_multiple_of(10_000) {
            progress(Progress { what, done, total: Some(total) });
        }
        let subscriber = entry
            .map_err(|error| error.to_string())
            .and_then(|entry| convert::subscriber(dictionary, &entry))
            .and_then(|subscriber| {
                bulk.upsert_subscriber(&subscriber).map_err(|error| error.to_string())
            });
        match subscriber {
            Ok(upserted) => {
                loaded.subscribers += 1;
                let name = name.unwrap_or_default();
                for note in upserted.notes {
                    loaded.note(|| format!("subscriber {name}: {note}"));
                }
            }
            Err(reason) => {
                loaded.problem(format!("subscriber {}: {reason}", name.unwrap_or_default()));
            }
        }
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
    progress(Progress { what, done, total: Some(total) });
    Ok(loaded)
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
