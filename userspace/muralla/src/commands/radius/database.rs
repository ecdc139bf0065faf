//! The subcommands that work on the database, with or without a daemon: every server follows its changes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use data_encoding::BASE64;
use indicatif::{ProgressBar, ProgressStyle};
use ipnet::IpNet;
use muralla_radius::config::{RadiusConfig, StateLocation};
use muralla_radius_dictionary::{Dictionary, Zone};
use muralla_radius_policy::{Credential, Scheme, Storage};
use muralla_radius_state::import::{Table, from_clients, from_users};
use muralla_radius_state::{
    Format, Hidden, Imported, Location, NasEntry, PoolEntry, ProfileEntry, Progress, Report,
    SessionEntry, SessionFilter, State, SubscriberEntry, SumBy, Tables, UsageFilter,
};
use serde_json::json;

use super::{nases_text, read_password, refusals, tell};
use crate::cli::radius::{
    CreditChange, DateRange, Given, NasCommand, PasswordFile, PoolCommand, ProfileCommand,
    ProfileItems, RadiusCommand, ServerCommand, UserCommand, UserItems, When,
};
use crate::commands::{Call, code, out};
use crate::configuration::{self, duration, moment};
use crate::roles::Role;
use crate::top::table;

/// Bytes of a secret that is made here, before they become text.
const SECRET: usize = 24;

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
        RadiusCommand::Import { users, sql, csv, clients, dry_run } => {
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
        RadiusCommand::Prune { before } => work.prune(before).await,
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
    let (location, options) = config.database();
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

    async fn user(&self, command: UserCommand) -> anyhow::Result<ExitCode> {
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
                let known = refusals::Known { user: &user, limits: limits.as_ref() };
                tell(self.call, &known, |known| user_text(known.user) + &known.limits_text())?;
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
                let storage = scheme.as_deref().map_or_else(|| storage_before(&user), storage);
                let credential = stored(&password, &name, storage)?;
                self.change_user(&name, |user| SubscriberEntry { credential, ..user }).await
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

    async fn able(&self, name: &str, disabled: bool) -> anyhow::Result<ExitCode> {
        self.change_user(name, |user| SubscriberEntry { disabled, ..user }).await
    }

    async fn profile(&self, command: ProfileCommand) -> anyhow::Result<ExitCode> {
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
                let profile = self.find_profile(&name).await?;
                let new = || ProfileEntry { name: name.clone(), ..ProfileEntry::default() };
                let profile = shaped(profile.unwrap_or_else(new), *items)?;
                for note in self.state.put_profiles(&self.dictionary()?, &[profile]).await? {
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

    async fn nas(&self, command: NasCommand) -> anyhow::Result<ExitCode> {
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
            } => {
                self.refuse_configured(prefix, "change it")?;
                let known = self.find_nas(prefix).await?;
                let made = known.is_none() && secret_file.is_none();
                let secret = match (&secret_file, made) {
                    (_, true) => Some(BASE64.encode(&rand::random::<[u8; SECRET]>())),
                    (Some(file), _) => Some(secret_from(file)?),
                    (None, false) => None,
                };
                let mut nas =
                    known.unwrap_or_else(|| NasEntry::new(prefix.to_string(), prefix.trunc(), ""));
                if let Some(secret) = &secret {
                    nas.secret = Hidden::new(secret.clone());
                }
                if let Some(file) = &next_secret_file {
                    nas.next_secret = Some(Hidden::new(secret_from(file)?));
                }
                if let Some(name) = name {
                    nas.name = name;
                }
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
                self.state.put_nas(&nas).await?;
                if nas.relaxed {
                    eprintln!(
                        "{}: whoever sits between it and this server can forge acceptances (CVE-2024-3596)",
                        nas.name
                    );
                }
                match secret.filter(|_| made) {
                    Some(secret) if self.call.json => super::show(&json!({"secret": secret}))?,
                    Some(secret) => out(&format!("secret = \"{secret}\"\n"))?,
                    None => {}
                }
                Ok(ExitCode::SUCCESS)
            }
            NasCommand::Roll { prefix } => {
                self.refuse_configured(prefix, "write its next_secret as secret")?;
                let nas = self.find_nas(prefix).await?;
                let mut nas = nas.with_context(|| format!("the database has no NAS {prefix}"))?;
                nas.secret = nas.next_secret.take().with_context(|| {
                    format!(
                        "no secret is to come for {prefix}; begin with \
                         `muralla radius nas set {prefix} --next-secret-file FILE`"
                    )
                })?;
                self.state.put_nas(&nas).await?;
                self.done(&nas.name)
            }
            NasCommand::Remove { prefix } => {
                self.refuse_configured(prefix, "remove it")?;
                let removed = self.state.remove_nas(prefix.trunc()).await?;
                self.removed(&prefix.to_string(), removed)
            }
        }
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

    async fn find_nas(&self, prefix: IpNet) -> anyhow::Result<Option<NasEntry>> {
        let (entries, _) = self.state.nases().await?;
        Ok(entries.into_iter().find(|nas| nas.prefix == prefix.trunc()))
    }

    async fn pool(&self, command: PoolCommand) -> anyhow::Result<ExitCode> {
        let find = async |name: &str| -> anyhow::Result<Option<PoolEntry>> {
            Ok(self.state.pools().await?.into_iter().find(|pool| pool.name == name))
        };
        match command {
            PoolCommand::List => {
                let (pools, uses) = (self.state.pools().await?, self.state.pool_use().await?);
                let used = |name: &str| uses.iter().find(|used| used.name == name);
                let rows: Vec<[String; 5]> = pools
                    .iter()
                    .map(|pool| {
                        let (size, leased) =
                            used(&pool.name).map_or((0, 0), |used| (used.size, used.leased));
                        [
                            pool.name.clone(),
                            format!("/{}", pool.length),
                            size.to_string(),
                            leased.to_string(),
                            pool.ranges.join(" "),
                        ]
                    })
                    .collect();
                let titles = ["pool", "gives", "size", "leased", "out of"];
                tell(self.call, &(&pools, &uses), |_| table(titles, &rows))?;
                Ok(ExitCode::SUCCESS)
            }
            PoolCommand::Add { name, ranges, length } => {
                let v6 = ranges.iter().any(|range| range.contains(':'));
                let length = match (length, v6) {
                    (Some(length), _) => length,
                    (None, false) => 32,
                    (None, true) => bail!(
                        "prefixes of which length are to be given away? --length 56 is usual for a home"
                    ),
                };
                let known = find(&name).await?;
                let mut pool = known
                    .unwrap_or_else(|| PoolEntry::ipv6(name.clone(), length, Vec::<String>::new()));
                pool.ranges.extend(ranges);
                pool.ranges.dedup();
                self.state.put_pool(&pool).await?;
                self.done(&name)
            }
            PoolCommand::Set { name, lease, offer } => {
                let mut pool = find(&name).await?.with_context(|| {
                    format!("there is no pool {name}; `muralla radius pool list` shows all")
                })?;
                for (given, place) in
                    [(lease, &mut pool.lease_seconds), (offer, &mut pool.offer_seconds)]
                {
                    if let Some(given) = given {
                        *place = u32::try_from(given.as_secs())
                            .context("that is longer than a lease can live")?;
                    }
                }
                for note in self.state.put_pool(&pool).await? {
                    eprintln!("{note}");
                }
                self.done(&name)
            }
            PoolCommand::Remove { name, ranges, force } if ranges.is_empty() => {
                self.removed(&name, self.state.remove_pool(&name, force).await?)
            }
            PoolCommand::Remove { name, ranges, .. } => {
                let pool = find(&name).await?;
                let mut pool = pool.with_context(|| {
                    format!("there is no pool {name}; `muralla radius pool list` shows all")
                })?;
                let before = pool.ranges.len();
                pool.ranges.retain(|range| !ranges.contains(range));
                if pool.ranges.len() == before {
                    bail!("{name} has none of these; it has {}", pool.ranges.join(" "));
                }
                self.state.put_pool(&pool).await?;
                self.done(&name)
            }
        }
    }

    async fn import(
        &self,
        users: Option<PathBuf>,
        sql: Option<String>,
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
            (_, Some(url), _) => {
                let location: Location = url.parse().context("--sql")?;
                Tables::read_database(&location).await?.convert(&dictionary)
            }
            (.., Some(file)) => from_clients(&file.display().to_string(), &text(file)?),
            (None, None, None) => tables(csv)?.convert(&dictionary),
        };
        import.nas_names =
            self.config.nas.iter().map(|nas| (nas.prefix.trunc(), nas.name.clone())).collect();
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
            super::show(&json!({
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

    async fn history(&self, past: Past, most: u32) -> anyhow::Result<ExitCode> {
        let at = |when: Option<When>| when.map(|when| when.seconds(&self.config.zone));
        let filter = SessionFilter {
            user: past.user,
            nas: past.nas,
            address: past.address,
            from: at(past.from),
            to: at(past.to),
            open: false,
        };
        let sessions = self.state.sessions(&filter, most).await?;
        tell(self.call, &sessions, |sessions| history_text(sessions))?;
        if sessions.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            eprintln!("there may be more before these: --most shows so many");
        }
        Ok(code(!sessions.is_empty()))
    }

    async fn export(
        &self,
        range: DateRange,
        what: &str,
        format: &str,
        output: &Path,
    ) -> anyhow::Result<ExitCode> {
        let zone = &self.config.zone;
        let (from, to) = (range.from.seconds(zone), range.to.seconds(zone));
        let report = match what {
            "records" => Report::Records { from, to },
            "sums" => Report::Usage(self.days(range, SumBy::User, true)),
            _ => Report::Sessions { from, to },
        };
        let format = match format {
            "json" => Format::Json,
            "parquet" => Format::Parquet,
            _ => Format::Csv,
        };
        let bar = bar();
        let progress = |progress| advance(&bar, progress);
        let written = if output == Path::new("-") {
            self.state.report(&report, format, io::stdout(), progress).await
        } else {
            // A file that is there is either the old one or the new one, whole.
            let new = output.with_added_extension("new");
            let file = File::create(&new).with_context(|| format!("writing {}", new.display()))?;
            let written = self.state.report(&report, format, BufWriter::new(file), progress).await;
            match written {
                Ok(rows) => {
                    File::open(&new)?.sync_all()?;
                    fs::rename(&new, output)
                        .with_context(|| format!("writing {}", output.display()))?;
                    Ok(rows)
                }
                Err(error) => {
                    let _ = fs::remove_file(&new);
                    Err(error)
                }
            }
        };
        bar.finish_and_clear();
        eprintln!("{} rows", written?);
        Ok(ExitCode::SUCCESS)
    }

    async fn sums(&self, range: DateRange, by: &str) -> anyhow::Result<ExitCode> {
        let by = match by {
            "nas" => SumBy::Nas,
            "telco" => SumBy::Telco,
            _ => SumBy::User,
        };
        let sums = self.state.usage(&self.days(range, by, false)).await?;
        tell(self.call, &sums, |sums| {
            if sums.is_empty() {
                return "nothing in that time\n".to_owned();
            }
            let rows: Vec<[String; 5]> = sums
                .iter()
                .map(|sum| {
                    let time = u64::try_from(sum.session_time).unwrap_or(0);
                    [
                        sum.name.clone(),
                        sum.sessions.to_string(),
                        duration::write(Duration::from_secs(time)),
                        sum.octets_in.to_string(),
                        sum.octets_out.to_string(),
                    ]
                })
                .collect();
            table(["", "sessions", "time", "octets in", "octets out"], &rows)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn days(&self, range: DateRange, by: SumBy, daily: bool) -> UsageFilter {
        let (from, to, whole) = days(range, &self.config.zone);
        if !whole {
            eprintln!(
                "sums are of whole days, which begin as time_zone says: the days of both moments are in them"
            );
        }
        UsageFilter { by, daily, from, to, name: None }
    }

    async fn prune(&self, before: When) -> anyhow::Result<ExitCode> {
        let bar = bar();
        let before = before.seconds(&self.config.zone);
        let pruned = self.state.prune(before, |progress| advance(&bar, progress)).await;
        bar.finish_and_clear();
        let pruned = pruned?;
        tell(self.call, &json!({"deleted": pruned}), |_| {
            format!("{pruned} records and sessions deleted\n")
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn server(&self, command: ServerCommand) -> anyhow::Result<ExitCode> {
        match command {
            ServerCommand::List => {
                let servers = self.state.servers().await?;
                let time = |at: i64| u64::try_from(at).map(moment).unwrap_or_default();
                let rows = servers.iter().map(|server| {
                    [
                        server.name.clone(),
                        time(server.seen),
                        server.exported.map(time).unwrap_or_default(),
                        server.blocks.to_string(),
                        if server.here { "this one" } else { "" }.to_owned(),
                    ]
                });
                let rows: Vec<[String; 5]> = rows.collect();
                let titles = ["server", "heard of", "accounting until", "blocks", ""];
                tell(self.call, &servers, |_| table(titles, &rows))?;
                Ok(ExitCode::SUCCESS)
            }
            ServerCommand::Forget { name } => {
                let blocks = self.state.forget_server(&name).await?;
                tell(self.call, &json!({"done": true, "name": name, "blocks": blocks}), |_| {
                    format!(
                        "others may give out its {blocks} blocks when its last offers have ended\n"
                    )
                })?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// Says that it was done, to scripts alone: people see that nothing complained.
    fn done(&self, name: &str) -> anyhow::Result<ExitCode> {
        if self.call.json {
            super::show(&json!({"done": true, "name": name}))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn removed(&self, name: &str, was_there: bool) -> anyhow::Result<ExitCode> {
        if self.call.json {
            super::show(&json!({"done": was_there, "name": name}))?;
        } else if !was_there {
            eprintln!("{name} was not there");
        }
        Ok(code(was_there))
    }
}

/// Which sessions of the past are looked for.
struct Past {
    user: Option<String>,
    nas: Option<String>,
    address: Option<IpAddr>,
    from: Option<When>,
    to: Option<When>,
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

/// The first and the last day of a time, where days begin as the configuration says; and whether it is of whole days.
fn days(range: DateRange, zone: &Zone) -> (i32, i32, bool) {
    const DAY: i64 = 86_400;
    let local = |when: When| {
        let at = when.seconds(zone);
        at.saturating_add(zone.ahead(at).into())
    };
    let (from, to) = (local(range.from), local(range.to));
    let day = |seconds: i64| i32::try_from(seconds.div_euclid(DAY)).unwrap_or(i32::MAX);
    let whole = from.rem_euclid(DAY) == 0 && to.rem_euclid(DAY) == 0;
    (day(from), day(to.saturating_sub(1)), whole)
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

/// How the password is stored that a new one takes the place of: what could be checked by it can be still.
fn storage_before(user: &SubscriberEntry) -> Storage {
    match Credential::parse(user.credential.reveal()).map(|credential| credential.scheme()) {
        Ok(Scheme::Cleartext) => Storage::Cleartext,
        Ok(Scheme::NtHash) => Storage::Nt,
        Ok(Scheme::Digest) => Storage::Ssha,
        Ok(Scheme::Bcrypt) => Storage::Bcrypt,
        _ => Storage::Argon2,
    }
}

fn stored(password: &PasswordFile, name: &str, storage: Storage) -> anyhow::Result<Hidden> {
    let text = read_password(password, &format!("Password of {name}: "))?;
    let credential = Credential::store(storage, text.as_bytes(), rand::random())?;
    Ok(Hidden::new(credential.to_text()))
}

fn secret_from(file: &Path) -> anyhow::Result<String> {
    read_password(&PasswordFile { password_file: Some(file.to_owned()) }, "")
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

fn written(items: Vec<String>) -> Vec<String> {
    items.into_iter().filter(|item| !item.is_empty()).collect()
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

fn history_text(sessions: &[SessionEntry]) -> String {
    if sessions.is_empty() {
        return "none is known\n".to_owned();
    }
    let time = |at: i64| u64::try_from(at).map(moment).unwrap_or_default();
    let rows: Vec<[String; 9]> = sessions
        .iter()
        .map(|session| {
            let addresses =
                [&session.address, &session.address6, &session.prefix6, &session.delegated6];
            let addresses: Vec<&str> =
                addresses.into_iter().filter(|text| !text.is_empty()).map(String::as_str).collect();
            [
                session.user.clone(),
                session.nas.clone(),
                addresses.join(" "),
                session.calling.clone(),
                time(session.started),
                session.ended.map(time).unwrap_or_default(),
                session.state.name().to_owned(),
                session.octets_in.to_string(),
                session.octets_out.to_string(),
            ]
        })
        .collect();
    let titles =
        ["user", "NAS", "addresses", "from", "began", "ended", "", "octets in", "octets out"];
    table(titles, &rows)
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

fn user_text(user: &SubscriberEntry) -> String {
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
        ("note", user.note.clone()),
    ] {
        rows.extend(value.map(|value| [name.to_owned(), value]));
    }
    rows.extend(user.check.iter().map(|item| ["check".to_owned(), item.clone()]));
    rows.extend(user.reply.iter().map(|item| ["reply".to_owned(), item.clone()]));
    table(["", ""], &rows).trim_start().to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a bill of November is made of, wherever the provider is: the days of `sums` and the seconds of `export`.
    #[test]
    fn a_month_has_its_own_days_at_every_offset() {
        // 1 November 2026 is day 20,758.
        let (from, to) = (When::Local(20_758 * 86_400), When::Local(20_788 * 86_400));
        let range = DateRange { from, to };
        for zone in ["+00:00", "+01:00", "-05:00", "+05:30", "+14:00", "-12:00", "Europe/Madrid"] {
            let zone: Zone = zone.parse().unwrap();
            assert_eq!(days(range, &zone), (20_758, 20_787, true), "{zone}");
            let begins = from.seconds(&zone);
            assert_eq!(begins + i64::from(zone.ahead(begins)), 20_758 * 86_400);
            assert_eq!(to.seconds(&zone) - begins, 30 * 86_400);
        }
        // October has an hour more where the clocks are set back.
        let (from, madrid) = (When::Local(20_727 * 86_400), "Europe/Madrid".parse().unwrap());
        let october = DateRange { from, to: range.from };
        assert_eq!(days(october, &madrid), (20_727, 20_757, true));
        assert_eq!(october.to.seconds(&madrid) - from.seconds(&madrid), 31 * 86_400 + 3_600);
        let universal = DateRange { from: When::Universal(20_758 * 86_400), to };
        assert_eq!(days(universal, &"-05:00".parse().unwrap()), (20_757, 20_787, false));
    }
}
