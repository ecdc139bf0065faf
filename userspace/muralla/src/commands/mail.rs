//! `muralla mail`.

mod accounts;
mod directory;
mod identity;
mod importing;
mod personal;
mod places;
mod plan;
mod rejects;
mod stores;
mod taking_over;
mod transfer;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use muralla_mail::config::MailConfig;
use muralla_mail::operators::{
    MessageForm, QueueAction, QueueEntry, QueueForm, QueueState, QueuedMessage, TraceEvent,
};
use muralla_mail::report::{DeliveryStatus, Status};
use serde::Serialize;

use super::{Call, code, out, out_octets, show, word};
use crate::admin::api::{QueueChange, Settled, TraceForm};
use crate::cli::mail::{MailCommand, Meant, QueueCommand, StateWord, Which};
use crate::configuration::{self, duration, moment, size};
use crate::roles::Role;
use crate::top::table;

/// Does what is asked: by the process with mail where it is about what is under way, and without one otherwise.
pub(crate) async fn act(call: &Call, command: MailCommand) -> anyhow::Result<ExitCode> {
    match command {
        MailCommand::Status => {
            let status: Status = call.process_with(Role::Mail).await.get("/v1/mail/status").await?;
            tell(call, &status, status_text)?;
            Ok(code(status.troubles.is_empty()))
        }
        MailCommand::Queue(command) => queue(call, command).await,
        MailCommand::Trace { what } => {
            let events = trace(call, what).await?;
            let found = !events.is_empty();
            tell(call, &events, |events| trace_text(events))?;
            Ok(code(found))
        }
        MailCommand::Domain(command) => directory::domain(call, &configured(call)?, command).await,
        MailCommand::Account(command) => {
            directory::account(call, &configured(call)?, command).await
        }
        MailCommand::Alias(command) => directory::alias(call, &configured(call)?, command).await,
        MailCommand::AppPassword(command) => {
            personal::app_password(call, &configured(call)?, command).await
        }
        MailCommand::Contact(command) => personal::contact(call, &configured(call)?, command).await,
        MailCommand::Backend(command) => places::backend(call, &configured(call)?, command).await,
        MailCommand::Dkim(command) => directory::dkim(call, &configured(call)?, command).await,
        MailCommand::Directory(command) => {
            taking_over::act(call, &configured(call)?, command).await
        }
        MailCommand::Shard(command) => places::shard(call, &configured(call)?, command).await,
        MailCommand::Store(command) => stores::act(call, &configured(call)?, command).await,
        MailCommand::Move { account, to } => {
            stores::move_mailbox(call, &configured(call)?, &account, &to).await
        }
        MailCommand::Plan(args) => plan::plan(call, *args),
        MailCommand::Rejects(command) => rejects::act(call, &configured(call)?, command).await,
        MailCommand::Import(args) => importing::import(call, &configured(call)?, *args).await,
        MailCommand::Export { account, to } => {
            transfer::export(call, &configured(call)?, &account, to).await
        }
    }
}

/// The section of the configuration.
fn configured(call: &Call) -> anyhow::Result<MailConfig> {
    let accepted = configuration::load(&call.config)?;
    accepted.configuration.mail.with_context(|| {
        format!(
            "{} has no [mail] section, so that it is not known which database is meant",
            call.config.display()
        )
    })
}

fn tell<T: Serialize>(call: &Call, value: &T, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
    if call.json { show(value) } else { out(&text(value)) }
}

async fn queue(call: &Call, command: QueueCommand) -> anyhow::Result<ExitCode> {
    let client = call.process_with(Role::Mail).await;
    let (meant, action) = match command {
        QueueCommand::List { which, most } => {
            let form = QueueForm { most: Some(most), ..form(which) };
            let entries: Vec<QueueEntry> = client.post("/v1/mail/queue", &form).await?;
            tell(call, &entries, |entries| queue_text(entries))?;
            return Ok(ExitCode::SUCCESS);
        }
        QueueCommand::Show { message, header, raw } if header || raw => {
            let form = MessageForm { message, header };
            let read: QueuedMessage = client.post("/v1/mail/queue/message", &form).await?;
            if call.json {
                show(&read)?;
            } else {
                let octets = read.octets().context("the daemon's answer has no message")?;
                if raw { out_octets(&octets)? } else { out(&printable(&octets))? }
            }
            return Ok(ExitCode::SUCCESS);
        }
        QueueCommand::Show { message, .. } => {
            let form = QueueForm { message: Some(message.clone()), ..QueueForm::default() };
            let entries: Vec<QueueEntry> = client.post("/v1/mail/queue", &form).await?;
            let events = trace(call, message.clone()).await?;
            if entries.is_empty() && events.is_empty() {
                bail!("nothing is known of {message}; `muralla mail queue list` shows what waits");
            }
            #[derive(Serialize)]
            struct Whole {
                queue: Vec<QueueEntry>,
                events: Vec<TraceEvent>,
            }
            let whole = Whole { queue: entries, events };
            tell(call, &whole, |whole| {
                format!("{}\n{}", queue_text(&whole.queue), trace_text(&whole.events))
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        QueueCommand::Retry(meant) => (meant, QueueAction::Retry),
        QueueCommand::Hold(meant) => (meant, QueueAction::Hold),
        QueueCommand::Release(meant) => (meant, QueueAction::Release),
        QueueCommand::Return(meant) => (meant, QueueAction::Return),
        QueueCommand::Remove(meant) => (meant, QueueAction::Remove),
    };
    let Meant { all, which } = meant;
    let which = form(which);
    if !all && which == QueueForm::default() {
        bail!("say which recipients are meant, as `muralla mail queue list` shows them, or --all");
    }
    let change = QueueChange { which, action };
    let settled: Settled = client.post("/v1/mail/queue/change", &change).await?;
    tell(call, &settled, |settled| match settled.records {
        0 => {
            "nothing in the queue is meant by that; `muralla mail queue list` shows it\n".to_owned()
        }
        1 => format!("1 recipient: {}\n", word(&action)),
        count => format!("{count} recipients: {}\n", word(&action)),
    })?;
    Ok(code(settled.records > 0))
}

async fn trace(call: &Call, what: String) -> anyhow::Result<Vec<TraceEvent>> {
    let client = call.process_with(Role::Mail).await;
    Ok(client.post("/v1/mail/trace", &TraceForm { what }).await?)
}

fn form(which: Which) -> QueueForm {
    let Which { message, destination, sender, recipient, state } = which;
    let state = state.map(|state| match state {
        StateWord::Waiting => QueueState::Waiting,
        StateWord::Trying => QueueState::Trying,
        StateWord::Held => QueueState::Held,
        StateWord::Over => QueueState::Over,
    });
    QueueForm { message, destination, sender, recipient, state, most: None }
}

/// What somebody else wrote, for a terminal that does nothing of what it says.
fn printable(octets: &[u8]) -> String {
    let shown = |char: char| match char {
        '\n' | '\t' => Some(char),
        '\r' => None,
        char if char.is_control() => Some('?'),
        char => Some(char),
    };
    String::from_utf8_lossy(octets).chars().filter_map(shown).collect()
}

fn queue_text(entries: &[QueueEntry]) -> String {
    let now = now();
    let rows: Vec<[String; 7]> = entries
        .iter()
        .map(|entry| {
            let due = match entry.state {
                QueueState::Waiting if entry.due <= now => "now".to_owned(),
                QueueState::Waiting => format!("in {}", span(entry.due - now)),
                _ => word(&entry.state),
            };
            let sender = if entry.sender.is_empty() { "<>" } else { &entry.sender };
            [
                entry.message.clone(),
                span(now - entry.created),
                sender.to_owned(),
                entry.recipient.clone(),
                due,
                entry.attempts.to_string(),
                entry.reply.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(["message", "age", "from", "to", "next", "tries", "said last"], &rows)
}

fn trace_text(events: &[TraceEvent]) -> String {
    if events.is_empty() {
        return "nothing is known of it: it never came here, or that was long ago\n".to_owned();
    }
    let mut text = String::new();
    let mut last = "";
    for event in events {
        if event.message != last {
            last = &event.message;
            // Writing to a string can't fail.
            let _ = write!(text, "{}", event.message);
            if let Some(id) = &event.header_id {
                let _ = write!(text, "  {id}");
            }
            if let Some(sender) = &event.sender {
                let _ = write!(text, "  from <{sender}>");
            }
            text.push('\n');
        }
        let seconds = u64::try_from(event.at_ms / 1000).unwrap_or_default();
        let _ = write!(text, "  {}  {}", moment(seconds), event.kind);
        if let Some(recipient) = &event.recipient {
            let _ = write!(text, "  {recipient}");
        }
        let _ = writeln!(text, "  {}", event.text);
    }
    text
}

/// A few lines for `muralla status`.
pub(crate) fn summary(status: &Status) -> String {
    let mut text = String::new();
    let places: Vec<String> =
        status.listening.iter().map(|(name, address)| format!("{name} {address}")).collect();
    let _ = writeln!(text, "mail: {}", places.join(", "));
    let directory = &status.directory;
    let _ = writeln!(
        text,
        "  {} domains, {} accounts, {} aliases; {} at {}",
        directory.domains,
        directory.accounts,
        directory.aliases,
        directory.engine,
        directory.location
    );
    match &status.queue {
        None => {}
        Some(queue) if queue.messages == 0 => text.push_str("  queue: empty\n"),
        Some(queue) => {
            let _ = writeln!(
                text,
                "  queue: {} messages, {}, the oldest of {} ago; {} due, {} held",
                queue.messages,
                size::about(queue.bytes),
                duration::write(Duration::from_secs(queue.oldest)),
                queue.due,
                queue.held
            );
        }
    }
    text
}

fn status_text(status: &Status) -> String {
    let mut text = String::new();
    for trouble in &status.troubles {
        let _ = writeln!(text, "! {trouble}");
    }
    text.push_str(&summary(status));
    let _ = writeln!(
        text,
        "  taken: {} messages, {} of them by way of this machine's disk; not taken: {}",
        status.post.taken, status.post.spooled, status.post.refused
    );
    if let Some(mx) = &status.mx {
        let counts = &mx.counts;
        let _ = writeln!(
            text,
            "  mx: {} connected; {} accepted; refused: {} unknown recipients, {} to relay, {} by the filter",
            mx.connections, counts.accepted, counts.unknown, counts.relayed, counts.refused
        );
    }
    if let Some(submission) = &status.submission {
        let counts = &submission.counts;
        let _ = writeln!(
            text,
            "  submission: {} connected; {} logins, {} refused; {} accepted, {} over a limit",
            submission.connections,
            counts.logins,
            counts.refused_logins,
            counts.accepted,
            counts.limited
        );
    }
    if let Some(pop3) = &status.pop3 {
        let counts = &pop3.counts;
        let _ = writeln!(
            text,
            "  pop3: {} connected; {} logins, {} refused; {} messages fetched",
            pop3.connections, counts.logins, counts.refused, counts.retrieved
        );
    }
    if let Some(outgoing) = &status.outgoing {
        let _ = writeln!(
            text,
            "  outgoing: {} delivered, {} put off, {} refused, {} unreachable; {} under way",
            outgoing.delivered,
            outgoing.deferred,
            outgoing.failed,
            outgoing.unreachable,
            outgoing.under_way
        );
        let transport = &outgoing.transport;
        let _ = writeln!(
            text,
            "    connections: {} by DANE, {} by MTA-STS, {} encrypted, {} in the clear; without a proof that was due: {}",
            transport.by_dane,
            transport.by_sts,
            transport.encrypted,
            transport.clear,
            transport.dane_lookups
                + transport.dane_failed
                + transport.sts_hosts
                + transport.sts_failed
        );
    }
    for one in &status.deliveries {
        let _ = writeln!(
            text,
            "  to {}: {} delivered, {} put off, {} refused, {} unreachable{}{}",
            one.to,
            one.delivered,
            one.deferred,
            one.refused,
            one.unreachable,
            mean(one).map(|mean| format!("; {mean} each")).unwrap_or_default(),
            if one.up || one.to == "remote" { "" } else { "; NOT REACHED the last time" }
        );
    }
    for shard in status.shards.iter().filter(|shard| shard.circuit_opened > 0) {
        let _ = writeln!(
            text,
            "  store {}: took no mail in time {} times, and {} deliveries did not wait for it; {}",
            shard.name,
            shard.circuit_opened,
            shard.circuit_refused,
            if shard.circuit_open { "ONE AT A TIME TRIES AGAIN" } else { "takes mail again" }
        );
    }
    for disk in &status.disks {
        let _ = writeln!(
            text,
            "  disk of {}: {} of {} free",
            disk.what,
            size::about(disk.free),
            size::about(disk.size)
        );
    }
    let spool = &status.spool;
    if spool.messages > 0 || spool.broken > 0 {
        let _ = writeln!(
            text,
            "  spool: {} messages, {}; {} damaged",
            spool.messages,
            size::about(spool.bytes),
            spool.broken
        );
    }
    let now = now();
    for (file, expires) in &status.certificates {
        let when = expires.map_or_else(
            || "nobody knows until when".to_owned(),
            |at| match at - now {
                left if left > 0 => format!("good for {}", span(left)),
                over => format!("EXPIRED {} ago", span(-over)),
            },
        );
        let _ = writeln!(text, "  certificate {file}: {when}");
    }
    text
}

/// How long a message takes on average.
fn mean(one: &DeliveryStatus) -> Option<String> {
    let messages: u64 = one.buckets.iter().map(|(_, count)| count).sum();
    let seconds = (messages > 0).then(|| one.seconds / messages as f64)?;
    Some(if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") })
}

fn span(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    // Nobody counts the seconds of days.
    let rounded = match seconds {
        0..3_600 => seconds,
        3_600..86_400 => seconds / 60 * 60,
        _ => seconds / 3_600 * 3_600,
    };
    duration::write(Duration::from_secs(rounded))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
