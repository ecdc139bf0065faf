//! The subcommands that work on the database, with or without a daemon: every server follows its changes.

mod import;
mod nas;
mod pool;
mod profile;
mod report;
mod server;
mod user;

use std::fs;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use muralla_radius::config::{RadiusConfig, StateLocation};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_state::{Progress, State};
use serde_json::json;

use self::report::Past;
use crate::cli::radius::RadiusCommand;
use crate::commands::{Call, code, show};
use crate::configuration;

/// Does what needs no daemon.
pub(super) async fn act(call: &Call, command: RadiusCommand) -> anyhow::Result<ExitCode> {
    let config = configured(&call.config)?;
    let state = open(&config).await?;
    let work = Work { call, config: &config, state: &state };
    let outcome = match command {
        RadiusCommand::User(command) => work.user(command).await,
        RadiusCommand::Profile(command) => work.profile(command).await,
        RadiusCommand::Nas(command) => work.nas(command).await,
        RadiusCommand::Pool(command) => work.pool(command).await,
        RadiusCommand::Import { users, sql, csv, clients, dry_run, sql_password_file } => {
            let sql = sql.map(|url| import::Foreign { url, password_file: sql_password_file });
            work.import(users, sql, &csv, clients, dry_run).await
        }
        RadiusCommand::History { user, nas, address, at, from, to, most } => {
            let (from, to) = (at.or(from), at.or(to));
            work.history(Past { user, nas, address, from, to }, most).await
        }
        RadiusCommand::Export { range, what, format, output } => {
            work.export(range, &what, &format, &output).await
        }
        RadiusCommand::Sums { range, by } => work.sums(range, &by).await,
        RadiusCommand::Prune { before, dry_run, force } => work.prune(before, dry_run, force).await,
        RadiusCommand::Server(command) => work.server(command).await,
        // They ask a daemon, and were done.
        RadiusCommand::Status
        | RadiusCommand::Sessions { .. }
        | RadiusCommand::Disconnect { .. }
        | RadiusCommand::Change { .. }
        | RadiusCommand::Test { .. }
        | RadiusCommand::Tail { .. }
        | RadiusCommand::Refusals { .. }
        | RadiusCommand::DeadLetters { .. } => Ok(ExitCode::SUCCESS),
    };
    state.close().await;
    outcome
}

/// The section of the configuration, with its defaults where there is none.
fn configured(path: &Path) -> anyhow::Result<RadiusConfig> {
    let accepted = configuration::load(path)?;
    accepted.configuration.radius.with_context(|| {
        format!(
            "{} has no [radius] section, so that it is not known which database is meant",
            path.display()
        )
    })
}

async fn open(config: &RadiusConfig) -> anyhow::Result<State> {
    let (location, options) = config.database().context("[radius.state]")?;
    let opened = State::open_with(&location, options).await;
    let state = opened.with_context(|| format!("opening the database at {location}"))?;
    if let StateLocation::Embedded(file) = &config.state.location {
        hand_over(file).with_context(|| format!("handing {} over", file.display()))?;
    }
    Ok(state)
}

/// Gives a database that root has just made to whom its folder belongs: the role has a user of its own.
pub(crate) fn hand_over(file: &Path) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let owner = fs::metadata(folder)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        match fs::metadata(&name) {
            Ok(data) if data.uid() == 0 && owner.uid() != 0 => {
                chown(&name, Some(owner.uid()), Some(owner.gid()))?;
            }
            // SQLite itself gives what lies beside the database to the database's owner.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

struct Work<'w> {
    call: &'w Call,
    config: &'w RadiusConfig,
    state: &'w State,
}

impl Work<'_> {
    fn dictionary(&self) -> anyhow::Result<Arc<Dictionary>> {
        Ok(Arc::new(self.config.dictionary()?))
    }

    /// Says that it was done, to scripts alone: people see that nothing complained.
    fn done(&self, name: &str) -> anyhow::Result<ExitCode> {
        if self.call.json {
            show(&json!({"done": true, "name": name}))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn removed(&self, name: &str, was_there: bool) -> anyhow::Result<ExitCode> {
        if self.call.json {
            show(&json!({"done": was_there, "name": name}))?;
        } else if !was_there {
            eprintln!("{name} was not there");
        }
        Ok(code(was_there))
    }
}

/// A bar for people, and nothing for scripts.
pub(crate) fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} to go")
    {
        bar.set_style(style);
    }
    bar
}

fn advance(bar: &ProgressBar, progress: Progress) {
    if let Some(total) = progress.total {
        bar.set_length(total);
    }
    bar.set_message(progress.what);
    bar.set_position(progress.done);
}

/// What of a list says something.
fn written(items: Vec<String>) -> Vec<String> {
    items.into_iter().filter(|item| !item.is_empty()).collect()
}
