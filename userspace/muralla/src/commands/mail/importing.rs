//! Mail of other servers.

use std::collections::HashMap;
use std::fs::File;
use std::process::ExitCode;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use muralla_mail::config::MailConfig;
use muralla_mail::tools::Mailboxes;
use muralla_mail::tools::importing::{self, Brought, Told, Wanted};
use muralla_mail_directory::import::read_users;
use muralla_mail_import::{Choice, Login, Options, ServerLocation, Waits, no_roots};
use muralla_mail_store::FolderPath;
use muralla_smtp::tls::Trust;
use serde::Serialize;

use super::directory::parsed_name;
use super::tell;
use super::transfer::{self, Files, Outcome, advance};
use crate::cli::mail::{MailboxImport, ServerArgs};
use crate::cli::radius::PasswordFile;
use crate::commands::radius::{bar, read_password};
use crate::commands::{Call, code};

/// `muralla mail import`
pub(super) async fn import(
    call: &Call,
    config: &MailConfig,
    args: MailboxImport,
) -> anyhow::Result<ExitCode> {
    let MailboxImport { account, from, folder, removed_too, server } = args;
    let account = account.unwrap_or_default();
    if let Some(root) = from.maildir {
        return transfer::import(call, config, &account, Files::Maildir(root), removed_too).await;
    }
    if let Some(file) = from.mbox {
        let files = Files::Mbox(file, FolderPath::parse(&folder)?);
        return transfer::import(call, config, &account, files, removed_too).await;
    }
    let location = from.from.context("say where the mail is: --maildir, --mbox or --from")?;
    // Not by the parser of arguments, which would show what it can't read, a password in it included.
    let location: ServerLocation = location.parse()?;
    if server.insecure {
        eprintln!(
            "--insecure: whoever is between here and {location} may pretend to be it, and read passwords and mail"
        );
    }
    let at_once = usize::from(server.at_once);
    let single = server.users.is_none();
    let wanted = match server.users {
        Some(_) => from_table(&location, &server)?,
        None => vec![from_line(&account, &location, &server)?],
    };
    let mailboxes = Mailboxes::open(config).await?;
    let bar = bar();
    let mut show = Show { bar: &bar, single, ended: 0, messages: HashMap::new() };
    bar.set_length(wanted.len() as u64);
    let told = |told: Told<'_>| show.told(told, &wanted);
    let brought = importing::import(&mailboxes, &wanted, at_once, removed_too, told).await;
    bar.finish_and_clear();
    mailboxes.close().await;
    if single {
        let one = brought.into_iter().next().context("nothing was imported")?;
        let report = one.outcome.context("what was imported stays; to do it again goes on")?;
        return transfer::finish(call, report);
    }
    let lines: Vec<Line> = brought.into_iter().map(Line::from).collect();
    tell(call, &lines, |lines| text(lines))?;
    Ok(code(lines.iter().all(Line::is_complete)))
}

fn from_line(
    account: &str,
    location: &ServerLocation,
    server: &ServerArgs,
) -> anyhow::Result<Wanted> {
    // A wrong name is told before a password is asked for.
    let account = parsed_name(account)?;
    let user = location.user.clone();
    let user = user.with_context(|| format!("say who logs in: {}", example(location)))?;
    let trust = trust(server)?;
    let who = server.master.as_ref().unwrap_or(&user);
    let password = read_password(&server.password, &format!("Password of {who} at {location}: "))?;
    let login = Login { user, master: server.master.clone(), password };
    Ok(Wanted { account, location: location.clone(), options: options(server, login, trust) })
}

fn from_table(location: &ServerLocation, server: &ServerArgs) -> anyhow::Result<Vec<Wanted>> {
    let file = server.users.as_deref().context("--users names no file")?;
    if location.user.is_some() {
        bail!("{} says who logs in, and not the URL", file.display());
    }
    let place = || format!("reading {}", file.display());
    let users = read_users(File::open(file).with_context(place)?).with_context(place)?;
    let trust = trust(server)?;
    let needed = users.iter().any(|user| user.password.is_none());
    let shared = match (&server.master, &server.password) {
        (Some(master), from) => {
            Some(read_password(from, &format!("Password of {master} at {location}: "))?)
        }
        (None, PasswordFile { password_file: None }) => None,
        (None, from) => Some(read_password(from, "")?),
    };
    if needed && shared.is_none() {
        let without = users.iter().find(|user| user.password.is_none());
        let line = without.map_or(0, |user| user.line);
        bail!("line {line} of {} has no password, and there is no --master", file.display());
    }
    let mut wanted = Vec::with_capacity(users.len());
    for user in users {
        let place = || format!("line {} of {}", user.line, file.display());
        let account = parsed_name(&user.account).with_context(place)?;
        // A master user's password is of no use for anybody else, and the other way round.
        let (master, password) = match (user.password, &server.master, &shared) {
            (_, Some(master), Some(shared)) => (Some(master.clone()), shared.clone()),
            (Some(password), _, _) => (None, password),
            (None, _, shared) => (None, shared.clone().unwrap_or_default()),
        };
        let login = Login { user: user.user, master, password };
        let options = options(server, login, trust.clone());
        wanted.push(Wanted { account, location: location.clone(), options });
    }
    Ok(wanted)
}

fn options(server: &ServerArgs, login: Login, trust: Trust) -> Options {
    Options {
        login,
        trust,
        insecure: server.insecure,
        choice: Choice { only: server.only.clone(), except: server.except.clone() },
        names: server.uidl_format.clone(),
        waits: Waits::default(),
    }
}

fn trust(server: &ServerArgs) -> anyhow::Result<Trust> {
    Ok(match &server.ca {
        Some(file) => Trust::of_file(file)?,
        None if server.insecure => no_roots()?,
        None => Trust::system()?,
    })
}

fn example(location: &ServerLocation) -> String {
    location.to_string().replacen("://", "://user@", 1)
}

/// What is shown meanwhile.
struct Show<'a> {
    bar: &'a ProgressBar,
    single: bool,
    ended: u64,
    /// Messages of mailboxes that are under way, by their positions.
    messages: HashMap<usize, u64>,
}

impl Show<'_> {
    fn told(&mut self, told: Told<'_>, wanted: &[Wanted]) {
        let Self { bar, .. } = *self;
        match told {
            Told::Far(_, progress) if self.single => advance(bar, progress),
            Told::Far(at, progress) => {
                self.messages.insert(at, progress.done);
                bar.set_message(format!(
                    "mailboxes, {} messages",
                    self.messages.values().sum::<u64>()
                ));
            }
            Told::Again(at, error) => {
                let account = wanted.get(at).map(|one| one.account.to_string());
                bar.suspend(|| {
                    eprintln!("{}: {error}; again in a moment", account.unwrap_or_default())
                });
            }
            Told::Ended(_, brought) => {
                self.ended += 1;
                if !self.single {
                    bar.set_position(self.ended);
                    if let Err(error) = &brought.outcome {
                        bar.suspend(|| eprintln!("{}: {error}", brought.account));
                    }
                }
            }
        }
    }
}

/// What became of a mailbox, as it is shown.
#[derive(Serialize)]
struct Line {
    account: String,
    user: String,
    #[serde(flatten)]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Line {
    fn is_complete(&self) -> bool {
        self.outcome.as_ref().is_some_and(Outcome::is_complete)
    }
}

impl From<Brought> for Line {
    fn from(brought: Brought) -> Self {
        let Brought { account, user, outcome } = brought;
        let (outcome, error) = match outcome {
            Ok(report) => (Some(Outcome::from(report)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { account: account.to_string(), user, outcome, error }
    }
}

/// Mailboxes in the order of their names, those that failed at the end.
fn text(lines: &[Line]) -> String {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_by_key(|line| (!line.is_complete(), &line.account));
    let mut text = String::new();
    for Line { account, outcome, error, .. } in sorted {
        if let Some(outcome) = outcome {
            for (place, reason) in outcome.problems() {
                text.push_str(&format!("! {account}: {place}: {reason}\n"));
            }
            text.push_str(&format!("{account}: {}\n", outcome.line()));
        }
        if let Some(error) = error {
            text.push_str(&format!("! {account}: {error}\n"));
        }
    }
    let complete = lines.iter().filter(|line| line.is_complete()).count();
    text.push_str(&format!("{complete} of {} mailboxes are complete\n", lines.len()));
    text
}

#[cfg(test)]
mod tests {
    use muralla_mail_store::transfer::Report;

    use super::*;

    #[test]
    fn what_failed_stands_at_the_end() {
        let line = |account: &str, failed: u64, error: Option<&str>| Line {
            account: account.to_owned(),
            user: account.to_owned(),
            outcome: error
                .is_none()
                .then(|| Outcome::from(Report { added: 2, failed, ..Report::default() })),
            error: error.map(str::to_owned),
        };
        let lines =
            [line("ann", 0, Some("wrong password")), line("dora", 1, None), line("carl", 0, None)];
        let text = text(&lines);
        let begins: Vec<&str> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(begins, ["carl", "! ann", "dora", "1 of 3 mailboxes are complete"]);
    }
}
