//! Subscribers: `muralla radius user`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use muralla_database::Engine;
use muralla_radius_dictionary::Zone;
use muralla_radius_policy::{Credential, Storage};
use muralla_radius_state::{Hidden, SubscriberEntry};
use serde_json::json;

use super::{Work, written};
use crate::cli::radius::{CreditChange, Given, PasswordFile, UserCommand, UserItems, When};
use crate::commands::radius::{read_password, refusals, tell};
use crate::configuration::{self, duration, moment};
use crate::top::table;

impl Work<'_> {
    pub(super) async fn user(&self, command: UserCommand) -> anyhow::Result<ExitCode> {
        match command {
            UserCommand::List { prefix, most } => {
                // What stands just before the first name that begins like this.
                let mut users = self.state.subscribers(&before(&prefix), most).await?;
                users.retain(|user| user.name.starts_with(&prefix));
                tell(self.call, &users, |users| users_text(users))?;
                Ok(ExitCode::SUCCESS)
            }
            UserCommand::Show { name } => {
                let user = self.subscriber(&name).await?;
                let limits = refusals::limits(self.call, &user.name).await;
                let mail = self.state.mail_accounts(&user.name).await?;
                let known = refusals::Known { user: &user, limits: limits.as_ref(), mail: &mail };
                tell(self.call, &known, |known| {
                    user_text(known.user, &mail) + &known.limits_text()
                })?;
                Ok(ExitCode::SUCCESS)
            }
            UserCommand::Add { name, password, scheme, items } => {
                if self.state.subscriber(&name).await?.is_some() {
                    bail!(
                        "{name} is there already; `muralla radius user set {name}` and \
                         `muralla radius user password {name}` change it"
                    );
                }
                if scheme.is_none() {
                    eprintln!(
                        "stored by Argon2, which PAP alone can be checked by: --scheme cleartext is for CHAP, \
                         nt or cleartext for MS-CHAP"
                    );
                }
                let storage = scheme.as_deref().map_or(Storage::Argon2, storage);
                let credential = stored(&password, &name, storage)?;
                let user = SubscriberEntry { name, credential, ..SubscriberEntry::default() };
                let user = apply(user, *items, &self.config.zone);
                for note in self.state.put_subscriber(&self.dictionary()?, &user).await? {
                    eprintln!("{note}");
                }
                self.done(&user.name)
            }
            UserCommand::Set { name, items } => {
                self.change_user(&name, |user| apply(user, *items, &self.config.zone)).await
            }
            UserCommand::Password { name, password, scheme } => {
                // Nobody is asked for the password of who is not there.
                let user = self.subscriber(&name).await?;
                let before = Credential::parse(user.credential.reveal()).unwrap_or_default();
                let storage = scheme.as_deref().map_or_else(|| Storage::like(&before), storage);
                let credential = stored(&password, &name, storage)?;
                let done =
                    self.change_user(&name, |user| SubscriberEntry { credential, ..user }).await?;
                self.tell_of_mail(&name).await?;
                Ok(done)
            }
            UserCommand::Credit { name, change } => {
                let (seconds, bytes) = match change {
                    CreditChange::Time(seconds) => (seconds, 0),
                    CreditChange::Bytes(bytes) => (0, bytes),
                };
                let left = self.state.add_credit(&name, seconds, bytes).await?;
                let left = left.with_context(|| no_subscriber(&name))?;
                let (seconds_left, bytes_left) = (left.seconds, left.bytes);
                let left = json!({"name": name, "credit_seconds": left.seconds, "credit_bytes": left.bytes});
                tell(self.call, &left, |_| credits_text(seconds_left, bytes_left))?;
                Ok(ExitCode::SUCCESS)
            }
            UserCommand::Disable { name } => self.able(&name, true).await,
            UserCommand::Enable { name } => self.able(&name, false).await,
            UserCommand::Remove { name } => {
                self.removed(&name, self.state.remove_subscriber(&name).await?)
            }
        }
    }

    async fn subscriber(&self, name: &str) -> anyhow::Result<SubscriberEntry> {
        let found = self.state.subscriber(name).await?;
        found.with_context(|| no_subscriber(name))
    }

    async fn change_user(
        &self,
        name: &str,
        change: impl FnOnce(SubscriberEntry) -> SubscriberEntry + Send,
    ) -> anyhow::Result<ExitCode> {
        let notes = self.state.change_subscriber(&self.dictionary()?, name, change).await?;
        for note in notes.with_context(|| no_subscriber(name))? {
            eprintln!("{note}");
        }
        self.done(name)
    }

    /// Says whose mail accounts' password a subscriber's new one is as well, and whose it is not.
    async fn tell_of_mail(&self, name: &str) -> anyhow::Result<()> {
        let linked = self.state.mail_accounts(name).await?;
        for account in &linked {
            eprintln!("it is the password of {account}, too");
        }
        for account in self.noted(name).await.iter().filter(|account| !linked.contains(account)) {
            eprintln!(
                "{account} keeps the password that it has: `muralla mail account password {account}` changes it, or \
                 `muralla mail account link {account} {name}` makes it one"
            );
        }
        Ok(())
    }

    /// Mail accounts that say to be a subscriber's, as far as their database is within reach.
    async fn noted(&self, name: &str) -> Vec<String> {
        let mail = configuration::load(&self.call.config).ok();
        let mail = mail.and_then(|accepted| accepted.configuration.mail);
        let location = mail.and_then(|mail| mail.location().ok());
        // It is another role's: nothing is made here, not even its file.
        let engine = location.and_then(|location| Engine::foreign(&location, "muralla").ok());
        let Some(engine) = engine else { return Vec::new() };
        let noted = muralla_identity::noted(&engine, name).await.unwrap_or_default();
        engine.close().await;
        noted
    }

    async fn able(&self, name: &str, disabled: bool) -> anyhow::Result<ExitCode> {
        self.change_user(name, |user| SubscriberEntry { disabled, ..user }).await
    }
}

fn credits_text(seconds: Option<i64>, bytes: Option<i64>) -> String {
    let time = seconds.and_then(|left| u64::try_from(left).ok());
    let time = time.map(|left| duration::write(Duration::from_secs(left)));
    let octets = bytes.map(|left| format!("{left} octets"));
    let left: Vec<String> = time.into_iter().chain(octets).collect();
    format!("{} left\n", left.join(" and "))
}

fn no_subscriber(name: &str) -> String {
    format!("there is no subscriber {name}; `muralla radius user list` shows those that are there")
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// The greatest text before all that begin with `prefix`, as far as names go.
fn before(prefix: &str) -> String {
    let mut text = prefix.to_owned();
    let Some(last) = text.pop() else { return text };
    let smaller = u32::from(last).checked_sub(1).and_then(char::from_u32);
    text.extend(smaller.into_iter().chain(['\u{10ffff}']));
    text
}

fn storage(scheme: &str) -> Storage {
    match scheme {
        "bcrypt" => Storage::Bcrypt,
        "ssha" => Storage::Ssha,
        "nt" => Storage::Nt,
        "cleartext" => Storage::Cleartext,
        _ => Storage::Argon2,
    }
}

fn stored(password: &PasswordFile, name: &str, storage: Storage) -> anyhow::Result<Hidden> {
    let text = read_password(password, &format!("Password of {name}: "))?;
    let credential = Credential::store(storage, text.as_bytes(), rand::random())?;
    Ok(Hidden::new(credential.to_text()))
}

/// What is given in the place of what was; an empty text takes it away.
fn apply(mut user: SubscriberEntry, items: UserItems, zone: &Zone) -> SubscriberEntry {
    let text = |given: Option<String>, was: Option<String>| match given {
        Some(given) => Some(given).filter(|given| !given.is_empty()),
        None => was,
    };
    if !items.profiles.is_empty() {
        user.profiles = written(items.profiles);
    }
    user.pool = text(items.pool, user.pool);
    user.pool6 = text(items.pool6, user.pool6);
    user.delegated_pool6 = text(items.delegated_pool6, user.delegated_pool6);
    if !items.check.is_empty() {
        user.check = written(items.check);
    }
    if !items.reply.is_empty() {
        user.reply = written(items.reply);
    }
    user.simultaneous = Given::instead(items.simultaneous, user.simultaneous, |most| most);
    user.address = Given::instead(items.address, user.address, |address| address);
    user.prefix6 = Given::instead(items.prefix6, user.prefix6, |prefix| prefix);
    user.delegated6 = Given::instead(items.delegated6, user.delegated6, |prefix| prefix);
    let at = |when: When| when.seconds(zone);
    user.not_before = Given::instead(items.not_before, user.not_before, at);
    user.not_after = Given::instead(items.not_after, user.not_after, at);
    let seconds = |credit: Duration| signed(credit.as_secs());
    user.credit_seconds = Given::instead(items.credit, user.credit_seconds, seconds);
    user.credit_bytes = Given::instead(items.credit_bytes, user.credit_bytes, |octets| octets);
    user
}

fn users_text(users: &[SubscriberEntry]) -> String {
    if users.is_empty() {
        return "none\n".to_owned();
    }
    let rows: Vec<[String; 4]> = users
        .iter()
        .map(|user| {
            let state = if user.disabled { "disabled" } else { "" };
            let until = user.not_after.and_then(|at| u64::try_from(at).ok()).map(moment);
            [
                user.name.clone(),
                user.profiles.join(" "),
                until.unwrap_or_default(),
                state.to_owned(),
            ]
        })
        .collect();
    table(["user", "profile", "until", ""], &rows)
}

fn user_text(user: &SubscriberEntry, mail: &[String]) -> String {
    let scheme = Credential::parse(user.credential.reveal())
        .map_or("unreadable", |credential| credential.scheme().name());
    let time = |at: Option<i64>| at.and_then(|at| u64::try_from(at).ok()).map(moment);
    let credit = user.credit_seconds.and_then(|left| u64::try_from(left).ok());
    let mut rows =
        vec![["name".to_owned(), user.name.clone()], ["password".to_owned(), scheme.to_owned()]];
    for (name, value) in [
        ("profiles", Some(user.profiles.join(" ")).filter(|names| !names.is_empty())),
        ("disabled", user.disabled.then(|| "yes".to_owned())),
        ("not before", time(user.not_before)),
        ("not after", time(user.not_after)),
        ("credit", credit.map(|left| duration::write(Duration::from_secs(left)))),
        ("credit, bytes", user.credit_bytes.map(|left| left.to_string())),
        ("sessions at once", user.simultaneous.map(|most| most.to_string())),
        ("address", user.address.map(|address| address.to_string())),
        ("IPv6 prefix", user.prefix6.map(|prefix| prefix.to_string())),
        ("delegated IPv6 prefix", user.delegated6.map(|prefix| prefix.to_string())),
        ("pool", user.pool.clone()),
        ("pool of IPv6 prefixes", user.pool6.clone()),
        ("pool of delegated prefixes", user.delegated_pool6.clone()),
        ("mail with that password", Some(mail.join(" ")).filter(|names| !names.is_empty())),
        ("note", user.note.clone()),
    ] {
        rows.extend(value.map(|value| [name.to_owned(), value]));
    }
    rows.extend(user.check.iter().map(|item| ["check".to_owned(), item.clone()]));
    rows.extend(user.reply.iter().map(|item| ["reply".to_owned(), item.clone()]));
    table(["", ""], &rows).trim_start().to_owned()
}
