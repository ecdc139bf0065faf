//! Profiles: `muralla radius profile`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use muralla_radius_state::ProfileEntry;

use super::{Work, written};
use crate::cli::radius::{Given, ProfileCommand, ProfileItems};
use crate::commands::radius::tell;
use crate::top::table;

impl Work<'_> {
    pub(super) async fn profile(&self, command: ProfileCommand) -> anyhow::Result<ExitCode> {
        match command {
            ProfileCommand::List => {
                let profiles = self.state.profiles().await?;
                tell(self.call, &profiles, |profiles| profiles_text(profiles))?;
                Ok(ExitCode::SUCCESS)
            }
            ProfileCommand::Show { name } => {
                let profile = self.find_profile(&name).await?.with_context(|| {
                    format!("there is no profile {name}; `muralla radius profile list` shows all")
                })?;
                tell(self.call, &profile, |profile| {
                    serde_json::to_string_pretty(profile).unwrap_or_default() + "\n"
                })?;
                Ok(ExitCode::SUCCESS)
            }
            ProfileCommand::Set { name, items } => {
                let change = |profile: Option<ProfileEntry>| {
                    shaped(profile.unwrap_or_default(), *items).map_err(|error| error.to_string())
                };
                let notes = self.state.change_profile(&self.dictionary()?, &name, change).await?;
                for note in notes {
                    eprintln!("{note}");
                }
                self.done(&name)
            }
            ProfileCommand::Remove { name } => {
                self.removed(&name, self.state.remove_profile(&name).await?)
            }
        }
    }

    async fn find_profile(&self, name: &str) -> anyhow::Result<Option<ProfileEntry>> {
        Ok(self.state.profiles().await?.into_iter().find(|profile| profile.name == name))
    }
}

fn shaped(mut profile: ProfileEntry, items: ProfileItems) -> anyhow::Result<ProfileEntry> {
    let seconds = |time: Duration| {
        u32::try_from(time.as_secs()).context("that is longer than a session can last")
    };
    for (given, place) in [
        (items.check, &mut profile.check),
        (items.reply, &mut profile.reply),
        (items.parents, &mut profile.parents),
    ] {
        if !given.is_empty() {
            *place = written(given);
        }
    }
    for (given, place) in [
        (items.pool, &mut profile.pool),
        (items.pool6, &mut profile.pool6),
        (items.delegated_pool6, &mut profile.delegated_pool6),
        (items.hours, &mut profile.login_times),
    ] {
        if let Some(given) = given {
            *place = Some(given).filter(|given| !given.is_empty());
        }
    }
    profile.simultaneous = Given::instead(items.simultaneous, profile.simultaneous, |most| most);
    profile.fall_through = items.fall_through.unwrap_or(profile.fall_through);
    for (given, place) in [
        (items.session_timeout, &mut profile.session_timeout),
        (items.idle_timeout, &mut profile.idle_timeout),
        (items.interim, &mut profile.interim),
    ] {
        *place = Given::instead(given, place.map(Ok), seconds).transpose()?;
    }
    Ok(profile)
}

fn profiles_text(profiles: &[ProfileEntry]) -> String {
    if profiles.is_empty() {
        return "none\n".to_owned();
    }
    let rows: Vec<[String; 5]> = profiles
        .iter()
        .map(|profile| {
            [
                profile.name.clone(),
                profile.parents.join(" "),
                [&profile.pool, &profile.pool6, &profile.delegated_pool6]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" "),
                profile.login_times.clone().unwrap_or_default(),
                profile.reply.join(", "),
            ]
        })
        .collect();
    table(["profile", "builds on", "pools", "hours", "answers"], &rows)
}
