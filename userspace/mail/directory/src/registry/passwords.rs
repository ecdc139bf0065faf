//! Passwords: the one that a person knows, and those that his devices have.

use muralla_credentials::{Credential, Storage};
use muralla_database::{Value, Work, dialect};
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;

use super::accounts::missing;
use super::{MOST_TRIES, numbers, patiently};
use crate::directory::blocking;
use crate::entries::{AppPasswordEntry, Protocols};
use crate::scram::ITERATIONS;
use crate::{AccountId, DirectoryError, Hidden, Name, Registry, ScramKeys};

/// Most app passwords of an account.
const MOST_APPS: i64 = 50;

/// What is told of a new app password once, and never again.
#[derive(Clone, Debug)]
pub struct AppPassword {
    /// What is known of it.
    pub entry: AppPasswordEntry,
    /// The password: four times four letters with hyphens between.
    pub password: Hidden,
}

impl Registry {
    /// Sets an account's password: stored as Argon2id, with keys of SCRAM-SHA-256 beside it unless the options say otherwise. One that is
    /// a subscriber's as well is his from then on, and stored in the form in which his was, which his logins may need.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Missing`] if there is no such account, [`DirectoryError::Invalid`] if the password is empty or too
    /// long.
    pub async fn set_password(
        &self,
        name: &Name,
        password: &[u8],
    ) -> Result<AccountId, DirectoryError> {
        let mut tries = 0;
        loop {
            let (account, form) = self.form_of(name).await?;
            let secret = self.secret(account, password.to_vec(), form.making()).await?;
            if patiently!(self.write_password(account, &secret, &form))? {
                return Ok(account);
            }
            // It was linked with a subscriber, or his password was changed, meanwhile; or it is gone, which the next look tells.
            tries += 1;
            if tries > MOST_TRIES {
                return Err(missing(name));
            }
        }
    }

    /// Takes an account's password away; app passwords stay.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Missing`] if there is no such account, [`DirectoryError::Invalid`] if its password is a subscriber's as well, who
    /// would have no access any more.
    pub async fn remove_password(&self, name: &Name) -> Result<(), DirectoryError> {
        let (account, form) = self.form_of(name).await?;
        let none = Secret { credential: String::new(), scram: None };
        if matches!(form, Form::Own) && patiently!(self.write_password(account, &none, &form))? {
            return Ok(());
        }
        Err(DirectoryError::invalid(
            format!("account {name}"),
            "its password is a subscriber's as well: unlink them first",
        ))
    }

    /// How an account's password is to be stored.
    async fn form_of(&self, name: &Name) -> Result<(AccountId, Form), DirectoryError> {
        let mut work = self.engine.read().await?;
        let sql = "SELECT id, subscriber_state, credential FROM mail_account WHERE name = $1";
        let row = work.row(sql, vec![name.as_str().into()]).await?.ok_or_else(|| missing(name))?;
        let form = match row.int_or_none(1)? {
            None => Form::Own,
            Some(_) => Form::Shared(Hidden::new(row.text(2)?)),
        };
        Ok((AccountId(row.int(0)?), form))
    }

    /// False if the account is not there any more as it was when its form was looked at.
    async fn write_password(
        &self,
        account: AccountId,
        secret: &Secret,
        form: &Form,
    ) -> Result<bool, DirectoryError> {
        let mut values: Vec<Value> =
            vec![account.0.into(), secret.credential.as_str().into(), secret.scram.clone().into()];
        let sql = match form {
            Form::Own => {
                "UPDATE mail_account SET credential = $2, scram = $3 WHERE id = $1 AND subscriber_state IS NULL"
            }
            Form::Shared(before) => {
                values.push(before.reveal().into());
                "UPDATE mail_account SET credential = $2, scram = $3 \
                 WHERE id = $1 AND subscriber_state IS NOT NULL AND credential = $4"
            }
        };
        let mut work = self.engine.write().await?;
        let set = work.execute(sql, values).await?;
        self.commit(work).await?;
        Ok(set > 0)
    }

    /// Stores a password anew that was just found to fit, if what it was compared with is still there; false if not. Of one that is a
    /// subscriber's as well only keys of SCRAM are made.
    pub(crate) async fn upgrade(
        &self,
        account: AccountId,
        packed: &[u8],
        password: Vec<u8>,
    ) -> Result<bool, DirectoryError> {
        let secret = self.secret(account, password, Making::Person(Storage::Argon2)).await?;
        patiently!(self.write_upgrade(account, &secret, packed))
    }

    async fn write_upgrade(
        &self,
        account: AccountId,
        secret: &Secret,
        packed: &[u8],
    ) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        let sql = format!(
            "SELECT credential, subscriber_state FROM mail_account WHERE id = $1{}",
            work.flavour().for_update()
        );
        let row = work.row(AssertSqlSafe(sql), vec![account.0.into()]).await?;
        let Some(row) = row else { return Ok(false) };
        let before = row.text(0)?;
        let mut now = Vec::new();
        Credential::parse(&before).unwrap_or_default().pack(&mut now);
        if now != packed {
            return Ok(false);
        }
        let credential =
            if row.int_or_none(1)?.is_some() { before } else { secret.credential.clone() };
        let set = work
            .execute(
                "UPDATE mail_account SET credential = $2, scram = $3 WHERE id = $1",
                vec![account.0.into(), credential.into(), secret.scram.clone().into()],
            )
            .await?;
        self.commit(work).await?;
        Ok(set > 0)
    }

    /// Makes a password for a program or a device, which is told once. It has 80 random bits, so that a quick hash is enough
    /// to keep it safe, and a login with it costs nothing.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]; [`DirectoryError::Taken`] if there is one of that label.
    pub async fn make_app_password(
        &self,
        name: &Name,
        label: &str,
        protocols: Protocols,
        expires: Option<i64>,
    ) -> Result<AppPassword, DirectoryError> {
        let label = label.trim();
        if label.is_empty() || label.len() > 100 || label.contains(char::is_control) {
            return Err(DirectoryError::invalid(
                format!("app password of {name}"),
                "its label is a text of 1 to 100 bytes, such as the name of the device",
            ));
        }
        let account = self.id_of(name).await?;
        let password = generated(rand::random());
        let secret = self.secret(account, password.clone().into_bytes(), Making::App).await?;
        let entry =
            patiently!(self.write_app_password(account, label, protocols, expires, &secret))?;
        Ok(AppPassword { entry, password: Hidden::new(password) })
    }

    async fn write_app_password(
        &self,
        account: AccountId,
        label: &str,
        protocols: Protocols,
        expires: Option<i64>,
        secret: &Secret,
    ) -> Result<AppPasswordEntry, DirectoryError> {
        let mut work = self.engine.write().await?;
        let what = || format!("app password {label}");
        let sql = "SELECT count(*) FROM mail_app_password WHERE account = $1";
        if work.number(sql, vec![account.0.into()]).await? >= MOST_APPS {
            return Err(DirectoryError::invalid(
                what(),
                "the account has 50 of them: remove some that nobody uses",
            ));
        }
        let sql = "SELECT count(*) FROM mail_app_password WHERE account = $1 AND label = $2";
        if work.number(sql, vec![account.0.into(), label.into()]).await? > 0 {
            return Err(DirectoryError::Taken {
                kind: "an app password",
                name: label.to_owned(),
                hint: "choose another label, or remove that one",
            });
        }
        let created = dialect::now(&mut work).await?;
        let id = numbers(&mut work, "app_password", 1).await?;
        let row: Vec<Value> = vec![
            id.into(),
            account.0.into(),
            label.into(),
            secret.credential.as_str().into(),
            secret.scram.clone().into(),
            protocols.to_string().into(),
            created.into(),
            expires.into(),
        ];
        work.execute(
            "INSERT INTO mail_app_password (id, account, label, credential, scram, protocols, created, expires) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            row,
        )
        .await?;
        self.commit(work).await?;
        Ok(AppPasswordEntry { id, account, label: label.to_owned(), protocols, created, expires })
    }

    /// App passwords of an account, the oldest first.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn app_passwords(
        &self,
        account: AccountId,
    ) -> Result<Vec<AppPasswordEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let mut entries = Vec::new();
        let sql = "SELECT id, label, protocols, created, expires FROM mail_app_password WHERE account = $1 ORDER BY id";
        work.each(sql, vec![account.0.into()], |row| {
            let protocols = row.text(2)?;
            entries.push(AppPasswordEntry {
                id: row.int(0)?,
                account,
                label: row.text(1)?,
                protocols: Protocols::parse(&protocols).unwrap_or(Protocols::from_bits(0)),
                created: row.int(3)?,
                expires: row.int_or_none(4)?,
            });
            Ok(())
        })
        .await?;
        Ok(entries)
    }

    /// Takes an app password away; false if the account has none of that label.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn remove_app_password(
        &self,
        account: AccountId,
        label: &str,
    ) -> Result<bool, DirectoryError> {
        patiently!(self.remove_app_password_once(account, label))
    }

    async fn remove_app_password_once(
        &self,
        account: AccountId,
        label: &str,
    ) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        let sql = "DELETE FROM mail_app_password WHERE account = $1 AND label = $2";
        let removed = work.execute(sql, vec![account.0.into(), label.into()]).await?;
        self.commit(work).await?;
        Ok(removed > 0)
    }

    pub(super) async fn id_of(&self, name: &Name) -> Result<AccountId, DirectoryError> {
        let mut work = self.engine.read().await?;
        let sql = "SELECT id FROM mail_account WHERE name = $1";
        let row = work.row(sql, vec![name.as_str().into()]).await?.ok_or_else(|| missing(name))?;
        Ok(AccountId(row.int(0)?))
    }

    /// What is stored of a password: made where nobody waits for the thread.
    async fn secret(
        &self,
        account: AccountId,
        password: Vec<u8>,
        making: Making,
    ) -> Result<Secret, DirectoryError> {
        let shared = if self.options.scram {
            let mut work = self.engine.read().await?;
            let main = matches!(making, Making::Person(_));
            Some(shared_salt(&mut work, account, main).await?)
        } else {
            None
        };
        let salts: ([u8; 16], [u8; 16]) = rand::random();
        blocking("a password", move || {
            let invalid = |error| DirectoryError::invalid("password", format!("{error}"));
            let credential = match making {
                Making::Person(storage) => {
                    Credential::store(storage, &password, salts.0).map_err(invalid)?.to_text()
                }
                Making::App => quick(&password, &salts.0),
            };
            let scram = shared.map(|shared| {
                let (salt, iterations) = shared.unwrap_or((salts.1.into(), ITERATIONS));
                ScramKeys::derive(&password, &salt, iterations).to_text()
            });
            Ok(Secret { credential, scram })
        })
        .await
    }
}

/// Whose an account's password is.
enum Form {
    /// Its own.
    Own,
    /// A subscriber's as well: what is stored of it now.
    Shared(Hidden),
}

impl Form {
    fn making(&self) -> Making {
        Making::Person(match self {
            Self::Own => Storage::Argon2,
            Self::Shared(before) => {
                Storage::like(&Credential::parse(before.reveal()).unwrap_or_default())
            }
        })
    }
}

/// What kind of a password is made.
#[derive(Clone, Copy)]
enum Making {
    /// One that a person chose.
    Person(Storage),
    /// One that we made, for an app.
    App,
}

struct Secret {
    credential: String,
    scram: Option<String>,
}

/// The salt and passes that an account's other passwords have: SCRAM names one salt for all of them. Of a new main password
/// only app passwords are others.
async fn shared_salt(
    work: &mut Work,
    account: AccountId,
    main: bool,
) -> Result<Option<(Box<[u8]>, u32)>, DirectoryError> {
    let mut found = None;
    let mut note = |text: Option<String>| {
        if let Some(keys) = text.and_then(|text| ScramKeys::parse(&text).ok()) {
            found.get_or_insert((keys.salt, keys.iterations));
        }
    };
    if !main {
        let sql = "SELECT scram FROM mail_account WHERE id = $1";
        work.each(sql, vec![account.0.into()], |row| {
            note(row.text_or_none(0)?);
            Ok(())
        })
        .await?;
    }
    let sql = "SELECT scram FROM mail_app_password WHERE account = $1 ORDER BY id";
    work.each(sql, vec![account.0.into()], |row| {
        note(row.text_or_none(0)?);
        Ok(())
    })
    .await?;
    Ok(found)
}

/// A salted hash of a password that nobody can guess.
fn quick(password: &[u8], salt: &[u8; 16]) -> String {
    let digest = Sha256::new().chain_update(password).chain_update(salt).finalize();
    let bytes = [&digest[..], &salt[..]].concat();
    format!("{{SSHA256.B64}}{}", data_encoding::BASE64.encode(&bytes))
}

/// 80 random bits in letters that can't be mistaken for each other.
fn generated(random: [u8; 16]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut password = String::new();
    for (at, byte) in random.into_iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            password.push('-');
        }
        let letter = LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'a');
        password.push(char::from(letter));
    }
    password
}

#[cfg(test)]
mod tests {
    use muralla_credentials::Check;

    use super::*;

    #[test]
    fn what_is_generated_is_typed_easily() {
        let password = generated(std::array::from_fn(|at| u8::try_from(at * 17).unwrap()));
        assert_eq!(password.len(), 19);
        let groups: Vec<&str> = password.split('-').collect();
        assert_eq!(groups.len(), 4);
        assert!(groups.iter().all(|group| group.len() == 4), "{password}");
        assert_ne!(generated([0; 16]), generated([1; 16]));
    }

    #[test]
    fn a_quick_hash_is_a_credential() {
        let stored = Credential::parse(&quick(b"abcd-efgh", &[7; 16])).unwrap();
        assert!(matches!(stored.check(b"abcd-efgh"), Check::Fits));
        assert!(matches!(stored.check(b"abcd-efgi"), Check::Wrong));
    }
}
