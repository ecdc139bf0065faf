//! What FreeRADIUS had: `muralla radius import`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use muralla_radius_state::import::{Table, from_clients, from_users};
use muralla_radius_state::{Imported, Location, Tables};
use serde_json::json;

use super::{Work, advance, bar};
use crate::cli::radius::PasswordFile;
use crate::commands::radius::{escaped, read_password};
use crate::commands::{code, out, show};

/// FreeRADIUS' database.
pub(super) struct Foreign {
    pub(super) url: String,
    pub(super) password_file: Option<PathBuf>,
}

impl Work<'_> {
    pub(super) async fn import(
        &self,
        users: Option<PathBuf>,
        sql: Option<Foreign>,
        csv: &[PathBuf],
        clients: Option<PathBuf>,
        dry_run: bool,
    ) -> anyhow::Result<ExitCode> {
        let dictionary = self.dictionary()?;
        let text = |file: &Path| {
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
        };
        let mut import = match (&users, &sql, &clients) {
            (Some(file), ..) => from_users(&dictionary, file, &text(file)?),
            (_, Some(foreign), _) => {
                let location: Location = foreign.whole()?.parse().context("--sql")?;
                Tables::read_database(&location).await?.convert(&dictionary)
            }
            (.., Some(file)) => from_clients(&file.display().to_string(), &text(file)?),
            (None, None, None) => tables(csv)?.convert(&dictionary),
        };
        import.nas_names = self.configured_names();
        import.names = self.config.names.rules();
        let imported = if dry_run {
            self.state.compare(&dictionary, &mut import).await?
        } else {
            let bar = bar();
            let progress = |progress| advance(&bar, progress);
            let imported = self.state.import(&dictionary, &mut import, progress).await;
            bar.finish_and_clear();
            imported?
        };
        let strict = import.nases.iter().filter(|nas| !nas.relaxed).count();
        if strict > 0 && imported.nases.new > 0 {
            eprintln!(
                "{strict} NASes must send a Message-Authenticator from now on, which FreeRADIUS need not have asked for: \
                 `muralla radius refusals --reason no_message_authenticator` shows who doesn't, and \
                 `muralla radius nas set PREFIX --message-authenticator optional` lets one go without"
            );
        }
        if self.call.json {
            show(&json!({
                "dry_run": dry_run,
                "imported": imported,
                "changes": import.changes,
                "refused": import.refused,
                "notes": import.notes,
            }))?;
        } else {
            for note in &import.notes {
                eprintln!("{note}");
            }
            for change in &import.changes {
                eprintln!("CHANGED {change}");
            }
            for refused in &import.refused {
                eprintln!("NOT TAKEN {refused}");
            }
            out(&imported_text(&imported, import.refused.len(), dry_run))?;
        }
        Ok(code(import.refused.is_empty()))
    }
}

impl Foreign {
    /// Its URL, with the password that stands in a file.
    fn whole(&self) -> anyhow::Result<String> {
        let Some(file) = &self.password_file else {
            if user_of(&self.url).is_some_and(|user| user.contains(':')) {
                eprintln!(
                    "whoever is on this machine can see the password in the command line, and the shell keeps it: \
                     --sql-password-file takes it from a file"
                );
            }
            return Ok(self.url.clone());
        };
        let given = PasswordFile { password_file: Some(file.clone()) };
        with_password(&self.url, &read_password(&given, "")?)
    }
}

/// What stands before the host of a URL (RFC 3986 section 3.2).
fn user_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    authority.rsplit_once('@').map(|(user, _)| user)
}

/// A URL with a password, in which any letter may be.
fn with_password(url: &str, password: &str) -> anyhow::Result<String> {
    let user = user_of(url).filter(|user| !user.is_empty());
    let user =
        user.context("--sql names no user for the password: write postgres://user@host/database")?;
    if user.contains(':') {
        bail!("--sql has a password already; take it out");
    }
    Ok(url.replacen(&format!("://{user}@"), &format!("://{user}:{}@", escaped(password)), 1))
}

/// FreeRADIUS' tables out of files that have their names.
fn tables(files: &[PathBuf]) -> anyhow::Result<Tables> {
    let mut tables = Tables::default();
    for file in files {
        let stem = file.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let table = Table::ALL.into_iter().find(|table| table.name().eq_ignore_ascii_case(stem));
        let table = table.with_context(|| {
            let names: Vec<&str> = Table::ALL.iter().map(|table| table.name()).collect();
            format!(
                "{}: of which table is it? Name it after one of {}",
                file.display(),
                names.join(", ")
            )
        })?;
        let tabs = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let opened = File::open(file).with_context(|| format!("reading {}", file.display()))?;
        let read =
            if tabs { tables.read_tsv(table, opened) } else { tables.read_csv(table, opened) };
        read.with_context(|| format!("reading {}", file.display()))?;
    }
    Ok(tables)
}

fn imported_text(imported: &Imported, refused: usize, dry_run: bool) -> String {
    let Imported { subscribers, profiles, nases, addresses } = imported;
    let mut text = format!(
        "subscribers: {subscribers}\nprofiles: {profiles}\nNASes: {nases}\n\
         addresses kept for open sessions: {addresses}\nnot taken: {refused}\n"
    );
    if dry_run {
        text.push_str("nothing was written: this is what the same without --dry-run would do\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_a_file_whatever_is_in_it() {
        for (url, expected) in [
            ("postgres://radius@db/radius", "postgres://radius:p%40s%2F%3A%20%C3%A9@db/radius"),
            ("postgresql://r@[::1]:5433", "postgresql://r:p%40s%2F%3A%20%C3%A9@[::1]:5433"),
            (
                "postgres://radius@db/radius?options=a@b",
                "postgres://radius:p%40s%2F%3A%20%C3%A9@db/radius?options=a@b",
            ),
        ] {
            assert_eq!(with_password(url, "p@s/: é").unwrap(), expected);
        }
        for (url, why) in [
            ("postgres://db/radius", "names no user"),
            ("postgres://@db/radius", "names no user"),
            ("sqlite:/var/lib/freeradius/radius.db", "names no user"),
            ("postgres://radius:secret@db/radius", "has a password already"),
        ] {
            let refused = with_password(url, "x").unwrap_err().to_string();
            assert!(refused.contains(why) && !refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn the_file_s_first_line_is_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "arctangent\nand more\n").unwrap();
        let foreign = Foreign { url: "postgres://radius@db/r".into(), password_file: Some(file) };
        assert_eq!(foreign.whole().unwrap(), "postgres://radius:arctangent@db/r");
    }
}
