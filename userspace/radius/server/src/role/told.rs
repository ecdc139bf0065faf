//! What a status tells, out of what is counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use muralla_journal::{ConsumerStatus, Health, Journal};
use muralla_radius_accounting::SessionView;
use muralla_radius_accounting::export::printable;

use crate::accounting;
use crate::desk::Wall;
use crate::nases::{Nas, Nases};
use crate::report::{JournalStatus, NasStatus, Session, Stranger};
use crate::tally::Total;

/// Addresses of packets that are not from a NAS, that a status tells.
const MOST_STRANGERS: usize = 20;

/// A session that is open.
pub(super) fn session(view: &SessionView) -> Session {
    let prefixes = [view.framed_prefix, view.delegated_prefix].into_iter().flatten();
    Session {
        id: view.id.to_string(),
        user: printable(&view.subscriber),
        login: printable(&view.user),
        nas: view.nas.clone(),
        nas_address: view.nas_address,
        port: view.nas_port,
        session_id: printable(&view.session),
        address: view.framed_address,
        prefixes: prefixes.map(|prefix| prefix.to_string()).collect(),
        calling_station: view.calling.as_deref().map(printable),
        started: view.started.into(),
        updated: view.updated.into(),
        quiet: view.quiet.into(),
        input_octets: view.octets_in,
        output_octets: view.octets_out,
    }
}

/// The NASes by name. `open` are sessions that are open under names.
pub(super) fn nas_status(nases: &Nases, open: &[(String, usize)]) -> Vec<NasStatus> {
    let mut by_name: BTreeMap<&str, Vec<&Arc<Nas>>> = BTreeMap::new();
    for nas in nases.iter() {
        by_name.entry(&nas.name).or_default().push(nas);
    }
    let now = Wall::now().seconds();
    let ago = |seconds: u64| (seconds > 0).then(|| now.saturating_sub(seconds));
    let open: HashMap<&str, usize> =
        open.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let status = |(name, all): (&str, Vec<&Arc<Nas>>)| {
        let counts = all.first().map(|nas| nas.counts.sum()).unwrap_or_default();
        NasStatus {
            name: name.to_owned(),
            prefixes: all.iter().map(|nas| nas.prefix.to_string()).collect(),
            telco: all.iter().find_map(|nas| nas.telco.as_deref()).map(str::to_owned),
            message_authenticator_optional: all.iter().any(|nas| nas.is_lax()),
            rolling: all.iter().any(|nas| nas.secrets.len() > 1),
            sessions: open.get(name).map_or(0, |count| *count as u64),
            requests: counts.requests,
            accepted: counts.accepted,
            rejected: counts.rejected,
            accounting: counts.accounting,
            acknowledged: counts.acknowledged,
            repeated: counts.repeated,
            dropped: counts.dropped,
            reasons: all.first().map(|nas| nas.counts.reasons()).unwrap_or_default(),
            old_secret: ago(counts.old_secret),
            seen: ago(counts.seen),
        }
    };
    by_name.into_iter().map(status).collect()
}

/// Addresses of packets that are not from a NAS.
pub(super) fn strangers(nases: &Nases, total: &Total<'_>) -> Vec<Stranger> {
    let now = Wall::now().seconds();
    let strangers = total.strangers(MOST_STRANGERS).into_iter();
    let told = strangers.map(|seen| Stranger {
        address: seen.address,
        reason: seen.reason.to_owned(),
        nas: nases.of(seen.address).map(|nas| nas.name.to_string()),
        packets: seen.count,
        doubtful: seen.doubtful,
        seen: now.saturating_sub(seen.last),
    });
    told.collect()
}

/// The journal; `applied` is the record that the table of sessions has taken last.
pub(super) fn journal_status(journal: &Journal, applied: u64) -> JournalStatus {
    let status = journal.status();
    // The table's position is kept with its snapshots; what it has taken is more.
    let lag = |consumer: ConsumerStatus| match consumer.name.as_str() {
        accounting::SESSIONS => (consumer.name, status.durable.saturating_sub(applied)),
        _ => (consumer.name, consumer.lag),
    };
    JournalStatus {
        health: match status.health {
            Health::Good => "good",
            Health::Full => "full",
            Health::Failed => "failed",
            Health::Closed => "closed",
        }
        .to_owned(),
        appended: status.appended,
        durable: status.durable,
        segments: status.segments as u64,
        bytes: status.bytes,
        fsyncs: status.fsyncs,
        fsync_seconds: status.sync_time.as_secs_f64(),
        records: status.records,
        oldest: status
            .oldest
            .map(|oldest| SystemTime::now().duration_since(oldest).unwrap_or_default().as_secs()),
        error: status.last_error,
        damaged: status.damaged,
        dead_letters: status.consumers.iter().map(|consumer| consumer.dead_letters as u64).sum(),
        lag: status.consumers.into_iter().map(lag).collect(),
    }
}
