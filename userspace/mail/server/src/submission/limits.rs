//! How much an account sends: messages and recipients, by hour and by day. Pure but for the lock: time is an argument.
//!
//! An hour is counted in twelve slots and a day in twenty-four, so that what was spent comes back bit by bit, and an account
//! takes a few hundred bytes. What is sent here counts at once; what is sent by other processes, and was before the start, counts as of
//! when the database was last asked (see `sharing`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use muralla_mail_directory::{AccountId, SendingLimits, Sent};
use parking_lot::Mutex;

/// What all accounts spent lately, in parts: who looks through one of them keeps few others waiting.
#[derive(Debug)]
pub(crate) struct Limits {
    parts: Vec<Mutex<Part>>,
    /// Until when the database is not asked, as it did not answer.
    deaf_until: AtomicI64,
}

#[derive(Debug)]
struct Part {
    accounts: HashMap<AccountId, Account>,
    /// Of whom the database was not told everything.
    untold: HashSet<AccountId>,
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
    /// All that is known, by whomever it was sent.
    hour: Window<12>,
    day: Window<24>,
    /// Of that, what the database was not told yet, and what it is being told.
    fresh: Slots,
    telling: Slots,
    /// When the database was last asked.
    asked: Option<i64>,
    /// How often it has answered.
    edition: u32,
}

/// Messages and recipients of the latest slots.
#[derive(Clone, Debug)]
struct Window<const SLOTS: usize> {
    slots: [(u32, u32); SLOTS],
    /// The number of the latest slot since 1970.
    latest: i64,
}

/// Messages and recipients of a few slots of both kinds.
#[derive(Clone, Debug, Default)]
struct Slots(Vec<Slot>);

#[derive(Clone, Copy, Debug)]
struct Slot {
    seconds: i64,
    number: i64,
    messages: u32,
    recipients: u32,
}

/// Which answer of the database is waited for: one that was overtaken counts no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked(u32);

/// Seconds of a slot.
const HOUR_SLOT: i64 = Sent::SHORT;
const DAY_SLOT: i64 = Sent::LONG;

const PARTS: usize = 64;

/// Accounts of a part that are remembered at least, though they sent nothing for a day.
const MANY: usize = 2_000;

/// Seconds for which an answer of the database is taken for what is there.
const CURRENT: i64 = 10;

/// Seconds for which a database that did not answer is not asked.
const DEAF: i64 = 30;

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
        for seconds in [HOUR_SLOT, DAY_SLOT] {
            let number = now.div_euclid(seconds);
            account.fresh.add(Slot { seconds, number, messages: 1, recipients });
        }
        part.untold.insert(id);
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

    /// Whether the database is to be asked what an account sent: it was not lately, and answers.
    pub(crate) fn ask(&self, id: AccountId, now: i64) -> Option<Asked> {
        if now < self.deaf_until.load(Relaxed) {
            return None;
        }
        let mut part = self.part(id)?.lock();
        part.forget(now);
        let account = part.accounts.entry(id).or_default();
        // What it is being told comes back with what is there.
        let current =
            account.asked.is_some_and(|asked| (0..CURRENT).contains(&now.saturating_sub(asked)));
        if current || !account.telling.0.is_empty() {
            return None;
        }
        account.asked = Some(now);
        Some(Asked(account.edition))
    }

    /// What the database has of an account, as it was asked.
    pub(crate) fn learn(&self, id: AccountId, asked: Asked, sent: &[Sent], now: i64) {
        let Some(part) = self.part(id) else { return };
        if let Some(account) = part.lock().accounts.get_mut(&id)
            && account.edition == asked.0
            && account.telling.0.is_empty()
        {
            account.read(sent.iter().filter(|sent| sent.account == id), now);
        }
    }

    /// The database did not answer.
    pub(crate) fn unanswered(&self, now: i64) {
        self.deaf_until.store(now.saturating_add(DEAF), Relaxed);
    }

    /// What the database is to be told. [`Limits::told`] or [`Limits::not_told`] has to follow before it is asked for again.
    pub(crate) fn untold(&self, now: i64) -> Vec<Sent> {
        let mut all = Vec::new();
        for part in &self.parts {
            let mut part = part.lock();
            for id in std::mem::take(&mut part.untold) {
                let Some(account) = part.accounts.get_mut(&id) else { continue };
                account.fresh.forget(now);
                for slot in std::mem::take(&mut account.fresh).0 {
                    account.telling.add(slot);
                }
                all.extend(account.telling.0.iter().map(|slot| slot.of(id)));
            }
        }
        all
    }

    /// The database was told these, and has `sent` of the same accounts now.
    pub(crate) fn told(&self, told: &[Sent], sent: &[Sent], now: i64) {
        let mut of: HashMap<AccountId, Vec<&Sent>> = HashMap::new();
        for sent in sent {
            of.entry(sent.account).or_default().push(sent);
        }
        self.each_of(told, |account, _, id| {
            account.telling = Slots::default();
            account.asked = Some(now);
            account.read(of.get(&id).into_iter().flatten().copied(), now);
        });
        self.deaf_until.store(0, Relaxed);
    }

    /// The database could not be told these.
    pub(crate) fn not_told(&self, not_told: &[Sent]) {
        self.each_of(not_told, |account, untold, id| {
            for slot in std::mem::take(&mut account.telling).0 {
                account.fresh.add(slot);
            }
            untold.insert(id);
        });
    }

    /// Each account that is meant, once.
    fn each_of(
        &self,
        sent: &[Sent],
        mut work: impl FnMut(&mut Account, &mut HashSet<AccountId>, AccountId),
    ) {
        let accounts: HashSet<AccountId> = sent.iter().map(|sent| sent.account).collect();
        for id in accounts {
            let Some(part) = self.part(id) else { continue };
            let mut part = part.lock();
            let Part { accounts, untold, .. } = &mut *part;
            if let Some(account) = accounts.get_mut(&id) {
                work(account, untold, id);
            }
        }
    }

    /// Where an account is counted.
    fn part(&self, id: AccountId) -> Option<&Mutex<Part>> {
        self.parts.get(place::<PARTS>(id.0))
    }
}

impl Default for Limits {
    fn default() -> Self {
        let part =
            || Mutex::new(Part { accounts: HashMap::new(), untold: HashSet::new(), many: MANY });
        let parts = std::iter::repeat_with(part).take(PARTS).collect();
        Self { parts, deaf_until: AtomicI64::new(0) }
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

    /// Takes what the database has for what there is, with what it was not told yet.
    fn read<'a>(&mut self, sent: impl Iterator<Item = &'a Sent>, now: i64) {
        self.edition = self.edition.wrapping_add(1);
        let fresh = self.fresh.0.iter().copied();
        let all: Vec<Slot> = sent.map(Slot::from).chain(fresh).collect();
        self.hour = Window::at(now, HOUR_SLOT);
        self.day = Window::at(now, DAY_SLOT);
        for slot in all {
            match slot.seconds {
                HOUR_SLOT => self.hour.put(slot),
                DAY_SLOT => self.day.put(slot),
                _ => {}
            }
        }
    }

    fn is_idle(&mut self, now: i64) -> bool {
        self.fresh.forget(now);
        self.fresh.0.is_empty()
            && self.telling.0.is_empty()
            && self.day.sum(now, DAY_SLOT) == (0, 0)
    }
}

impl Slots {
    fn add(&mut self, slot: Slot) {
        let same = |known: &&mut Slot| (known.seconds, known.number) == (slot.seconds, slot.number);
        match self.0.iter_mut().find(same) {
            Some(known) => {
                known.messages = known.messages.saturating_add(slot.messages);
                known.recipients = known.recipients.saturating_add(slot.recipients);
            }
            None => self.0.push(slot),
        }
    }

    /// Forgets what counts for nothing any more: a database may be away for long.
    fn forget(&mut self, now: i64) {
        self.0.retain(|slot| {
            let slots = if slot.seconds == HOUR_SLOT { 12 } else { 24 };
            slot.number > now.div_euclid(slot.seconds) - slots
        });
    }
}

impl Slot {
    fn of(self, account: AccountId) -> Sent {
        let Self { seconds, number: slot, messages, recipients } = self;
        Sent { account, seconds, slot, messages, recipients }
    }
}

impl From<&Sent> for Slot {
    fn from(sent: &Sent) -> Self {
        let Sent { seconds, slot: number, messages, recipients, .. } = *sent;
        Self { seconds, number, messages, recipients }
    }
}

impl<const SLOTS: usize> Default for Window<SLOTS> {
    fn default() -> Self {
        Self { slots: [(0, 0); SLOTS], latest: 0 }
    }
}

impl<const SLOTS: usize> Window<SLOTS> {
    /// An empty one.
    fn at(now: i64, slot: i64) -> Self {
        Self { latest: now.div_euclid(slot), ..Self::default() }
    }

    /// Empties the slots that are over. A clock that was put back changes nothing.
    fn advance(&mut self, number: i64) {
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
        self.advance(now.div_euclid(slot));
        self.count(self.latest, 1, recipients);
    }

    /// Takes in what was sent in a slot that is still counted. Another's clock may be a little ahead, and no more.
    fn put(&mut self, slot: Slot) {
        let slots = i64::try_from(SLOTS).unwrap_or(i64::MAX);
        if slot.number == self.latest + 1 {
            self.advance(slot.number);
        }
        if (0..slots).contains(&self.latest.saturating_sub(slot.number)) {
            self.count(slot.number, slot.messages, slot.recipients);
        }
    }

    fn count(&mut self, number: i64, messages: u32, recipients: u32) {
        if let Some(slot) = self.slots.get_mut(place::<SLOTS>(number)) {
            *slot = (slot.0.saturating_add(messages), slot.1.saturating_add(recipients));
        }
    }

    fn sum(&mut self, now: i64, slot: i64) -> (u32, u32) {
        self.advance(now.div_euclid(slot));
        self.slots.iter().fold((0, 0), |sum: (u32, u32), slot| {
            (sum.0.saturating_add(slot.0), sum.1.saturating_add(slot.1))
        })
    }
}

fn place<const SLOTS: usize>(number: i64) -> usize {
    let slots = i64::try_from(SLOTS).unwrap_or(i64::MAX).max(1);
    usize::try_from(number.rem_euclid(slots)).unwrap_or(0)
}

impl Spent {
    /// Whether it is about the message, and the same one may be sent to fewer.
    pub(crate) fn is_of_message(self) -> bool {
        self.what == What::RecipientsPerMessage
    }
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
    fn two_count_as_one() {
        let (one, other, may) = (Limits::default(), Limits::default(), limits(3, 5));
        one.spend(ANN, &may, 2, NOW).unwrap();
        one.spend(ANN, &may, 1, NOW).unwrap();
        let told = one.untold(NOW);
        assert_eq!(told.len(), 2, "a slot of the hour and one of the day");
        assert!(told.iter().all(|sent| (sent.messages, sent.recipients) == (2, 3)), "{told:?}");
        assert!(one.ask(ANN, NOW).is_none(), "it comes with the answer");
        // What is sent meanwhile is told the next time.
        one.spend(ANN, &may, 1, NOW + 1).unwrap();
        one.told(&told, &told, NOW + 1);
        assert!(one.may(ANN, &may, 1, NOW + 1).is_err());
        let more = one.untold(NOW + 1);
        assert!(more.iter().all(|sent| sent.messages == 1), "{more:?}");
        one.not_told(&more);
        assert!(one.may(ANN, &may, 1, NOW + 1).is_err(), "it counts all the same");
        assert_eq!(one.untold(NOW + 2).len(), 2);

        let asked = other.ask(ANN, NOW).unwrap();
        assert!(other.ask(ANN, NOW + 1).is_none(), "somebody asks already");
        other.learn(ANN, asked, &told, NOW);
        assert_eq!(other.spend(ANN, &may, 1, NOW), Ok(()));
        assert!(other.spend(ANN, &may, 1, NOW).unwrap_err().to_string().contains("3 messages"));
        // Who was overtaken by a newer answer says nothing.
        let asked = other.ask(ANN, NOW + CURRENT).unwrap();
        let told = other.untold(NOW + CURRENT);
        other.told(&told, &told, NOW + CURRENT);
        other.learn(ANN, asked, &[], NOW + CURRENT);
        assert!(other.may(ANN, &limits(1, 0), 1, NOW + CURRENT).is_err());
    }

    #[test]
    fn what_is_told_late_counts_where_it_was_sent() {
        let (spent, may) = (Limits::default(), limits(3, 5));
        let sent = |seconds, number, messages| {
            Slot { seconds, number, messages, recipients: messages }.of(ANN)
        };
        let (hours, slots) = (NOW / DAY_SLOT, NOW / HOUR_SLOT);
        let there = [
            sent(DAY_SLOT, hours - 23, 1),
            sent(DAY_SLOT, hours - 24, 50),
            sent(DAY_SLOT, hours + 1, 1),
            sent(DAY_SLOT, hours + 500, 50),
            sent(HOUR_SLOT, slots - 11, 1),
            sent(HOUR_SLOT, slots - 12, 50),
        ];
        let asked = spent.ask(ANN, NOW).unwrap();
        spent.learn(ANN, asked, &there, NOW);
        let part = spent.part(ANN).unwrap();
        // A clock that is ahead by a slot makes the day that much shorter.
        assert_eq!(part.lock().accounts.get_mut(&ANN).unwrap().day.sum(NOW, DAY_SLOT), (1, 1));
        assert_eq!(part.lock().accounts.get_mut(&ANN).unwrap().hour.sum(NOW, HOUR_SLOT), (1, 1));
        assert_eq!(spent.spend(ANN, &may, 1, NOW), Ok(()));
        // A database that is away for long costs no memory.
        for hour in 0..100 {
            spent.spend(ANN, &limits(0, 0), 1, NOW + hour * 3_600).unwrap();
            let untold = spent.untold(NOW + hour * 3_600);
            assert!(untold.len() <= 12 + 24, "{}", untold.len());
            spent.not_told(&untold);
        }
        spent.unanswered(NOW + 360_000);
        assert!(spent.ask(ANN, NOW + 360_000 + DEAF - 1).is_none());
        assert!(spent.ask(ANN, NOW + 360_000 + DEAF).is_some());
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
