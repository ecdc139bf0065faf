//! Profiles: what many subscribers have in common.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use muralla_radius_dictionary::{Dictionary, Pair};

use crate::hours::Hours;
use crate::level::{Level, LevelError};

/// Most parents of a profile, and most generations.
pub const MOST_PARENTS: usize = 16;

/// Longest name of a profile or a pool, in bytes.
pub const LONGEST_NAME: usize = 253;

/// A profile.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Profiles that it builds on: what it does not say, they do, the first of them before the others. Their check
    /// items must hold as well.
    pub parents: Vec<String>,
    /// What must hold of a request, so that the profile applies to it.
    pub check: Vec<Pair>,
    /// What its subscribers get.
    pub reply: Vec<Pair>,
    /// Where it applied, the subscriber's next profile may apply as well.
    pub fall_through: bool,
    /// How many sessions each of its subscribers may have at a time.
    pub simultaneous: Option<u16>,
    /// The pool of their addresses.
    pub pool: Option<String>,
    /// The pool of their Framed-IPv6-Prefix.
    pub pool6: Option<String>,
    /// The pool of their Delegated-IPv6-Prefix.
    pub delegated_pool6: Option<String>,
    /// When they may be connected.
    pub login_times: Option<Hours>,
    /// Seconds a session may last at most.
    pub session_timeout: Option<u32>,
    /// Seconds a session may be idle.
    pub idle_timeout: Option<u32>,
    /// Seconds between interim accounting records.
    pub interim: Option<u32>,
}

/// Why a profile can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// Its name.
    #[error("the name of a profile has 1 to {LONGEST_NAME} bytes")]
    Name,
    /// Too many parents.
    #[error("the profile {profile} has more than {MOST_PARENTS} parents: join some of them")]
    TooManyParents {
        /// The profile.
        profile: String,
    },
    /// It is its own ancestor, or has too many generations of them.
    #[error(
        "the profile {profile} builds on itself, or over more than {MOST_PARENTS} generations: {way}"
    )]
    Circle {
        /// The profile.
        profile: String,
        /// How.
        way: String,
    },
    /// Its items or its parents'.
    #[error("the profile {profile}: {error}")]
    Items {
        /// The profile.
        profile: String,
        /// Why.
        error: LevelError,
    },
    /// A parent is missing.
    #[error(
        "the profile {profile} builds on {parent}, which is not there: create it, or take it out"
    )]
    Parent {
        /// The profile.
        profile: String,
        /// The parent.
        parent: String,
    },
}

/// All profiles, compiled, and the numbers that names of profiles and pools have. A snapshot: whoever looks is not
/// disturbed by who changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profiles {
    by_name: HashMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    pools: Pools,
}

#[derive(Clone, Debug)]
struct Slot {
    name: Arc<str>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Somebody names it, and it is not there.
    Missing,
    /// It can't be used.
    Broken(Arc<ProfileError>),
    Ready(Arc<Compiled>),
}

#[derive(Clone, Debug, Default)]
struct Pools {
    by_name: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

/// A profile that can be used: with what its parents say.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) level: Level,
    pub(crate) fall_through: bool,
}

/// What is known of profiles besides, for the one who changes them.
#[derive(Debug, Default)]
pub(crate) struct Sources(HashMap<String, Own>);

/// A profile's own part, and whose it builds on.
#[derive(Debug)]
struct Own {
    level: Level,
    fall_through: bool,
    parents: Vec<String>,
}

impl Profiles {
    /// The profile of a number.
    pub(crate) fn ready(&self, number: u32) -> Option<&Arc<Compiled>> {
        match &self.slot(number)?.state {
            State::Ready(compiled) => Some(compiled),
            State::Missing | State::Broken(_) => None,
        }
    }

    /// The name of a profile.
    pub(crate) fn name(&self, number: u32) -> &str {
        self.slot(number).map_or("?", |slot| &slot.name)
    }

    /// The name of a pool.
    pub(crate) fn pool(&self, number: u32) -> Option<&Arc<str>> {
        self.pools.names.get(usize::try_from(number).ok()?)
    }

    /// Whether a profile of that name is there, whether it can be used or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        let slot = self.by_name.get(name).and_then(|number| self.slot(*number));
        slot.is_some_and(|slot| !matches!(slot.state, State::Missing))
    }

    /// Profiles that are there.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.slots
            .iter()
            .filter(|slot| !matches!(slot.state, State::Missing))
            .map(|slot| &*slot.name)
    }

    /// What is wrong with profiles, in words.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            State::Broken(error) => Some(error.to_string()),
            State::Missing => Some(format!(
                "a subscriber has the profile {}, which is not there: create it, or take it from him",
                slot.name
            )),
            State::Ready(_) => None,
        })
    }

    /// The number of a profile's name, which it keeps for good.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The number of a pool's name, which it keeps for good.
    pub(crate) fn pool_number(&self, name: &str) -> Option<u32> {
        self.pools.by_name.get(name).copied()
    }

    /// Gives a profile's name a number.
    pub(crate) fn add(&mut self, name: &str) -> u32 {
        if let Some(number) = self.number(name) {
            return number;
        }
        let number = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = name.into();
        self.by_name.insert(Arc::clone(&name), number);
        self.slots.push(Slot { name, state: State::Missing });
        number
    }

    /// Gives a pool's name a number.
    pub(crate) fn add_pool(&mut self, name: &str) -> u32 {
        if let Some(number) = self.pool_number(name) {
            return number;
        }
        let number = u32::try_from(self.pools.names.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = name.into();
        self.pools.by_name.insert(Arc::clone(&name), number);
        self.pools.names.push(name);
        number
    }

    fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(number).ok()?)
    }

    fn set(&mut self, name: &str, state: State) {
        let number = self.add(name);
        let slot = usize::try_from(number).ok().and_then(|at| self.slots.get_mut(at));
        if let Some(slot) = slot {
            slot.state = state;
        }
    }
}

impl Sources {
    /// Takes a profile, in the place of one of the same name. Gives notes for the operator. Nothing is in force before
    /// [`Sources::compile`].
    pub(crate) fn insert(
        &mut self,
        dictionary: &Dictionary,
        profile: &Profile,
    ) -> Result<Vec<String>, ProfileError> {
        let name = &profile.name;
        if !(1..=LONGEST_NAME).contains(&name.len()) {
            return Err(ProfileError::Name);
        }
        let items = |error| ProfileError::Items { profile: name.clone(), error };
        let (mut level, lifted) =
            Level::new(dictionary, &profile.check, &profile.reply).map_err(items)?;
        let Profile { simultaneous, session_timeout, idle_timeout, interim, .. } = profile;
        let limits = &mut level.limits;
        limits.simultaneous = simultaneous.or(limits.simultaneous);
        // None at all is how tables say that there is no limit.
        let seconds = |field: &Option<u32>, item| field.filter(|seconds| *seconds > 0).or(item);
        limits.session_timeout = seconds(session_timeout, limits.session_timeout);
        limits.idle_timeout = seconds(idle_timeout, limits.idle_timeout);
        limits.interim = seconds(interim, limits.interim);
        if let Some(hours) = &profile.login_times {
            limits.hours = Some(Arc::new(hours.clone()));
        }
        level.set_pool(0, profile.pool.as_deref());
        level.set_pool(1, profile.pool6.as_deref());
        level.set_pool(2, profile.delegated_pool6.as_deref());
        let parents: Vec<String> =
            profile.parents.iter().chain(&lifted.profiles).cloned().collect();
        if parents.len() > MOST_PARENTS {
            return Err(ProfileError::TooManyParents { profile: name.clone() });
        }
        let fall_through = profile.fall_through || lifted.fall_through == Some(true);
        let own = Own { level, fall_through, parents };
        let before = self.0.insert(name.clone(), own);
        if let Err(error) = self.sum(name)
            && !matches!(error, ProfileError::Parent { .. })
        {
            // As it was: what was in force stays in force.
            match before {
                Some(before) => self.0.insert(name.clone(), before),
                None => self.0.remove(name),
            };
            return Err(error);
        }
        let mut notes = lifted.notes;
        if lifted.credential != crate::Credential::None {
            notes.push("a password does nothing among a profile's check items".to_owned());
        }
        Ok(notes)
    }

    /// Forgets a profile; false if there was none.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Brings into force what these profiles have become, and those that build on them.
    pub(crate) fn compile(&self, changed: &BTreeSet<String>, profiles: &mut Profiles) {
        for name in changed.iter().filter(|name| !self.0.contains_key(*name)) {
            if profiles.number(name).is_some() {
                profiles.set(name, State::Missing);
            }
        }
        let concerned = |name: &String| {
            changed.contains(name) || self.ancestors(name).iter().any(|one| changed.contains(*one))
        };
        for name in self.0.keys().filter(|name| concerned(name)) {
            let state = match self.sum(name) {
                Ok(level) => State::Ready(Arc::new(Compiled {
                    level,
                    fall_through: self.0.get(name).is_some_and(|own| own.fall_through),
                })),
                Err(error) => State::Broken(Arc::new(error)),
            };
            profiles.set(name, state);
        }
    }

    fn ancestors<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let mut known = BTreeSet::new();
        let mut left = vec![name];
        while let Some(name) = left.pop() {
            for parent in self.0.get(name).iter().flat_map(|own| &own.parents) {
                if known.insert(parent.as_str()) {
                    left.push(parent);
                }
            }
        }
        known
    }

    /// A profile with all that its ancestors say, each of them once.
    fn sum(&self, name: &str) -> Result<Level, ProfileError> {
        let mut line = Line::default();
        self.walk(name, &mut line)?;
        let items = |error| ProfileError::Items { profile: name.to_owned(), error };
        let mut owns = line.owns.iter().rev();
        owns.try_fold(Level::default(), |far, own| own.level.over(&far)).map_err(items)
    }

    /// Notes a profile, and after it its ancestors.
    fn walk<'a>(&'a self, name: &'a str, line: &mut Line<'a>) -> Result<(), ProfileError> {
        if line.way.contains(&name) || line.way.len() > MOST_PARENTS {
            let profile = line.way.first().copied().unwrap_or(name).to_owned();
            let way = line.way.iter().copied().chain([name]).collect::<Vec<_>>().join(" > ");
            return Err(ProfileError::Circle { profile, way });
        }
        if !line.seen.insert(name) {
            return Ok(());
        }
        let Some(own) = self.0.get(name) else {
            let profile = line.way.last().copied().unwrap_or(name).to_owned();
            return Err(ProfileError::Parent { profile, parent: name.to_owned() });
        };
        line.way.push(name);
        line.owns.push(own);
        for parent in &own.parents {
            self.walk(parent, line)?;
        }
        line.way.pop();
        Ok(())
    }
}

/// Ancestors, in the order in which they are asked.
#[derive(Default)]
struct Line<'a> {
    owns: Vec<&'a Own>,
    seen: BTreeSet<&'a str>,
    /// Those that led here.
    way: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, parents: &[&str], simultaneous: Option<u16>) -> Profile {
        let parents = parents.iter().map(|parent| (*parent).to_owned()).collect();
        Profile { name: name.to_owned(), parents, simultaneous, ..Profile::default() }
    }

    /// What is in force after these were put in, all at once.
    fn compiled(all: &[Profile]) -> (Sources, Profiles, Vec<ProfileError>) {
        let dictionary = Dictionary::built_in();
        let (mut sources, mut profiles) = (Sources::default(), Profiles::default());
        let mut errors = Vec::new();
        for profile in all {
            errors.extend(sources.insert(&dictionary, profile).err());
        }
        let changed = all.iter().map(|profile| profile.name.clone()).collect();
        sources.compile(&changed, &mut profiles);
        (sources, profiles, errors)
    }

    fn simultaneous(profiles: &Profiles, name: &str) -> Option<u16> {
        profiles.ready(profiles.number(name)?)?.level.limits.simultaneous
    }

    #[test]
    fn parents_say_what_a_profile_does_not() {
        let all = [
            profile("base", &[], Some(1)),
            profile("wide", &[], Some(9)),
            profile("child", &["base", "wide"], None),
            profile("own", &["base"], Some(2)),
            profile("grandchild", &["child"], None),
        ];
        let (_, profiles, errors) = compiled(&all);
        assert_eq!(errors, []);
        for (name, expected) in [("child", 1), ("own", 2), ("grandchild", 1), ("wide", 9)] {
            assert_eq!(simultaneous(&profiles, name), Some(expected), "{name}");
        }
        assert_eq!(profiles.problems().count(), 0);
    }

    #[test]
    fn a_change_reaches_all_who_build_on_it() {
        let dictionary = Dictionary::built_in();
        let all = [profile("base", &[], Some(1)), profile("child", &["base"], None)];
        let (mut sources, mut profiles, _) = compiled(&all);
        let number = profiles.number("child");
        sources.insert(&dictionary, &profile("base", &[], Some(5))).unwrap();
        let changed = BTreeSet::from(["base".to_owned()]);
        sources.compile(&changed, &mut profiles);
        assert_eq!(simultaneous(&profiles, "child"), Some(5));

        assert!(sources.remove("base"));
        sources.compile(&changed, &mut profiles);
        assert_eq!(simultaneous(&profiles, "child"), None);
        assert!(!profiles.has("base") && profiles.has("child"));
        let problems: Vec<String> = profiles.problems().collect();
        assert!(problems.iter().any(|words| words.contains("builds on base")), "{problems:?}");

        sources.insert(&dictionary, &profile("base", &[], Some(6))).unwrap();
        sources.compile(&changed, &mut profiles);
        assert_eq!(simultaneous(&profiles, "child"), Some(6));
        assert_eq!(profiles.number("child"), number, "numbers are for good");
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let all = [profile("child", &["base"], None), profile("base", &[], Some(1))];
        let (_, profiles, errors) = compiled(&all);
        assert_eq!(errors, []);
        assert_eq!(simultaneous(&profiles, "child"), Some(1));
    }

    #[test]
    fn an_ancestor_by_two_ways_gives_once() {
        let dictionary = Dictionary::built_in();
        let item = Pair::parse(&dictionary, "Cisco-AVPair += \"x=1\"").unwrap();
        let top = Profile { reply: vec![item], ..profile("top", &[], None) };
        let all = [
            top,
            profile("left", &["top"], None),
            profile("right", &["top"], None),
            profile("both", &["left", "right"], None),
        ];
        let (_, profiles, _) = compiled(&all);
        let length = |name: &str| {
            let number = profiles.number(name).unwrap();
            profiles.ready(number).unwrap().level.items.length()
        };
        assert_eq!(length("both"), length("top"));
    }

    #[test]
    fn a_circle_is_refused_and_changes_nothing() {
        let dictionary = Dictionary::built_in();
        let all =
            [profile("a", &["b"], Some(1)), profile("b", &["c"], None), profile("c", &[], Some(3))];
        let (mut sources, mut profiles, _) = compiled(&all);
        let circle = sources.insert(&dictionary, &profile("c", &["a"], None));
        assert!(matches!(circle, Err(ProfileError::Circle { .. })), "{circle:?}");
        let itself = sources.insert(&dictionary, &profile("new", &["new"], None));
        assert!(matches!(itself, Err(ProfileError::Circle { .. })), "{itself:?}");
        sources.compile(&["c".to_owned(), "new".to_owned()].into(), &mut profiles);
        assert_eq!(simultaneous(&profiles, "b"), Some(3));
        assert!(!profiles.has("new"));
    }

    #[test]
    fn generations_are_counted() {
        let chain = |length: usize| -> Vec<Profile> {
            (0..length)
                .map(|at| {
                    let parent = format!("p{}", at + 1);
                    let parents: &[&str] = if at + 1 < length { &[&parent] } else { &[] };
                    profile(&format!("p{at}"), parents, None)
                })
                .collect()
        };
        let (_, profiles, _) = compiled(&chain(MOST_PARENTS + 1));
        assert_eq!(profiles.problems().count(), 0);
        let (_, profiles, _) = compiled(&chain(MOST_PARENTS + 2));
        assert_ne!(profiles.problems().count(), 0);
        let parents = vec!["x"; MOST_PARENTS + 1];
        let many = compiled(&[profile("many", &parents, None)]).2;
        assert!(matches!(many.as_slice(), [ProfileError::TooManyParents { .. }]));
        let nameless = compiled(&[profile("", &[], None)]).2;
        assert_eq!(nameless, [ProfileError::Name]);
    }
}
