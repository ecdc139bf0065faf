//! NASes and their secrets: `muralla radius nas`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use data_encoding::BASE64;
use ipnet::IpNet;
use muralla_radius_state::{Hidden, Naming, NasEntry};
use serde_json::json;

use super::{Work, written};
use crate::cli::radius::{NasCommand, PasswordFile};
use crate::commands::radius::{nases_text, read_password, tell};
use crate::commands::{out, show};
use crate::roles::Role;
use crate::top::table;

/// Bytes of a secret that is made here, before they become text.
const SECRET: usize = 24;

impl Work<'_> {
    pub(super) async fn nas(&self, command: NasCommand) -> anyhow::Result<ExitCode> {
        match command {
            NasCommand::List => self.list_nases().await,
            // It asks a daemon, and was done.
            NasCommand::Unknown => Ok(ExitCode::SUCCESS),
            NasCommand::Set {
                prefix,
                name,
                secret_file,
                next_secret_file,
                telco,
                groups,
                message_authenticator,
                coa_port,
                force,
            } => {
                self.refuse_configured(prefix, "change it")?;
                let given = secret_file.as_deref().map(secret_from).transpose()?;
                let next = next_secret_file.as_deref().map(secret_from).transpose()?;
                // One that is new and is given none.
                let random = BASE64.encode(&rand::random::<[u8; SECRET]>());
                let mut made = None;
                let configured = self.configured_names();
                let naming = Naming { configured: &configured, force };
                let change =
                    |known: Option<NasEntry>, named: Option<&str>| -> Result<NasEntry, String> {
                        let is_new = known.is_none();
                        // A box of a prefix that is known goes by its name, unless it is given one of its own.
                        let usual = || named.map_or_else(|| prefix.to_string(), str::to_owned);
                        let mut nas =
                            known.unwrap_or_else(|| NasEntry::new(usual(), prefix.trunc(), ""));
                        if let Some(secret) = given.or_else(|| is_new.then(|| random.clone())) {
                            nas.secret = Hidden::new(secret);
                        }
                        if is_new && secret_file.is_none() {
                            made = Some(random);
                        }
                        nas.next_secret = next.map(Hidden::new).or(nas.next_secret);
                        nas.name = name.unwrap_or(nas.name);
                        if !groups.is_empty() {
                            nas.groups = written(groups);
                        }
                        if let Some(telco) = telco {
                            nas.telco = Some(telco).filter(|telco| !telco.is_empty());
                        }
                        if let Some(requirement) = message_authenticator {
                            nas.relaxed = requirement == "optional";
                        }
                        nas.coa_port = coa_port.unwrap_or(nas.coa_port);
                        Ok(nas)
                    };
                let nas = self.state.change_nas(prefix, naming, change).await?;
                if nas.relaxed {
                    eprintln!(
                        "{}: whoever sits between it and this server can forge acceptances (CVE-2024-3596)",
                        nas.name
                    );
                }
                match made {
                    Some(secret) if self.call.json => show(&json!({"secret": secret}))?,
                    Some(secret) => out(&format!("secret = \"{secret}\"\n"))?,
                    None => {}
                }
                Ok(ExitCode::SUCCESS)
            }
            NasCommand::Roll { prefix } => {
                self.refuse_configured(prefix, "write its next_secret as secret")?;
                let roll = |known: Option<NasEntry>, _: Option<&str>| -> Result<NasEntry, String> {
                    let nas = known.ok_or_else(|| "the database has none".to_owned())?;
                    let secret = nas.next_secret.clone().ok_or_else(|| {
                        format!(
                            "no secret is to come for it; begin with `muralla radius nas set {prefix} --next-secret-file FILE`"
                        )
                    })?;
                    Ok(NasEntry { secret, next_secret: None, ..nas })
                };
                let nas = self.state.change_nas(prefix, Naming::default(), roll).await?;
                self.done(&nas.name)
            }
            NasCommand::Remove { prefix, force } => {
                self.refuse_configured(prefix, "remove it")?;
                let configured = self.configured_names();
                let naming = Naming { configured: &configured, force };
                let removed = self.state.remove_nas(prefix, naming).await?;
                self.removed(&prefix.to_string(), removed)
            }
        }
    }

    /// Names of the NASes of the configuration, by their prefixes.
    pub(super) fn configured_names(&self) -> Vec<(IpNet, String)> {
        self.config.nas.iter().map(|nas| (nas.prefix.trunc(), nas.name.clone())).collect()
    }

    /// What the file says counts, whatever the database has: to change the latter would change nothing.
    fn refuse_configured(&self, prefix: IpNet, what: &str) -> anyhow::Result<()> {
        let file = self.config.nas.iter().find(|nas| nas.prefix.trunc() == prefix.trunc());
        file.map_or(Ok(()), |nas| {
            bail!(
                "{prefix} ({}) is a NAS of the configuration file: {what} in its [[radius.nas]], then `muralla reload`",
                nas.name
            )
        })
    }

    /// Those of the configuration and the database, and what a daemon that is there has counted of them.
    async fn list_nases(&self) -> anyhow::Result<ExitCode> {
        let client = self.call.process_with(Role::Radius).await;
        if let Ok(status) = client.get::<muralla_radius::report::Status>("/v1/radius/status").await
        {
            tell(self.call, &status.nases, |_| nases_text(&status))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (entries, problems) = self.state.nases().await?;
        for problem in problems {
            eprintln!("{problem}");
        }
        let configured = self.config.nas.iter().map(|nas| {
            let telco = nas.telco.clone().unwrap_or_default();
            [nas.prefix.to_string(), nas.name.clone(), telco, "configuration".to_owned()]
        });
        let stored = entries.into_iter().map(|nas| {
            let telco = nas.telco.unwrap_or_default();
            [nas.prefix.to_string(), nas.name, telco, "database".to_owned()]
        });
        let rows: Vec<[String; 4]> = configured.chain(stored).collect();
        tell(self.call, &rows, |rows| table(["from", "NAS", "telco", "of"], rows))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn secret_from(file: &Path) -> anyhow::Result<String> {
    read_password(&PasswordFile { password_file: Some(file.to_owned()) }, "")
}
