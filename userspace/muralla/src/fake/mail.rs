//! Mail without sockets.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muralla_mail::config::MailConfig;
use muralla_mail::operators::{
    DestinationsForm, MessageForm, QueueAction, QueueDestination, QueueEntry, QueueForm,
    QueueState, QueuedMessage, TraceEvent,
};
use muralla_mail::report::Status;
use serde_json::json;
use tokio::runtime::Handle;

use crate::dns::Pending;
use crate::mail::{Mail, Starter};

/// What was done to the mail roles that a [`FakeMailStarter`] started.
#[derive(Debug, Default)]
pub(crate) struct MailDeeds {
    pub(crate) started: usize,
    pub(crate) reloaded: usize,
    pub(crate) stopped: usize,
    /// Names of the descriptors that they were given.
    pub(crate) inherited: Vec<String>,
    /// Whether nobody is greeted.
    pub(crate) silent: bool,
    /// What the operator changed.
    pub(crate) changes: Vec<(QueueForm, QueueAction)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeMailStarter(pub(crate) Arc<Mutex<MailDeeds>>);

impl Starter for FakeMailStarter {
    fn start(
        &self,
        _config: MailConfig,
        inherited: Vec<(String, OwnedFd)>,
        _wall: &Path,
        _runtime: Handle,
    ) -> anyhow::Result<Arc<dyn Mail>> {
        let mut deeds = self.0.lock().unwrap();
        deeds.started += 1;
        deeds.inherited = inherited.into_iter().map(|(name, _)| name).collect();
        Ok(Arc::new(FakeMail(Arc::clone(&self.0))))
    }
}

struct FakeMail(Arc<Mutex<MailDeeds>>);

impl Mail for FakeMail {
    fn reload(&self, _config: MailConfig) -> anyhow::Result<Vec<String>> {
        self.0.lock().unwrap().reloaded += 1;
        Ok(Vec::new())
    }

    fn status(&self) -> Option<Status> {
        Some(mail_status())
    }

    fn queue(&self, form: QueueForm) -> Pending<'_, anyhow::Result<Vec<QueueEntry>>> {
        let all = [queued("x@example.org"), queued("y@example.org")];
        let fits = |entry: &QueueEntry| {
            form.recipient.as_ref().is_none_or(|recipient| *recipient == entry.recipient)
        };
        let fitting = all.into_iter().filter(fits).collect();
        Box::pin(async move { Ok(fitting) })
    }

    fn destinations(
        &self,
        form: DestinationsForm,
    ) -> Pending<'_, anyhow::Result<Vec<QueueDestination>>> {
        let all = [("example.org", Some(1_795_536_300)), ("example.com", None)];
        let told = all.map(|(name, left_alone)| QueueDestination {
            name: name.to_owned(),
            recipients: 2,
            due: 1_795_536_300,
            left_alone,
        });
        let most = form.most.unwrap_or(usize::MAX);
        Box::pin(async move { Ok(told.into_iter().take(most).collect()) })
    }

    fn change_queue(
        &self,
        form: QueueForm,
        action: QueueAction,
    ) -> Pending<'_, anyhow::Result<u64>> {
        self.0.lock().unwrap().changes.push((form, action));
        Box::pin(async { Ok(2) })
    }

    fn read_queued(&self, form: MessageForm) -> Pending<'_, anyhow::Result<QueuedMessage>> {
        let text = if form.header { "Subject: x\r\n\r\n" } else { "Subject: x\r\n\r\nx\r\n" };
        let content = data_encoding::BASE64.encode(text.as_bytes());
        let message = QueuedMessage { message: form.message, size: 17, content };
        Box::pin(async move { Ok(message) })
    }

    fn trace(&self, what: String) -> Pending<'_, anyhow::Result<Vec<TraceEvent>>> {
        let event = TraceEvent {
            message: "t7ufst4m7lo7nwc4u56izufu7q".to_owned(),
            at_ms: 1_795_536_000_000,
            kind: "accepted".to_owned(),
            header_id: Some(what),
            sender: Some("ann@example.net".to_owned()),
            recipient: Some("x@example.org".to_owned()),
            text: "it is durable".to_owned(),
        };
        Box::pin(async move { Ok(vec![event]) })
    }

    fn descriptors(&self) -> Vec<(String, OwnedFd)> {
        Vec::new()
    }

    fn canary(&self) -> Pending<'_, Result<Duration, String>> {
        let silent = self.0.lock().unwrap().silent;
        Box::pin(async move {
            if silent { Err("mx greets nobody".to_owned()) } else { Ok(Duration::from_millis(2)) }
        })
    }

    fn stop(&self) -> Pending<'_, ()> {
        self.0.lock().unwrap().stopped += 1;
        Box::pin(async {})
    }
}

fn queued(recipient: &str) -> QueueEntry {
    QueueEntry {
        message: "t7ufst4m7lo7nwc4u56izufu7q".to_owned(),
        sender: "ann@example.net".to_owned(),
        recipient: recipient.to_owned(),
        destination: "example.org".to_owned(),
        state: QueueState::Waiting,
        due: 1_795_536_300,
        attempts: 1,
        size: 1_000,
        created: 1_795_536_000,
        expires: 1_795_968_000,
        tried: Some(1_795_536_001),
        reply: Some("451 4.7.1 Greylisted".to_owned()),
        host: Some("mx.example.org".to_owned()),
        held_until: None,
    }
}

pub(crate) fn mail_status() -> Status {
    serde_json::from_value(json!({
        "listening": [["mx", "0.0.0.0:25"], ["pop3", "0.0.0.0:110"]],
        "uptime": 3600,
        "directory": {
            "engine": "SQLite", "location": "/var/lib/muralla-mail/mail.db", "domains": 2,
            "accounts": 1000, "aliases": 10, "without_scram": 0, "away_since": null,
            "last_error": null, "current": 1_795_536_000, "lag": 0, "changes": 5, "reloads": 0,
            "problems": [], "refused": 0, "copied": 1_795_536_000, "copy_error": null,
            "logins": muralla_mail_directory::LoginCounts::default(),
        },
        "shards": [{
            "name": "main", "open": true, "away": false, "delivered": 500,
            "delivery_us": 2_500_000, "put_bytes": 10_000, "stored_bytes": 4_000,
            "circuit_open": false, "circuit_opened": 2, "circuit_refused": 70, "damaged": 3,
        }],
        "deliveries": [
            {
                "to": "store/main", "up": true, "delivered": 500, "deferred": 2, "refused": 0,
                "unreachable": 3, "buckets": [[0.001, 10], [0.002, 480], [0.004, 10]], "seconds": 1.25,
            },
            { "to": "backend/old", "up": false, "unreachable": 4 },
            { "to": "remote", "up": true, "delivered": 6, "buckets": [[0.001, 0], [0.002, 6]], "seconds": 0.01 },
            { "to": "spool", "up": true, "delivered": 7, "buckets": [[0.001, 0], [65.536, 7]], "seconds": 420.0 },
        ],
        "disks": [{ "what": "spool", "free": 5_000_000_000_u64, "size": 20_000_000_000_u64 }],
        "dkim": { "signed": 5, "unsigned": 1, "failed": 0 },
        "spool": {
            "messages": 3, "bytes": 4096, "oldest": 1_795_536_000, "kept": 10, "brought_in": 7,
            "refused": 0, "broken": 0, "last_error": null,
        },
        "post": {
            "taken": 510, "spooled": 10, "refused": 1, "events_lost": 2, "events_rationed": 9, "untold": 3,
        },
        "queue": {
            "messages": 4, "bytes": 9000, "oldest": 60, "waiting": 3, "due": 1, "trying": 1,
            "held": 1, "owed": 0, "destinations": 2, "left_alone": 1,
        },
        "full_mailboxes": 1,
        "certificates": [["/etc/muralla/chain.pem", 1_800_000_000]],
        "mx": {
            "connections": 5, "memory": 1000, "turned_away": 1, "sessions": 90, "early": 2, "accepted": 500,
            "octets": 1_000_000, "unknown": 40, "relayed": 3, "backscatter": 2, "full": 1,
            "loops": 0, "refused": 6, "unjudged": 0, "no_room": 0, "never": 0,
            "inquiries": { "remembered": 9, "known": 8, "unknown": 7, "unanswered": 6 },
            "ended": {
                "ends": { "quit": 80, "abusive": 10 }, "tls": { "none": 20, "TLSv1.2": 10, "TLSv1.3": 60 },
                "line_ends": 2, "injected": 0,
            },
        },
        "submission": null,
        "outgoing": {
            "taken": 9, "delivered": 6, "deferred": 2, "failed": 1, "unreachable": 0, "told": 1,
            "under_way": 1, "kept_connections": 2, "left_alone": 1,
            "transport": {
                "clear": 1, "encrypted": 4, "by_sts": 1, "by_dane": 2, "downgraded": 0, "sts_hosts": 0,
                "sts_failed": 1, "dane_lookups": 3, "dane_failed": 0, "proved": 2, "unproved": 6,
            },
        },
        "pop3": {
            "connections": 7, "memory": 2000, "turned_away": 0, "sessions": 70, "logins": 60,
            "refused": 4, "retrieved": 100, "octets": 500_000, "deleted": 50, "unavailable": 0,
            "crowded": 0, "encrypted": 66,
        },
        "upkeep": {
            "expired_inbox": 4, "expired_spam": 30, "expired_trash": 20, "passes": 6, "moves_ended": 1,
            "emptied": 2,
            "stores": [{ "shard": "main", "missing_packs": 1, "bytes": 4000, "live": 3000 }],
            "failing": [{
                "shard": "main", "what": "the packs are not tidied up", "why": "the disk is full", "since": 1_795_536_000,
            }],
        },
        "troubles": ["3 messages wait on this machine's disk"],
    }))
    .unwrap()
}
