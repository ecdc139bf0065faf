//! How much an account sends: messages and recipients, by hour and by day. Pure but for the lock: time is an argument.
//!
//! An hour is counted in twelve slots and a day in twenty-four, so that what was spent comes back bit by bit, and an account
//! takes two hundred bytes. What was sent on other machines, or before the start, is not counted here.

use std::collections::HashMap;
use std::fmt;

use muralla_mail_directory::{AccountId, SendingLimits};
use parking_lot::Mutex;

/// What all accounts spent lately, in parts: who looks through one of them keeps few others waiting.
#[derive(Debug)]
pub(crate) struct Limits(Vec<Mutex<Part>>);

#[derive(Debug)]
struct Part {
    accounts: HashMap<AccountId, Account>,
    /// How many there have to be before it is looked which of them can be forgotten.
    many: usize,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Spent {
    what: What,
    limit: u32,
    /// Minutes until something may be sent again.
    wait: i64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    MessagesPerHour,
    MessagesPerDay,
    RecipientsPerHour,
    RecipientsPerDay,
    RecipientsPerMessage,
}

#[derive(Clone, Debug, Default)]
struct Account {
    hour: Window<12>,
    day: Window<24>,
}

/// Messages and recipients of the latest slots.
#[derive(Clone, Debug)]
struct Window<const SLOTS: usize> {
    slots: [(u32, u32); SLOTS],
    /// The number of the latest slot since 1970.
    latest: i64,
}

/// Seconds of a slot.
const HOUR_SLOT: i64 = 300;
const DAY_SLOT: i64 = 3600;

const PARTS: usize = 64;

/// Accounts of a part that are remembered at least, though they sent nothing for a day.
const MANY: usize = 2_000;

impl Limits {
    /// Counts a message to so many recipients, unless that is too much.
    pub(crate) fn spend(
        &self,
        id: AccountId,
        limits: &SendingLimits,
        recipients: u32,
        now: i64,
    ) -> Result<(), Spent> {
        let Some(part) = self.part(id) else { return Ok(()) };
        let mut part = part.lock();
        part.forget(now);
        let account = part.accounts.entry(id).or_default();
        account.may(limits, recipients, now)?;
        account.hour.add(recipients, now, HOUR_SLOT);
        account.day.add(recipients, now, DAY_SLOT);
        Ok(())
    }

    /// Whether a message to so many recipients may be sent now.
    pub(crate) fn may(
        &self,
        id: AccountId,
        limits: &SendingLimits,
        recipients: u32,
        now: i64,
    ) -> Result<(), Spent> {
        let Some(part) = self.part(id) else { return Ok(()) };
        match part.lock().accounts.get_mut(&id) {
            Some(account) => account.may(limits, recipients, now),
            None => Account::default().may(limits, recipients, now),
        }
    }

    /// Where an account is counted.
    fn part(&self, id: AccountId) -> Option<&Mutex<Part>> {
        self.0.get(place::<PARTS>(id.0))
    }
}

impl Default for Limits {
    fn default() -> Self {
        let part = || Mutex::new(Part { accounts: HashMap::new(), many: MANY });
        Self(std::iter::repeat_with(part).take(PARTS).collect())
    }
}

impl Part {
    /// Forgets who sent nothing for a day, when there are twice as many as were left the last time: however many send, each of them
    /// costs a look or two.
    fn forget(&mut self, now: i64) {
        if self.accounts.len() < self.many {
            return;
        }
        self.accounts.retain(|_, account| !account.is_idle(now));
        self.many = self.accounts.len().saturating_mul(2).max(MANY);
    }
}

impl Account {
    fn may(&mut self, limits: &SendingLimits, recipients: u32, now: i64) -> Result<(), Spent> {
        let (hour_messages, hour_recipients) = self.hour.sum(now, HOUR_SLOT);
        let (day_messages, day_recipients) = self.day.sum(now, DAY_SLOT);
        for (what, limit, spent, more, wait) in [
            (What::RecipientsPerMessage, limits.recipients_per_message, 0, recipients, 0),
            (What::MessagesPerHour, limits.messages_per_hour, hour_messages, 1, 5),
            (What::RecipientsPerHour, limits.recipients_per_hour, hour_recipients, recipients, 5),
            (What::MessagesPerDay, limits.messages_per_day, day_messages, 1, 60),
            (What::RecipientsPerDay, limits.recipients_per_day, day_recipients, recipients, 60),
        ] {
            if let Some(limit) = limit.filter(|limit| *limit > 0)
                && spent.saturating_add(more) > limit
            {
                return Err(Spent { what, limit, wait });
            }
        }
        Ok(())
    }

    fn is_idle(&mut self, now: i64) -> bool {
        self.day.sum(now, DAY_SLOT) == (0, 0)
    }
}

impl<const SLOTS: usize> Default for Window<SLOTS> {
    fn default() -> Self {
        Self { slots: [(0, 0); SLOTS], latest: 0 }
    }
}

impl<const SLOTS: usize> Window<SLOTS> {
    /// Empties the slots that are over. A clock that was put back changes nothing.
    fn advance(&mut self, now: i64, slot: i64) {
        let number = now.div_euclid(slot);
        let passed = number.saturating_sub(self.latest);
        if passed <= 0 {
            return;
        }
        let slots = i64::try_from(SLOTS).unwrap_or(i64::MAX);
        for over in 1..=passed.min(slots) {
            if let Some(slot) = self.slots.get_mut(place::<SLOTS>(self.latest + over)) {
                *slot = (0, 0);
            }
        }
        if passed > slots {
            self.slots = [(0, 0); SLOTS];
        }
        self.latest = number;
    }

    fn add(&mut self, recipients: u32, now: i64, slot: i64) {
        self.advance(now, slot);
        if let Some((messages, all)) = self.slots.get_mut(place::<SLOTS>(self.latest)) {
            *messages = messages.saturating_add(1);
            *all = all.saturating_add(recipients);
        }
    }

    fn sum(&mut self, now: i64, slot: i64) -> (u32, u32) {
        self.advance(now, slot);
        self.slots.iter().fold((0, 0), |sum: (u32, u32), slot| {
            (sum.0.saturating_add(slot.0), sum.1.saturating_add(slot.1))
        })
    }
}

fn place<const SLOTS: usize>(number: i64) -> usize {
    let slots = i64::try_from(SLOTS).unwrap_or(i64::MAX).max(1);
    usize::try_from(number.rem_euclid(slots)).unwrap_or(0)
}

impl fmt::Display for Spent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, limit, wait } = self;
        match what {
            What::MessagesPerHour => write!(out, "You may send {limit} messages an hour")?,
            What::MessagesPerDay => write!(out, "You may send {limit} messages a day")?,
            What::RecipientsPerHour => {
                write!(out, "You may write to {limit} recipients an hour, each message's counted")?
            }
            What::RecipientsPerDay => {
                write!(out, "You may write to {limit} recipients a day, each message's counted")?
            }
            What::RecipientsPerMessage => {
                return write!(out, "A message of yours may have {limit} recipients");
            }
        }
        write!(out, ": try again in {wait} minutes")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANN: AccountId = AccountId(7);
    const NOW: i64 = 1_800_000_000;

    fn limits(hour: u32, day: u32) -> SendingLimits {
        SendingLimits {
            messages_per_hour: Some(hour),
            messages_per_day: Some(day),
            recipients_per_hour: Some(10),
            recipients_per_day: Some(0),
            recipients_per_message: Some(5),
        }
    }

    #[test]
    fn an_hour_s_messages_come_back_within_the_hour() {
        let (spent, may) = (Limits::default(), limits(3, 5));
        for _ in 0..3 {
            assert_eq!(spent.spend(ANN, &may, 1, NOW), Ok(()));
        }
        let refused = spent.spend(ANN, &may, 1, NOW).unwrap_err();
        assert_eq!(refused.to_string(), "You may send 3 messages an hour: try again in 5 minutes");
        assert!(spent.may(ANN, &may, 1, NOW + 3000).is_err());
        assert_eq!(spent.spend(AccountId(8), &may, 1, NOW), Ok(()), "others may");
        assert_eq!(spent.spend(ANN, &may, 1, NOW + 3600), Ok(()));
        assert_eq!(spent.spend(ANN, &may, 1, NOW + 3600), Ok(()));
        let refused = spent.spend(ANN, &may, 1, NOW + 3600).unwrap_err();
        assert!(refused.to_string().contains("5 messages a day"), "{refused}");
        assert_eq!(spent.spend(ANN, &may, 1, NOW + 90_000), Ok(()));
    }

    #[test]
    fn recipients_are_counted_of_each_message() {
        let (spent, may) = (Limits::default(), limits(0, 0));
        assert!(spent.spend(ANN, &may, 6, NOW).unwrap_err().to_string().contains("5 recipients"));
        assert_eq!(spent.spend(ANN, &may, 5, NOW), Ok(()));
        assert_eq!(spent.spend(ANN, &may, 5, NOW), Ok(()));
        let refused = spent.spend(ANN, &may, 1, NOW).unwrap_err().to_string();
        assert!(refused.contains("10 recipients an hour"), "{refused}");
    }

    #[test]
    fn who_sends_nothing_is_forgotten_and_nobody_is_looked_at_each_time() {
        let (spent, may) = (Limits::default(), limits(3, 5));
        // All of one part.
        let id = |number: usize| AccountId(i64::try_from(number * PARTS).unwrap());
        for number in 0..3 * MANY {
            spent.spend(id(number), &may, 1, NOW).unwrap();
        }
        let part = spent.part(id(0)).unwrap();
        assert_eq!(part.lock().accounts.len(), 3 * MANY);
        assert_eq!(part.lock().many, 4 * MANY, "not before there are so many");
        let later = NOW + 2 * 86_400;
        for number in 0..=MANY {
            spent.spend(id(number), &may, 1, later).unwrap();
            spent.spend(id(3 * MANY + number), &may, 1, later).unwrap();
        }
        assert!(part.lock().accounts.len() <= 2 * MANY + 2, "others sent nothing for a day");
    }

    proptest! {
        /// In no hour and no day more than may be, whenever it is tried.
        #[test]
        fn never_more_than_may_be(steps in proptest::collection::vec((0i64..2000, 1u32..4), 1..200)) {
            let (spent, may) = (Limits::default(), limits(4, 9));
            let mut now = NOW;
            let mut sent: Vec<(i64, u32)> = Vec::new();
            for (wait, recipients) in steps {
                now += wait;
                if spent.spend(ANN, &may, recipients, now).is_ok() {
                    sent.push((now, recipients));
                }
                // Slots make an hour a little shorter than it is, and never longer.
                let within = |seconds: i64| sent.iter().filter(move |(at, _)| *at > now - seconds);
                prop_assert!(within(3300).count() <= 4);
                prop_assert!(within(3300).map(|(_, recipients)| *recipients).sum::<u32>() <= 10);
                prop_assert!(within(82_800).count() <= 9);
            }
        }
    }
}
