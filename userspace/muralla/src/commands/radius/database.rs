//! The subcommands that work on the database, with or without a daemon: every server follows its changes.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _};
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
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Credential, Storage};
use muralla_radius_state::import::{from_clients, from_users};
use muralla_radius_state::{
    Format, Hidden, Imported, Location, NasEntry, PoolEntry, ProfileEntry, Progress, Report, State,
    SubscriberEntry, SumBy, Tables, UsageFilter,
};
use serde_json::json;

use super::{nases_text, read_password, refusals, tell};
use crate::cli::{
    CreditChange, DateRange, NasCommand, PasswordFile, PoolCommand, ProfileCommand, ProfileItems,
    RadiusCommand, ServerCommand, UserCommand, UserItems, When,
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
        RadiusCommand::Import { users, sql, clients } => work.import(users, sql, clients).await,
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
fn hand_over(file: &Path) -> io::Result<()> {
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
                let credential = stored(&password, &name, &scheme)?;
                let user = SubscriberEntry { name, credential, ..SubscriberEntry::default() };
                let user = apply(user, *items, self.config.utc_offset);
                for note in self.state.put_subscriber(&self.dictionary()?, &user).await? {
                    eprintln!("{note}");
                }
                self.done(&user.name)
            }
            UserCommand::Set { name, items } => {
                let offset = self.config.utc_offset;
                self.change_user(&name, |user| apply(user, *items, offset)).await
            }
            UserCommand::Password { name, password, scheme } => {
                // Nobody is asked for the password of who is not there.
                self.subscriber(&name).await?;
                let credential = stored(&password, &name, &scheme)?;
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
        clients: Option<PathBuf>,
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
            (None, None, None) => bail!("give --users, --sql or --clients"),
        };
        let bar = bar();
        let imported =
            self.state.import(&dictionary, &mut import, |progress| advance(&bar, progress)).await;
        bar.finish_and_clear();
        let imported = imported?;
        if self.call.json {
            let (refused, notes) = (&import.refused, &import.notes);
            super::show(&json!({"imported": imported, "refused": refused, "notes": notes}))?;
        } else {
            for note in &import.notes {
                eprintln!("{note}");
            }
            for refused in &import.refused {
                eprintln!("NOT TAKEN {refused}");
            }
            let Imported { subscribers, profiles, nases } = imported;
            out(&format!(
                "{subscribers} subscribers, {profiles} profiles and {nases} NASes taken, {} not\n",
                import.refused.len()
            ))?;
        }
        Ok(code(import.refused.is_empty()))
    }

    async fn export(
        &self,
        range: DateRange,
        what: &str,
        format: &str,
        output: &Path,
    ) -> anyhow::Result<ExitCode> {
        let offset = self.config.utc_offset;
        let (from, to) = (range.from.seconds(offset), range.to.seconds(offset));
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
        let (from, to, whole) = days(range, self.config.utc_offset);
        if !whole {
            eprintln!(
                "sums are of whole days, which begin as utc_offset says: the days of both moments are in them"
            );
        }
        UsageFilter { by, daily, from, to, name: None }
    }

    async fn prune(&self, before: When) -> anyhow::Result<ExitCode> {
        let bar = bar();
        let before = before.seconds(self.config.utc_offset);
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
fn days(range: DateRange, utc_offset: i32) -> (i32, i32, bool) {
    const DAY: i64 = 86_400;
    let local = |when: When| when.seconds(utc_offset).saturating_add(utc_offset.into());
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

fn stored(password: &PasswordFile, name: &str, scheme: &str) -> anyhow::Result<Hidden> {
    let text = read_password(password, &format!("Password of {name}: "))?;
    let storage = match scheme {
        "bcrypt" => Storage::Bcrypt,
        "ssha" => Storage::Ssha,
        "nt" => Storage::Nt,
        "cleartext" => Storage::Cleartext,
        _ => Storage::Argon2,
    };
    let credential = Credential::store(storage, text.as_bytes(), rand::random())?;
    Ok(Hidden::new(credential.to_text()))
}

fn secret_from(file: &Path) -> anyhow::Result<String> {
    read_password(&PasswordFile { password_file: Some(file.to_owned()) }, "")
}

/// What is given in the place of what was; an empty text takes it away.
fn apply(mut user: SubscriberEntry, items: UserItems, utc_offset: i32) -> SubscriberEntry {
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
    user.simultaneous = items.simultaneous.or(user.simultaneous);
    user.address = items.address.or(user.address);
    user.prefix6 = items.prefix6.or(user.prefix6);
    user.delegated6 = items.delegated6.or(user.delegated6);
    let at = |when: When| when.seconds(utc_offset);
    user.not_before = items.not_before.map(at).or(user.not_before);
    user.not_after = items.not_after.map(at).or(user.not_after);
    user.credit_seconds =
        items.credit.map(|credit| signed(credit.as_secs())).or(user.credit_seconds);
    user.credit_bytes = items.credit_bytes.or(user.credit_bytes);
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
    profile.simultaneous = items.simultaneous.or(profile.simultaneous);
    profile.fall_through = items.fall_through.unwrap_or(profile.fall_through);
    for (given, place) in [
        (items.session_timeout, &mut profile.session_timeout),
        (items.idle_timeout, &mut profile.idle_timeout),
        (items.interim, &mut profile.interim),
    ] {
        if let Some(given) = given {
            *place = Some(seconds(given)?);
        }
    }
    Ok(profile)
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
fn bar() -> ProgressBar {
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
        for offset in [0, 3_600, -18_000, 19_800, 50_400, -43_200] {
            assert_eq!(days(range, offset), (20_758, 20_787, true), "{offset}");
            assert_eq!(from.seconds(offset) + i64::from(offset), 20_758 * 86_400);
            assert_eq!(to.seconds(offset) - from.seconds(offset), 30 * 86_400);
        }
        let universal = DateRange { from: When::Universal(20_758 * 86_400), to };
        assert_eq!(days(universal, -18_000), (20_757, 20_787, false));
    }
}
