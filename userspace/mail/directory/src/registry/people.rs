//! Accounts whose owner is a subscriber of RADIUS as well: one password in both.

use muralla_database::{DatabaseError, Work};
use tracing::warn;

use super::accounts::missing;
use super::patiently;
use crate::entries::LONGEST_SUBSCRIBER;
use crate::load::subscriber_state_of;
use crate::{DirectoryError, Name, Registry, SubscriberState};

impl Registry {
    /// Says that an account's owner is a subscriber of RADIUS, whose password is the account's from then on: what is changed on either
    /// side is both's, in one transaction. Blocked subscribers' accounts do what
    /// [`Options::blocked_subscribers`](crate::Options::blocked_subscribers) says. App passwords stay. Gives how he is.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Missing`] if there is no such account, or no such subscriber in the same database;
    /// [`DirectoryError::Invalid`] if he has no password that anybody could log in with.
    pub async fn link_subscriber(
        &self,
        name: &Name,
        subscriber: &str,
    ) -> Result<SubscriberState, DirectoryError> {
        let what = || format!("subscriber {subscriber}");
        if subscriber.is_empty() || subscriber.len() > LONGEST_SUBSCRIBER {
            return Err(DirectoryError::invalid(what(), "a subscriber's name has 1 to 253 bytes"));
        }
        let nobody = || DirectoryError::Missing {
            kind: "subscriber",
            name: subscriber.to_owned(),
            hint: "enter him first (`muralla radius user add`); subscribers have to lie in the database of [mail], since one password is \
                   changed in one transaction",
        };
        // They may have come into this database after it was opened.
        if !muralla_identity::ensure(&self.engine).await? {
            return Err(nobody());
        }
        let found = muralla_identity::subscriber(&self.engine, subscriber).await?;
        if found.ok_or_else(nobody)?.without_password {
            let why = "nobody can log in with his password, as there is none, or any will do: set one first (`muralla radius user password`)";
            return Err(DirectoryError::invalid(what(), why));
        }
        let linked = patiently!(self.name_subscriber(name, Some(subscriber)))?;
        linked.ok_or_else(nobody)
    }

    /// Says that an account's owner is no subscriber: both keep the password that they have, until it is changed on either side.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Missing`] if there is no such account.
    pub async fn unlink_subscriber(&self, name: &Name) -> Result<(), DirectoryError> {
        patiently!(self.name_subscriber(name, None)).map(drop)
    }

    /// Gives what became of it; nothing is written if a subscriber is named and is not there.
    async fn name_subscriber(
        &self,
        name: &Name,
        subscriber: Option<&str>,
    ) -> Result<Option<SubscriberState>, DirectoryError> {
        let mut work = self.engine.write().await?;
        // Named once more he is linked anew: a password that differs, as none was carried over before, is his.
        let sql = "UPDATE mail_account SET subscriber = NULL WHERE name = $1";
        if work.execute(sql, vec![name.as_str().into()]).await? == 0 {
            return Err(missing(name));
        }
        let Some(subscriber) = subscriber else {
            // Where subscribers lie elsewhere, nothing else does it.
            let sql = "UPDATE mail_account SET subscriber_state = NULL WHERE name = $1 AND subscriber_state IS NOT NULL";
            work.execute(sql, vec![name.as_str().into()]).await?;
            self.commit(work).await?;
            return Ok(None);
        };
        let sql = "UPDATE mail_account SET subscriber = $2 WHERE name = $1";
        work.execute(sql, vec![name.as_str().into(), subscriber.into()]).await?;
        let state = state_of(&mut work, name).await?;
        if state.is_some() {
            self.commit(work).await?;
        }
        Ok(state)
    }

    /// Has passwords go along with those of subscribers, where these lie in the same database. Mail does without, so nothing fails of it.
    pub(super) async fn ensure_identity(&self) {
        if let Err(error) = muralla_identity::ensure(&self.engine).await {
            warn!(%error, "passwords of subscribers and of mail accounts do not go along with each other");
        }
    }
}

async fn state_of(work: &mut Work, name: &Name) -> Result<Option<SubscriberState>, DatabaseError> {
    let sql = "SELECT subscriber_state FROM mail_account WHERE name = $1";
    let row = work.row(sql, vec![name.as_str().into()]).await?;
    row.map_or(Ok(None), |row| subscriber_state_of(&row, 0))
}
