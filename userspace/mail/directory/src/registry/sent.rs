//! What accounts sent lately, on all servers together.

use muralla_database::{DatabaseError, Row, Value, Work};

use super::patiently;
use crate::{AccountId, DirectoryError, Registry};

/// What an account sent in one slot of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Whose.
    pub account: AccountId,
    /// Seconds that the slot has: [`Sent::SHORT`] or [`Sent::LONG`].
    pub seconds: i64,
    /// Its number since 1970.
    pub slot: i64,
    /// Messages.
    pub messages: u32,
    /// Their recipients.
    pub recipients: u32,
}

impl Sent {
    /// Seconds of the slots that an hour is counted in.
    pub const SHORT: i64 = 300;
    /// Seconds of the slots that a day is counted in.
    pub const LONG: i64 = 3600;

    fn of(row: &Row) -> Result<Self, DatabaseError> {
        let count =
            |column| row.int(column).map(|count| u32::try_from(count.max(0)).unwrap_or(u32::MAX));
        Ok(Self {
            account: AccountId(row.int(0)?),
            seconds: row.int(1)?,
            slot: row.int(2)?,
            messages: count(3)?,
            recipients: count(4)?,
        })
    }
}

/// Slots of each kind that are asked for: those of an hour and of a day.
const SHORT_SLOTS: i64 = 12;
const LONG_SLOTS: i64 = 24;

/// Slots that are kept beyond those: not all clocks are the same.
const SPARE: i64 = 2;

impl Registry {
    /// Adds what was sent to what is there, by whichever servers, and gives what there is then of the last hour and day of these
    /// accounts. No slot may be there twice. `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]: nothing was added, unless the database went away at the very end.
    pub async fn add_sent(&self, sent: &[Sent], now: i64) -> Result<Vec<Sent>, DirectoryError> {
        patiently!(self.add_sent_once(sent, now))
    }

    async fn add_sent_once(&self, sent: &[Sent], now: i64) -> Result<Vec<Sent>, DirectoryError> {
        let mut sorted = sent.to_vec();
        // Rows are locked in one order, or two servers wait for each other.
        sorted.sort_by_key(|sent| (sent.account, sent.seconds, sent.slot));
        let row = |sent: &Sent| -> Vec<Value> {
            let (messages, recipients) = (i64::from(sent.messages), i64::from(sent.recipients));
            let key = [sent.account.0, sent.seconds, sent.slot];
            key.into_iter().chain([messages, recipients]).map(Value::from).collect()
        };
        let rows = sorted.iter().map(row).collect();
        sorted.dedup_by_key(|sent| sent.account);
        let accounts: Vec<AccountId> = sorted.into_iter().map(|sent| sent.account).collect();
        let mut work = self.engine.write().await?;
        work.bulk(
            "INSERT INTO mail_sent (account, seconds, slot, messages, recipients)",
            "ON CONFLICT (account, seconds, slot) DO UPDATE SET messages = mail_sent.messages + excluded.messages, \
             recipients = mail_sent.recipients + excluded.recipients",
            5,
            rows,
        )
        .await?;
        let read = read(&mut work, &accounts, now).await?;
        work.commit().await?;
        Ok(read)
    }

    /// What an account sent in the last hour and day, in the slots of both. `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn sent(&self, account: AccountId, now: i64) -> Result<Vec<Sent>, DirectoryError> {
        let mut work = self.engine.read().await?;
        Ok(read(&mut work, &[account], now).await?)
    }

    /// Deletes what counts no more; tells how many rows.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn forget_sent(&self, now: i64) -> Result<u64, DirectoryError> {
        let mut work = self.engine.write().await?;
        let mut gone = 0;
        for (seconds, slots) in [(Sent::SHORT, SHORT_SLOTS), (Sent::LONG, LONG_SLOTS)] {
            let first = now.div_euclid(seconds) - slots - SPARE;
            let sql = "DELETE FROM mail_sent WHERE seconds = $1 AND slot < $2";
            gone += work.execute(sql, vec![seconds.into(), first.into()]).await?;
        }
        work.commit().await?;
        Ok(gone)
    }
}

async fn read(
    work: &mut Work,
    accounts: &[AccountId],
    now: i64,
) -> Result<Vec<Sent>, DatabaseError> {
    let keys: Vec<Value> = accounts.iter().map(|account| account.0.into()).collect();
    let short = now.div_euclid(Sent::SHORT) - SHORT_SLOTS;
    let long = now.div_euclid(Sent::LONG) - LONG_SLOTS;
    let mut all = Vec::new();
    work.each_in(
        "SELECT account, seconds, slot, messages, recipients FROM mail_sent WHERE account IN ({}) \
         AND ((seconds = 300 AND slot > $1) OR (seconds = 3600 AND slot > $2))",
        &[short.into(), long.into()],
        &keys,
        |row| {
            all.push(Sent::of(&row)?);
            Ok(())
        },
    )
    .await?;
    Ok(all)
}
