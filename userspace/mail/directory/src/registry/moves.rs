//! Mailboxes on their way to another shard: who moves each, and that only one does.
//!
//! Whoever moves a mailbox holds it by a number that is greater than any before, and says again and again that he is there. When he does
//! not for a while, another one takes over with a greater number, and ends what he began; so does who is told to move it once more. What
//! the one before does after that comes to nothing: here, where it is said where a mailbox lives, and in the shards, which know the
//! greatest number that they were shown. Times are those of the database, the one clock that all share.

use std::time::Duration;

use muralla_database::{DatabaseError, Row, Work, dialect};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use super::{numbers, patiently};
use crate::{AccountId, DirectoryError, Registry, ShardId};

/// A mailbox that is on its way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MoveEntry {
    /// Whose it is.
    pub account: AccountId,
    /// Where it lived.
    pub from: ShardId,
    /// Where it is to live.
    pub to: ShardId,
    /// Who moves it, for people.
    pub mover: String,
    /// Since when, in seconds since 1970.
    pub began: i64,
    /// Until when he is known to be there, in the same.
    pub until: i64,
}

/// The right to move a mailbox, for as long as nobody takes it over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MoveLease {
    /// Whose it is.
    pub account: AccountId,
    /// Where it lived when the move began.
    pub from: ShardId,
    /// Where it is to live.
    pub to: ShardId,
    /// Greater than that of whoever held it before.
    pub fence: i64,
}

/// What is to be done first by who holds a mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MoveBegun {
    /// Nothing: it is to be copied.
    Copy(MoveLease),
    /// A move was begun before, by somebody else or to somewhere else: it is to be [ended](Registry::end_move), and this begun again.
    End(MoveLease),
    /// It lives there, and nobody moves it.
    There,
}

const MOVE: &str = "SELECT account, from_shard, to_shard, mover, began, until FROM mail_move";

impl Registry {
    /// How long whoever moves a mailbox is taken to be there after he said so.
    pub const MOVE_LEASE: Duration = Duration::from_secs(120);

    /// Begins to move an account's mailbox, or goes on with a move to there that somebody began: he has lost it then.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Missing`] if there is no such account or shard.
    pub async fn begin_move(
        &self,
        account: AccountId,
        to: ShardId,
        mover: &str,
    ) -> Result<MoveBegun, DirectoryError> {
        patiently!(self.begin_once(account, to, mover))
    }

    async fn begin_once(
        &self,
        account: AccountId,
        to: ShardId,
        mover: &str,
    ) -> Result<MoveBegun, DirectoryError> {
        let mut work = self.engine.write().await?;
        super::domains::check_shard(&mut work, to).await?;
        // The account's row first, and then its move's, as everywhere here.
        let lives = lives(&mut work, account).await?.ok_or_else(|| DirectoryError::Missing {
            kind: "account",
            name: account.to_string(),
            hint: "it was removed meanwhile",
        })?;
        let sql = format!("{MOVE} WHERE account = $1{}", work.flavour().for_update());
        let before = work.row(AssertSqlSafe(sql), vec![account.0.into()]).await?;
        let before = before.as_ref().map(entry_of).transpose()?;
        if before.is_none() && lives == to {
            return Ok(MoveBegun::There);
        }
        let fence = numbers(&mut work, "move", 1).await?;
        let (begun, lease) = match before {
            None => {
                let lease = MoveLease { account, from: lives, to, fence };
                (MoveBegun::Copy(lease), lease)
            }
            Some(before) => {
                let lease = MoveLease { account, from: before.from, to: before.to, fence };
                let goes_on = (before.from, before.to) == (lives, to);
                (if goes_on { MoveBegun::Copy(lease) } else { MoveBegun::End(lease) }, lease)
            }
        };
        let now = dialect::now(&mut work).await?;
        work.execute(
            "INSERT INTO mail_move (account, from_shard, to_shard, fence, mover, began, until) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (account) DO UPDATE SET fence = excluded.fence, mover = excluded.mover, until = excluded.until",
            vec![
                account.0.into(),
                lease.from.0.into(),
                lease.to.0.into(),
                fence.into(),
                mover.into(),
                now.into(),
                until(now).into(),
            ],
        )
        .await?;
        self.commit(work).await?;
        Ok(begun)
    }

    /// Says that who moves a mailbox is there; false if another one has taken it over.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]. While the database is away nobody else takes it over, either.
    pub async fn renew_move(&self, lease: &MoveLease) -> Result<bool, DirectoryError> {
        patiently!(self.renew_once(lease))
    }

    async fn renew_once(&self, lease: &MoveLease) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        let now = dialect::now(&mut work).await?;
        let sql = "UPDATE mail_move SET until = $3 WHERE account = $1 AND fence = $2";
        let values = vec![lease.account.0.into(), lease.fence.into(), until(now).into()];
        let held = work.execute(sql, values).await? > 0;
        work.commit().await?;
        Ok(held)
    }

    /// Says that an account's mail lives where it was moved to, if it is still held and still lives where it did; false if not.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn switch_shard(&self, lease: &MoveLease) -> Result<bool, DirectoryError> {
        patiently!(self.switch_once(lease))
    }

    async fn switch_once(&self, lease: &MoveLease) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        super::domains::check_shard(&mut work, lease.to).await?;
        let account = lease.account;
        if lives(&mut work, account).await? != Some(lease.from)
            || !is_held(&mut work, lease).await?
        {
            return Ok(false);
        }
        let sql = "UPDATE mail_account SET shard = $2 WHERE id = $1";
        work.execute(sql, vec![account.0.into(), lease.to.0.into()]).await?;
        self.commit(work).await?;
        Ok(true)
    }

    /// Says that a move has ended, whichever way; false if another one has taken it over.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn end_move(&self, lease: &MoveLease) -> Result<bool, DirectoryError> {
        patiently!(self.end_once(lease))
    }

    async fn end_once(&self, lease: &MoveLease) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        let sql = "DELETE FROM mail_move WHERE account = $1 AND fence = $2";
        let held = work.execute(sql, vec![lease.account.0.into(), lease.fence.into()]).await? > 0;
        work.commit().await?;
        Ok(held)
    }

    /// Takes over moves whose movers have not been heard of, at most so many, the longest first: each is to be ended.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn take_over_moves(
        &self,
        mover: &str,
        most: u32,
    ) -> Result<Vec<MoveLease>, DirectoryError> {
        // Mostly there is none, and nobody writes.
        let mut work = self.engine.read().await?;
        let now = dialect::now(&mut work).await?;
        let sql = "SELECT count(*) FROM mail_move WHERE until < $1";
        if work.number(sql, vec![now.into()]).await? == 0 {
            return Ok(Vec::new());
        }
        drop(work);
        patiently!(self.take_over_once(mover, most))
    }

    async fn take_over_once(
        &self,
        mover: &str,
        most: u32,
    ) -> Result<Vec<MoveLease>, DirectoryError> {
        let mut work = self.engine.write().await?;
        let now = dialect::now(&mut work).await?;
        let mut over = Vec::new();
        let sql = format!(
            "{MOVE} WHERE until < $1 ORDER BY until, account LIMIT $2{}",
            work.flavour().for_update()
        );
        work.each(AssertSqlSafe(sql), vec![now.into(), i64::from(most).into()], |row| {
            over.push(entry_of(&row)?);
            Ok(())
        })
        .await?;
        let mut leases = Vec::with_capacity(over.len());
        for entry in over {
            let fence = numbers(&mut work, "move", 1).await?;
            let sql = "UPDATE mail_move SET fence = $2, mover = $3, until = $4 WHERE account = $1";
            let values =
                vec![entry.account.0.into(), fence.into(), mover.into(), until(now).into()];
            work.execute(sql, values).await?;
            leases.push(MoveLease {
                account: entry.account,
                from: entry.from,
                to: entry.to,
                fence,
            });
        }
        work.commit().await?;
        Ok(leases)
    }

    /// A number that is greater than that of any move, for who puts right what no move is known to have left.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn fence(&self) -> Result<i64, DirectoryError> {
        patiently!(self.fence_once())
    }

    async fn fence_once(&self) -> Result<i64, DirectoryError> {
        let mut work = self.engine.write().await?;
        let fence = numbers(&mut work, "move", 1).await?;
        work.commit().await?;
        Ok(fence)
    }

    /// Mailboxes that are on their way, the oldest first.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn moves(&self) -> Result<Vec<MoveEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let mut entries = Vec::new();
        let sql = format!("{MOVE} ORDER BY began, account");
        work.each(AssertSqlSafe(sql), Vec::new(), |row| {
            entries.push(entry_of(&row)?);
            Ok(())
        })
        .await?;
        Ok(entries)
    }
}

fn until(now: i64) -> i64 {
    now.saturating_add(i64::try_from(Registry::MOVE_LEASE.as_secs()).unwrap_or(i64::MAX))
}

fn entry_of(row: &Row) -> Result<MoveEntry, DatabaseError> {
    Ok(MoveEntry {
        account: AccountId(row.int(0)?),
        from: ShardId(row.int(1)?),
        to: ShardId(row.int(2)?),
        mover: row.text(3)?,
        began: row.int(4)?,
        until: row.int(5)?,
    })
}

/// Where an account lives, as nobody changes until the end of the transaction.
async fn lives(work: &mut Work, account: AccountId) -> Result<Option<ShardId>, DatabaseError> {
    let sql =
        format!("SELECT shard FROM mail_account WHERE id = $1{}", work.flavour().for_update());
    let row = work.row(AssertSqlSafe(sql), vec![account.0.into()]).await?;
    row.map(|row| Ok(ShardId(row.int(0)?))).transpose()
}

/// Whether nobody has taken a move over, as nobody does until the end of the transaction.
async fn is_held(work: &mut Work, lease: &MoveLease) -> Result<bool, DatabaseError> {
    let lock = work.flavour().for_update();
    let sql = format!("SELECT account FROM mail_move WHERE account = $1 AND fence = $2{lock}");
    let values = vec![lease.account.0.into(), lease.fence.into()];
    Ok(work.row(AssertSqlSafe(sql), values).await?.is_some())
}
