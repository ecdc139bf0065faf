//! How much there is: of each mailbox, and of a store as a whole.

use std::collections::HashMap;

use muralla_database::{DatabaseError, Engine, Value};

use crate::collection::PackTotals;
use crate::folders::{Account, BoxRow, Usage};
use crate::outcome::StoreError;
use crate::store::Store;

/// A store as a whole.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Census {
    /// Mailboxes that live here.
    pub mailboxes: u64,
    /// Messages in them, each counted in every mailbox that has it, and bytes of those as they came.
    pub held: Usage,
    /// Messages as they are stored, once for all mailboxes and the queue, and bytes of those as they came.
    pub stored: Usage,
    /// Bytes of the frames of these, what they have in common aside.
    pub frames: u64,
    /// Large parts that messages have, each once, and bytes of their frames.
    pub parts: Usage,
    /// Messages that nobody has any more and that wait to be removed.
    pub unneeded: u64,
    /// The packs.
    pub packs: PackTotals,
}

impl Census {
    /// Bytes of frames for each byte of the messages that are stored; none if there is none.
    #[must_use]
    pub fn stored_per_byte(&self) -> Option<f64> {
        let frames = self.frames.saturating_add(self.parts.bytes);
        (self.stored.bytes > 0).then(|| frames as f64 / self.stored.bytes as f64)
    }
}

/// A mailbox that a store has something of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mailbox {
    /// Whose.
    pub account: Account,
    /// What it has, as it is counted.
    pub usage: Usage,
    /// Whether it takes changes here; if not it is being moved, or lives elsewhere.
    pub is_here: bool,
}

/// What accounts have in a store whose database this is; those that never had anything are not in it.
///
/// # Errors
///
/// [`DatabaseError`].
pub async fn usages(
    engine: &Engine,
    accounts: &[Account],
) -> Result<HashMap<Account, Usage>, DatabaseError> {
    let mut usages = HashMap::new();
    let keys: Vec<Value> = accounts.iter().map(|account| account.0.into()).collect();
    let mut work = engine.read().await?;
    let sql = "SELECT account, messages, bytes FROM mail_box WHERE account IN ({})";
    let read = work.each_in(sql, &[], &keys, |row| {
        usages.insert(
            Account(row.int(0)?),
            Usage { messages: wide(row.int(1)?), bytes: wide(row.int(2)?) },
        );
        Ok(())
    });
    match read.await {
        Ok(()) => Ok(usages),
        // Nothing was ever stored.
        Err(error) if error.is_missing_table() => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

impl Store {
    /// How much there is. Reads every row of bodies: seconds for millions.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn census(&self) -> Result<Census, StoreError> {
        let mut census = Census { packs: self.inner.bodies.totals().await?, ..Census::default() };
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT CAST(count(*) AS BIGINT), CAST(coalesce(sum(messages), 0) AS BIGINT), \
                   CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM mail_box WHERE state = $1";
        work.each_of_many(sql, vec![BoxRow::HERE.into()], |row| {
            census.mailboxes = wide(row.int(0)?);
            census.held = Usage { messages: wide(row.int(1)?), bytes: wide(row.int(2)?) };
            Ok(())
        })
        .await?;
        let sql = "SELECT CAST(count(*) AS BIGINT), CAST(coalesce(sum(original), 0) AS BIGINT), \
                   CAST(coalesce(sum(length), 0) AS BIGINT), \
                   CAST(coalesce(sum(CASE WHEN refs <= 0 THEN 1 ELSE 0 END), 0) AS BIGINT) FROM mail_body";
        work.each_of_many(sql, Vec::new(), |row| {
            census.stored = Usage { messages: wide(row.int(0)?), bytes: wide(row.int(1)?) };
            census.frames = wide(row.int(2)?);
            census.unneeded = wide(row.int(3)?);
            Ok(())
        })
        .await?;
        let sql = "SELECT CAST(count(*) AS BIGINT), CAST(coalesce(sum(length), 0) AS BIGINT) FROM mail_part";
        work.each_of_many(sql, Vec::new(), |row| {
            census.parts = Usage { messages: wide(row.int(0)?), bytes: wide(row.int(1)?) };
            Ok(())
        })
        .await?;
        Ok(census)
    }

    /// Mailboxes that this store has something of, or had, by the numbers of their accounts, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn mailboxes(&self, after: Account, most: u32) -> Result<Vec<Mailbox>, StoreError> {
        let mut mailboxes = Vec::new();
        let mut work = self.inner.engine.read().await?;
        let sql = "SELECT account, messages, bytes, state FROM mail_box WHERE account > $1 ORDER BY account LIMIT $2";
        work.each(sql, vec![after.0.into(), i64::from(most).into()], |row| {
            mailboxes.push(Mailbox {
                account: Account(row.int(0)?),
                usage: Usage { messages: wide(row.int(1)?), bytes: wide(row.int(2)?) },
                is_here: row.int(3)? == BoxRow::HERE,
            });
            Ok(())
        })
        .await?;
        Ok(mailboxes)
    }
}

fn wide(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
