//! How much is tried with one destination at once, and how long a dead one is left alone. Pure: time and chance are arguments.
//!
//! What is under way at once rises while it goes well and falls when it doesn't, as a server's willingness is known only by
//! trying. A destination that can't be reached is left alone for a while, then tried with one message; its other messages wait
//! without an attempt being counted against them.

use std::collections::HashMap;

/// Bounds for every destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Transactions at once with one that nothing is known of.
    pub first: u32,
    /// Transactions at once with one at most.
    pub most: u32,
    /// How long one that can't be reached is left alone the first time, in seconds.
    pub shortest: i64,
    /// How long at most.
    pub longest: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { first: 2, most: 20, shortest: 60, longest: 3600 }
    }
}

/// What is known of a destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    running: u32,
    /// In 1024ths of a transaction, so that it can rise by little.
    allowed: u32,
    /// Whether it fell once: it rises slower then.
    fell: bool,
    /// How often in a row it could not be reached.
    failures: u32,
    /// Nothing is begun before.
    until: i64,
    /// When that was found out.
    failed: i64,
    /// Rises with each fall: of those that were under way together, only the first to fail counts.
    generation: u64,
    used: i64,
}

/// Of something that was begun. To be given to [`Destination::ended`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "what was begun has to end"]
pub struct Ticket(u64);

/// How it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The server spoke with us, whatever it said of the message.
    Spoke,
    /// The server wants less of us: 421, too many connections, too many messages.
    TooMuch,
    /// It could not be reached, or not spoken with.
    Unreachable,
    /// It was not tried.
    Untried,
}

const ONE: u32 = 1024;

const MINUTE: i64 = 60;

impl Destination {
    /// One that nothing is known of.
    #[must_use]
    pub fn new(limits: &Limits, now: i64) -> Self {
        Self {
            running: 0,
            allowed: limits.first.clamp(1, limits.most.max(1)).saturating_mul(ONE),
            fell: false,
            failures: 0,
            until: i64::MIN,
            failed: i64::MIN,
            generation: 0,
            used: now,
        }
    }

    /// How many more may begin now.
    #[must_use]
    pub fn free(&self, now: i64) -> u32 {
        if now < self.until { 0 } else { self.room() }
    }

    /// The same of one that the queue says is due. All who share the queue left it alone for long enough then, or an operator says
    /// that it is there again: what we remember counts for a minute, until everybody can read of it in the queue.
    #[must_use]
    pub fn free_if_due(&self, now: i64) -> u32 {
        if now < self.until && now.saturating_sub(self.failed) < MINUTE { 0 } else { self.room() }
    }

    fn room(&self) -> u32 {
        // One finds out for all whether it is there again.
        let allowed = if self.failures > 0 { 1 } else { self.allowed / ONE };
        allowed.saturating_sub(self.running)
    }

    /// One more begins.
    pub fn begun(&mut self, now: i64) -> Ticket {
        self.running = self.running.saturating_add(1);
        self.used = now;
        Ticket(self.generation)
    }

    /// One has ended. Tells until when the destination is left alone, if this was the one to find that out: to be passed on to the
    /// others who share the queue.
    pub fn ended(
        &mut self,
        ticket: Ticket,
        how: Ended,
        limits: &Limits,
        now: i64,
        chance: u32,
    ) -> Option<i64> {
        self.running = self.running.saturating_sub(1);
        self.used = now;
        let current = ticket.0 == self.generation;
        match how {
            Ended::Untried => None,
            Ended::Spoke => {
                // One that began before the fall tells nothing of how it is since.
                if current {
                    self.failures = 0;
                    self.until = i64::MIN;
                    let step =
                        if self.fell { (ONE / (self.allowed / ONE).max(1)).max(1) } else { ONE };
                    let most = limits.most.max(1).saturating_mul(ONE);
                    self.allowed = self.allowed.saturating_add(step).min(most);
                }
                None
            }
            Ended::TooMuch => {
                if current {
                    self.fall();
                }
                None
            }
            Ended::Unreachable if current => {
                self.fall();
                self.allowed = ONE;
                let wait = backoff(self.failures, limits, chance);
                self.failures = self.failures.saturating_add(1);
                self.until = now.saturating_add(wait);
                self.failed = now;
                Some(self.until)
            }
            Ended::Unreachable => (now < self.until).then_some(self.until),
        }
    }

    fn fall(&mut self) {
        self.generation += 1;
        self.fell = true;
        self.allowed = (self.allowed / 2).max(ONE);
    }

    /// Until when it is left alone.
    #[must_use]
    pub fn until(&self, now: i64) -> Option<i64> {
        (now < self.until).then_some(self.until)
    }

    /// How many are under way.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running
    }

    /// How often in a row it could not be reached.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// How long one is left alone that could not be reached `failures` times before: twice as long each time, up to an eighth less,
/// so that all who share the queue don't come back at once.
fn backoff(failures: u32, limits: &Limits, chance: u32) -> i64 {
    let longest = limits.longest.max(1);
    let shortest = limits.shortest.clamp(1, longest);
    let full = shortest.saturating_mul(1_i64 << failures.min(30)).min(longest);
    let less = i128::from(full / 8) * i128::from(chance) / i128::from(u32::MAX);
    (full - i64::try_from(less).unwrap_or(0)).max(1)
}

/// All destinations that something was tried with lately.
#[derive(Debug, Default)]
pub struct Destinations {
    limits: Limits,
    known: HashMap<String, Destination>,
}

impl Destinations {
    /// None is known.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, known: HashMap::new() }
    }

    /// How many transactions may begin with one now that the queue says is due: for [`Queue::take`](crate::Queue::take).
    #[must_use]
    pub fn free(&self, name: &str, now: i64) -> usize {
        let free = match self.known.get(name) {
            Some(known) => known.free_if_due(now),
            None => Destination::new(&self.limits, now).free(now),
        };
        usize::try_from(free).unwrap_or(usize::MAX)
    }

    /// One begins.
    pub fn begun(&mut self, name: &str, now: i64) -> Ticket {
        let limits = &self.limits;
        match self.known.get_mut(name) {
            Some(known) => known.begun(now),
            None => {
                let known = self.known.entry(name.to_owned());
                known.or_insert_with(|| Destination::new(limits, now)).begun(now)
            }
        }
    }

    /// One has ended; see [`Destination::ended`].
    pub fn ended(
        &mut self,
        name: &str,
        ticket: Ticket,
        how: Ended,
        now: i64,
        chance: u32,
    ) -> Option<i64> {
        let known = self.known.get_mut(name)?;
        known.ended(ticket, how, &self.limits, now, chance)
    }

    /// What is known of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Destination> {
        self.known.get(name)
    }

    /// Destinations that are left alone now.
    #[must_use]
    pub fn left_alone(&self, now: i64) -> usize {
        self.known.values().filter(|known| known.until(now).is_some()).count()
    }

    /// Forgets those that nothing was tried with for so many seconds.
    pub fn forget(&mut self, idle: i64, now: i64) {
        self.known.retain(|_, known| {
            known.running > 0 || known.until(now).is_some() || now.saturating_sub(known.used) < idle
        });
    }

    /// Forgets how one failed, as an operator says that it is there again.
    pub fn revive(&mut self, name: &str) {
        if let Some(known) = self.known.get_mut(name) {
            known.failures = 0;
            known.until = i64::MIN;
        }
    }
}

/// Shares `most` among those that may have so many each: nobody gets a second before everybody had one.
#[must_use]
pub fn share(free: &[usize], most: usize) -> Vec<usize> {
    let mut given = vec![0; free.len()];
    let mut left = most;
    loop {
        let before = left;
        for (given, free) in given.iter_mut().zip(free) {
            if left > 0 && *given < *free {
                *given += 1;
                left -= 1;
            }
        }
        if left == 0 || left == before {
            return given;
        }
    }
}

#[cfg(test)]
mod tests;
