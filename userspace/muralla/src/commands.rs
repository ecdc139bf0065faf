//! The subcommands that ask a daemon, or do without one.

pub(crate) mod dns;
pub(crate) mod filter;
pub(crate) mod mail;
pub(crate) mod radius;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::IpNet;
use muralla_abi::verdict::Reason;
use muralla_edge::offenders::{Judgement, Offence};
use muralla_edge::pcapng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use crate::admin::api::{
    BlockForm, Canary, Done, Overview, PONG, PrefixForm, SampleLine, Sighting,
};
use crate::admin::client::{Client, ClientError};
use crate::cli::{Addresses, End};
use crate::configuration::{self, Accepted, Configuration, Problems, Severity, duration};
use crate::following;
use crate::roles::Role;
use muralla_edge::wall::{BlockEntry, InterfaceStatus, Mode, Status};

/// What a subcommand needs to know about how it was called.
pub(crate) struct Call {
    /// Of the process with the wall.
    pub(crate) client: Client,
    /// Of the process with DNS, but without the wall.
    pub(crate) dns: Client,
    /// Of the process with RADIUS alone.
    pub(crate) radius: Client,
    /// Of the process with mail alone.
    pub(crate) mail: Client,
    /// The configuration file.
    pub(crate) config: PathBuf,
    pub(crate) json: bool,
}

impl Call {
    /// Every address at which a process may listen, the wall's first.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client> {
        let all = [&self.client, &self.dns, &self.radius, &self.mail];
        // With --socket they are one.
        all.into_iter().enumerate().filter_map(move |(index, client)| {
            let first = all.iter().position(|other| *other == client) == Some(index);
            first.then_some(client)
        })
    }

    /// What each process that is there says to the same call.
    ///
    /// # Errors
    ///
    /// When no process is there, or one of them does not do it.
    async fn everybody<T>(
        &self,
        ask: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<Vec<T>, ClientError> {
        let mut answers = Vec::new();
        let mut nobody = None;
        for client in self.clients() {
            match ask(client).await {
                Ok(answer) => answers.push(answer),
                Err(error) if error.nobody_there() => nobody = nobody.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match nobody {
            Some(error) if answers.is_empty() => Err(error),
            _ => Ok(answers),
        }
    }

    /// The state of all processes together.
    pub(crate) async fn overview(&self) -> Result<Overview, ClientError> {
        /// A process that hangs must not keep anybody from seeing that it does.
        const PATIENCE: Duration = Duration::from_secs(10);
        let all = self.everybody(async |client| {
            let asked = tokio::time::timeout(PATIENCE, client.get("/v1/status"));
            asked.await.unwrap_or_else(|_| Err(client.mute(PATIENCE)))
        });
        let mut all = all.await?.into_iter();
        let Some(first) = all.next() else {
            return Err(ClientError::Answer("nobody answered".to_owned()));
        };
        Ok(all.fold(first, Overview::with))
    }

    /// The process that has a role; the common one where none says so, for the reason that it gives.
    pub(crate) async fn process_with(&self, role: Role) -> &Client {
        for client in self.clients() {
            let roles = client.get::<Vec<Role>>("/v1/roles").await;
            if roles.is_ok_and(|roles| roles.contains(&role)) {
                return client;
            }
        }
        match role {
            Role::Edge => &self.client,
            Role::Dns => &self.dns,
            Role::Radius => &self.radius,
            Role::Mail => &self.mail,
        }
    }
}

/// `muralla check`
pub(crate) fn check(
    path: &Path,
    addresses: &Addresses,
    print: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (configuration, problems) = match configuration::load(path) {
        Ok(Accepted { configuration, warnings }) => (Some(configuration), warnings),
        Err(problems) => (None, problems),
    };
    let mut beyond = Vec::new();
    if let Some(Configuration { radius, dns, .. }) = &configuration {
        let renamed = radius.as_ref().map(|role| radius::renamed::warnings(&role.nas, addresses));
        beyond.extend(renamed.unwrap_or_default());
        beyond.extend(dns.iter().flat_map(|role| dns::refused_files(&role.local)));
    }
    if json {
        #[derive(Serialize)]
        struct Checked<'c> {
            good: bool,
            problems: &'c Problems,
            /// What it would do to what goes on, and what is wrong with files that it names.
            warnings: &'c [String],
            effective: Option<&'c Configuration>,
        }
        let effective = configuration.as_ref().filter(|_| print);
        let good = configuration.is_some();
        show(&Checked { good, problems: &problems, warnings: &beyond, effective })?;
    } else {
        for warning in &beyond {
            eprintln!("warning: {warning}");
        }
        if !problems.is_empty() {
            eprintln!("{problems}");
        }
        match &configuration {
            Some(configuration) if print => out(&configuration.to_toml())?,
            Some(configuration) => out(&good(configuration))?,
            None => {
                let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
                eprintln!(
                    "{}: {} error(s); nothing would be changed",
                    path.display(),
                    errors.count()
                );
            }
        }
    }
    Ok(code(configuration.is_some()))
}

fn good(configuration: &Configuration) -> String {
    let wall = configuration.edge.as_ref().map(|edge| {
        let interfaces: Vec<String> = edge
            .interfaces
            .iter()
            .map(|interface| format!("{} ({})", interface.name, word(&interface.role)))
            .collect();
        format!(
            "{}; {} services, {} customer prefixes, {} NAS prefixes, {} feeds, {} blocks",
            interfaces.join(", "),
            edge.services.len(),
            edge.customers.len(),
            edge.nas.len(),
            edge.feeds.len(),
            edge.block.len()
        )
    });
    let names = configuration.dns.as_ref().map(|dns| {
        let listen: Vec<String> = dns.listen.iter().map(ToString::to_string).collect();
        format!(
            "DNS on {}; {} client prefixes, {} zones, {} lists, {} forward and {} stub zones",
            listen.join(", "),
            dns.clients.len(),
            dns.local.zones.len(),
            dns.local.lists.len(),
            dns.resolver.forward.len(),
            dns.resolver.stub.len()
        )
    });
    let access = configuration.radius.as_ref().map(|radius| {
        let listen = radius.auth.iter().chain(&radius.acct).map(ToString::to_string);
        format!(
            "RADIUS on {}; {} NAS prefixes beside those of the database, journal in {}",
            listen.collect::<Vec<_>>().join(", "),
            radius.nas.len(),
            radius.journal.folder.display()
        )
    });
    let letters = configuration.mail.as_ref().map(|mail| {
        let roles = [
            ("mx", mail.mx.is_some()),
            ("submission", mail.submission.is_some()),
            ("outgoing", mail.outgoing.is_some()),
            ("pop3", mail.pop3.is_some()),
        ];
        let roles = roles.iter().filter(|(_, there)| *there).map(|(name, _)| *name);
        format!("mail as {}: {}", mail.hostname, roles.collect::<Vec<_>>().join(", "))
    });
    let parts: Vec<String> = wall.into_iter().chain(names).chain(access).chain(letters).collect();
    format!("configuration is good: {}\n", parts.join("\n  "))
}

/// `muralla status`
pub(crate) async fn status(call: &Call, config: &Path) -> anyhow::Result<ExitCode> {
    let mut overview = call.overview().await?;
    let mut good = true;
    if let Ok(accepted) = configuration::load(config) {
        for role in Role::ALL {
            if accepted.configuration.has(role) && !overview.roles.contains(&role) {
                good = false;
                let unit = match role {
                    Role::Edge => "muralla",
                    Role::Dns => "muralla-dns",
                    Role::Radius => "muralla-radius",
                    Role::Mail => "muralla-mail",
                };
                overview.warnings.insert(
                    0,
                    format!(
                        "NOT RUNNING: the role {} is configured; `systemctl start {unit}`",
                        role.name()
                    ),
                );
            }
        }
    }
    let protected = overview.edge.as_ref().map_or(!overview.roles.contains(&Role::Edge), |edge| {
        edge.interfaces.iter().all(|interface| interface.attached)
    });
    if call.json {
        show(&overview)?;
    } else {
        out(&overview_text(&overview))?;
    }
    Ok(code(good && protected && !overview.silent))
}

fn overview_text(overview: &Overview) -> String {
    let mut text = format!(
        "muralla {}, process {}, up {}, configuration {}\n",
        overview.version,
        overview.pid,
        duration::write(Duration::from_secs(overview.uptime_seconds)),
        overview.configuration.display()
    );
    for warning in &overview.warnings {
        text.push_str(&format!("! {warning}\n"));
    }
    if let Some(edge) = &overview.edge {
        text.push_str(&status_text(edge));
    }
    if let Some(answers) = &overview.answers {
        let _ = writeln!(
            text,
            "network card's cache: {} queries answered; {}",
            answers.answered,
            if answers.fed { "filled by a DNS role" } else { "nobody fills it" }
        );
    }
    if let Some(dns) = &overview.dns {
        text.push_str(&dns::status_text(dns));
    }
    if let Some(radius) = &overview.radius {
        text.push_str(&radius::summary(radius));
    }
    if let Some(mail) = &overview.mail {
        text.push_str(&mail::summary(mail));
    }
    for promise in &overview.promises {
        let _ = writeln!(
            text,
            "promise {}: {} of {} seconds kept, {:.1} % of the permitted failures left",
            promise.promise,
            promise.good,
            promise.total,
            promise.remaining * 100.0
        );
    }
    text
}

fn status_text(status: &Status) -> String {
    // Writing to a string can't fail.
    let mut text = String::new();
    text.push_str(&interfaces_text(&status.interfaces));
    for feed in &status.feeds {
        let age = feed.age_seconds.map_or_else(
            || "no file".to_owned(),
            |seconds| format!("{} old", duration::write(Duration::from_secs(seconds))),
        );
        let stale = if feed.stale { ", STALE" } else { "" };
        let _ = writeln!(
            text,
            "feed {} ({}): {} prefixes, {age}{stale}",
            feed.name,
            word(&feed.mode),
            feed.prefixes
        );
    }
    let per_packet = status.ns_per_packet.map_or_else(
        || "not measured yet".to_owned(),
        |nanoseconds| format!("{nanoseconds:.0} ns"),
    );
    let _ = writeln!(
        text,
        "policy {}: {} prefixes, {} blocks, {} bans; limiter {} of {} slots; per packet {per_packet}",
        status.policy_generation,
        status.prefixes,
        status.blocks,
        status.bans,
        status.limiter_used,
        status.limiter_slots
    );
    let _ = writeln!(text, "services: {}", status.services.join(", "));
    text
}

fn interfaces_text(interfaces: &[InterfaceStatus]) -> String {
    let mut text = String::new();
    for interface in interfaces {
        let state = match (interface.attached, interface.mode) {
            (true, Some(Mode::Native)) => "protected, native",
            (true, Some(Mode::Generic)) => "protected, GENERIC MODE",
            (true, None) => "protected",
            (false, _) => "NOT PROTECTED",
        };
        let _ = writeln!(
            text,
            "interface {}: {state}; {} received, {} missed by the card",
            interface.name, interface.rx_packets, interface.rx_missed
        );
        if let Some(problem) = &interface.problem {
            let _ = writeln!(text, "  {problem}");
        }
    }
    text
}

/// `muralla drops`
pub(crate) async fn drops(
    call: &Call,
    reason: Option<&str>,
    service: Option<&str>,
    all: bool,
    end: End,
) -> anyhow::Result<ExitCode> {
    if let Some(reason) =
        reason.filter(|reason| Reason::ALL.iter().all(|known| known.name() != *reason))
    {
        let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        bail!("there is no reason `{reason}`; known are {}", known.join(", "));
    }
    let wanted = |sighting: &Sighting| {
        (all || !sighting.traffic)
            && reason.is_none_or(|reason| sighting.drop.reason == reason)
            && service.is_none_or(|service| sighting.drop.service == service)
    };
    follow(&call.client, "/v1/samples", end, |line| match line {
        SampleLine::Sample(sighting) if wanted(&sighting) => {
            let text = if call.json {
                serde_json::to_string(&sighting)?
            } else {
                sighting.drop.to_string()
            };
            out(&format!("{text}\n"))?;
            Ok(true)
        }
        SampleLine::Sample(_) => Ok(false),
        SampleLine::Lost(lost) => {
            eprintln!("({lost} more that this terminal was too slow for)");
            Ok(false)
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// `muralla capture`
pub(crate) async fn capture(
    call: &Call,
    file: &Path,
    all: bool,
    end: End,
) -> anyhow::Result<ExitCode> {
    let overview: Overview = call.client.get("/v1/status").await?;
    let interfaces: BTreeMap<u32, String> = overview
        .edge
        .iter()
        .flat_map(|edge| &edge.interfaces)
        .filter_map(|interface| Some((interface.ifindex?, interface.name.clone())))
        .collect();
    let to_terminal = file == Path::new("-");
    let sink: Box<dyn Write> = if to_terminal {
        Box::new(io::stdout())
    } else {
        Box::new(File::create(file).with_context(|| format!("can't write {}", file.display()))?)
    };
    let mut writer = pcapng::Writer::new(BufWriter::new(sink), &interfaces, following::boot())?;
    let mut lost_in_all = 0;
    let count = follow(&call.client, "/v1/samples", end, |line| match line {
        SampleLine::Sample(sighting) if all || !sighting.traffic => {
            let drop = &sighting.drop;
            let comment =
                format!("{}: {} ({}: {})", drop.verdict, drop.words, drop.service, drop.reason);
            writer.packet(&sighting.sample(), &comment)?;
            // So that who reads along, or stops us, has all.
            writer.flush()?;
            Ok(true)
        }
        SampleLine::Sample(_) => Ok(false),
        SampleLine::Lost(lost) => {
            lost_in_all += lost;
            Ok(false)
        }
    })
    .await?;
    writer.flush()?;
    eprintln!("{count} packets written, {lost_in_all} lost");
    Ok(ExitCode::SUCCESS)
}

/// Calls `each` with every line until it counted enough, time is over, the user interrupts or the daemon
/// ends; how many lines counted.
async fn follow<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    end: End,
    mut each: impl FnMut(T) -> anyhow::Result<bool>,
) -> anyhow::Result<u64> {
    let mut samples = client.follow(path).await?;
    let deadline = end.seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let mut count = 0;
    while end.count.is_none_or(|most| count < most) {
        let line = tokio::select! {
            line = samples.next() => line?,
            () = at(deadline) => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        match line {
            Some(line) => match each(line) {
                Ok(counted) => count += u64::from(counted),
                // `muralla drops | head` ends that way.
                Err(error) if is_broken_pipe(&error) => break,
                Err(error) => return Err(error),
            },
            None => {
                eprintln!("the daemon ended");
                break;
            }
        }
    }
    Ok(count)
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// `muralla block`
pub(crate) async fn block(
    call: &Call,
    prefix: IpNet,
    time: Option<Duration>,
    note: String,
    services: Vec<String>,
) -> anyhow::Result<ExitCode> {
    let form = BlockForm {
        prefix,
        note,
        for_seconds: time.map(|time| time.as_secs()),
        services: (!services.is_empty()).then_some(services),
    };
    let done: Done = call.client.post("/v1/blocks", &form).await?;
    let until = time.map_or_else(
        || "until `muralla unblock`".to_owned(),
        |time| format!("for {}", duration::write(time)),
    );
    said(call, &done, &format!("{prefix} is blocked {until}"))
}

/// `muralla unblock`
pub(crate) async fn unblock(call: &Call, prefix: IpNet) -> anyhow::Result<ExitCode> {
    let done = call.client.remove("/v1/blocks", prefix).await?;
    said(call, &done, &format!("{prefix} is not blocked any more"))
}

/// `muralla allow`
pub(crate) async fn allow(call: &Call, prefix: IpNet, remove: bool) -> anyhow::Result<ExitCode> {
    if remove {
        let done = call.client.remove("/v1/allow", prefix).await?;
        return said(call, &done, &format!("{prefix} is not allowed any more"));
    }
    let done = call.client.post("/v1/allow", &PrefixForm { prefix }).await?;
    said(call, &done, &format!("{prefix} is allowed"))
}

/// `muralla blocks`
pub(crate) async fn blocks(call: &Call) -> anyhow::Result<ExitCode> {
    let entries: Vec<BlockEntry> = call.client.get("/v1/blocks").await?;
    if call.json {
        show(&entries)?;
    } else {
        out(&blocks_text(&entries))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn blocks_text(entries: &[BlockEntry]) -> String {
    if entries.is_empty() {
        return "nothing is blocked\n".to_owned();
    }
    let rows: Vec<[String; 6]> = entries
        .iter()
        .map(|entry| {
            let left = entry.expires_in.map_or_else(
                || "-".to_owned(),
                |seconds| duration::write(Duration::from_secs(seconds)),
            );
            let services =
                if entry.services.is_empty() { "all".to_owned() } else { entry.services.join(",") };
            [
                entry.prefix.to_string(),
                word(&entry.origin),
                left,
                entry.hits.to_string(),
                services,
                entry.note.clone(),
            ]
        })
        .collect();
    crate::top::table(["PREFIX", "ORIGIN", "LEFT", "HITS", "SERVICES", "NOTE"], &rows)
}

/// `muralla offend`
pub(crate) async fn offend(call: &Call, offence: &Offence) -> anyhow::Result<ExitCode> {
    let judgement: Judgement = call.client.post("/v1/offences", offence).await?;
    if call.json {
        show(&judgement)?;
        return Ok(ExitCode::SUCCESS);
    }
    let source = offence.source;
    let text = match judgement {
        Judgement::Noted { score } => format!("noted: {source} stands at {score:.1}"),
        Judgement::Banned { prefix, seconds } => {
            format!("{prefix} is banned for {}", duration::write(Duration::from_secs(seconds)))
        }
        Judgement::Limited => {
            format!(
                "noted: {source} is shared by several customers, and so limited rather than banned"
            )
        }
        Judgement::Unproven => {
            format!(
                "noted, but {source} may be forged, and so is not banned (--handshake says that it is not)"
            )
        }
        Judgement::Protected => format!("nothing is done: {source} is protected"),
    };
    out(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// `muralla reload`: every process that is there.
pub(crate) async fn reload(call: &Call) -> anyhow::Result<ExitCode> {
    let all: Vec<Done> =
        call.everybody(async |client| client.post("/v1/reload", &()).await).await?;
    let mut remarks: Vec<String> = Vec::new();
    for remark in all.iter().flat_map(|done| &done.remarks) {
        // Both have read the same file, and complain about the same.
        if !remarks.contains(remark) {
            remarks.push(remark.clone());
        }
    }
    let done = Done { done: all.iter().all(|done| done.done), remarks };
    said(call, &done, "configuration applied")
}

/// `muralla ping`: every process that is there; DNS by a real query.
pub(crate) async fn ping(call: &Call) -> anyhow::Result<ExitCode> {
    let answers = call.everybody(async |client| {
        let pong: String = client.get("/v1/ping").await?;
        // A process without DNS has nobody to ask.
        let canary = client.get::<Canary>("/v1/dns/canary").await.ok();
        Ok((pong, canary))
    });
    let answers = answers.await?;
    if call.json {
        let pong = answers.first().map_or(PONG, |(pong, _)| pong.as_str());
        show(&pong)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (pong, canary) in answers {
        match canary {
            Some(Canary { seconds }) => {
                out(&format!("{pong}; DNS answered in {:.2} ms\n", seconds * 1e3))?;
            }
            None => out(&format!("{pong}\n"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `muralla edge attach`
pub(crate) async fn attach(call: &Call) -> anyhow::Result<ExitCode> {
    let done = call.client.post("/v1/edge/attach", &()).await?;
    said(call, &done, "the wall stands")
}

/// `muralla edge detach`: through the daemon, so that it does not attach again, and without it if there is
/// none or it does not do it.
pub(crate) async fn detach(
    call: &Call,
    pin_dir: &Path,
    take_down: impl FnOnce(&Path) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<ExitCode> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let told = call.client.post::<Done>("/v1/edge/detach", &());
    match tokio::time::timeout(PATIENCE, told).await {
        Ok(Ok(done)) => return detached(call, &done.remarks),
        Ok(Err(error)) if error.nobody_there() => {}
        Ok(Err(error @ ClientError::NotPermitted(_))) => return Err(error.into()),
        Ok(Err(error)) => eprintln!("the daemon did not do it ({error}); doing it without"),
        Err(_) => eprintln!("the daemon does not answer; doing it without (it may attach again)"),
    }
    let interfaces = take_down(pin_dir)?;
    detached(call, &interfaces)
}

fn detached(call: &Call, interfaces: &[String]) -> anyhow::Result<ExitCode> {
    let done = Done { done: true, remarks: Vec::new() };
    let text = match interfaces {
        [] => "nothing was attached".to_owned(),
        some => format!("detached from {}; nothing is protected now", some.join(", ")),
    };
    if call.json {
        show(&Done { remarks: interfaces.to_vec(), ..done })?;
        return Ok(ExitCode::SUCCESS);
    }
    said(call, &done, &text)
}

/// `muralla edge show`
pub(crate) fn edge_show(interfaces: &[InterfaceStatus], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        show(&interfaces)?;
    } else if interfaces.is_empty() {
        out("nothing is attached\n")?;
    } else {
        out(&interfaces_text(interfaces))?;
    }
    Ok(code(!interfaces.is_empty() && interfaces.iter().all(|interface| interface.attached)))
}

/// Where programs are pinned: as given, as configured, or the usual place.
pub(crate) fn pin_dir(given: Option<PathBuf>, config: &Path) -> PathBuf {
    given.unwrap_or_else(|| {
        configuration::load(config).map_or_else(
            |_| PathBuf::from(configuration::DEFAULT_PIN_DIR),
            |accepted| match accepted.configuration.edge {
                Some(edge) => edge.pin_dir,
                None => PathBuf::from(configuration::DEFAULT_PIN_DIR),
            },
        )
    })
}

fn said(call: &Call, done: &Done, text: &str) -> anyhow::Result<ExitCode> {
    if call.json {
        show(done)?;
    } else {
        if done.done {
            out(&format!("{text}\n"))?;
        }
        for remark in &done.remarks {
            eprintln!("{remark}");
        }
    }
    Ok(code(done.done))
}

fn show(value: &impl Serialize) -> anyhow::Result<()> {
    out(&format!("{}\n", serde_json::to_string(value)?))
}

/// Like `print!`, but without a panic when the reader is gone.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    out_octets(text.as_bytes())
}

/// The same of what may be no text.
fn out_octets(octets: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(octets)?;
    Ok(stdout.flush()?)
}

/// A value's name, as JSON has it.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "?".to_owned(),
    }
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
