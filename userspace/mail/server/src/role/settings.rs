//! What each part of the roles is told, out of what the operator wrote.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use muralla_mail_directory::Options as DirectoryOptions;
use muralla_mail_queue::{Limits, Options as QueueOptions, Schedule};
use muralla_smtp::server::{Config as SmtpConfig, Mode};
use muralla_smtp::tls::{Certificates, Trust};
use rustls::RootCertStore;

use super::upkeep::Retention;
use super::{StartError, Surroundings};
use crate::config::{MailConfig, MxConfig, OutgoingConfig, Pop3Config, SubmissionConfig};
use crate::dkim::Signer;
use crate::inquiry::Inquiry;
use crate::outgoing::Parts;
use crate::outgoing::notices::Notices;
use crate::outgoing::remote::{self, Caller};
use crate::outgoing::sts::Sts;
use crate::post::Post;
use crate::recipients::Recipients;
use crate::{mx, submission};

/// How much of the memory for messages one source may have: one part of so many.
const SHARE: usize = 8;

pub(crate) fn directory_options(config: &MailConfig) -> DirectoryOptions {
    DirectoryOptions {
        application: "muralla-mail".to_owned(),
        copy: (config.copy != PathBuf::new()).then(|| config.copy.clone()),
        default_domain: config.default_domain.clone(),
        postmaster: config.postmaster.clone(),
        quota_bytes: config.quota,
        limits: config.limits,
        blocked_subscribers: config.blocked_subscribers,
        ..DirectoryOptions::default()
    }
}

pub(super) fn queue_options(config: &MailConfig) -> QueueOptions {
    let mut options = QueueOptions::new(config.hostname.as_str());
    if let Some(outgoing) = &config.outgoing {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        options.schedule = Schedule {
            waits: outgoing.waits.clone(),
            lifetime: seconds(outgoing.lifetime),
            delay: Some(seconds(outgoing.tell_delay)).filter(|delay| *delay > 0),
        };
    }
    options
}

pub(super) fn retention(config: &MailConfig) -> Retention {
    let days = |days: u32| (days > 0).then_some(days);
    Retention {
        inbox: days(config.inbox_days),
        spam: days(config.spam_days),
        trash: days(config.trash_days),
    }
}

pub(super) fn mx_settings(config: &MailConfig, mx: &MxConfig) -> mx::Settings {
    mx::Settings {
        hostname: config.hostname.clone(),
        offset_minutes: config.utc_offset_minutes,
        greeting_pause: mx.greeting_pause,
        hops: mx.hops,
        when_full: mx.when_full,
        patience: mx.patience,
    }
}

pub(super) fn submission_settings(
    config: &MailConfig,
    submission: &SubmissionConfig,
) -> submission::Settings {
    submission::Settings {
        hostname: config.hostname.clone(),
        offset_minutes: config.utc_offset_minutes,
        reveal_client: submission.reveal_client,
        patience: submission.patience,
    }
}

pub(super) fn mx_server(
    config: &MailConfig,
    mx: &MxConfig,
    certificates: Option<&Arc<Certificates>>,
) -> SmtpConfig {
    let mut server = SmtpConfig::new(Mode::Mx, config.hostname.clone());
    server.postmaster = config.postmaster.clone().or(server.postmaster);
    server.certificates = certificates.cloned();
    server.proxies = mx.proxies.clone();
    let limits = &mut server.limits;
    limits.largest_message = mx.largest_message;
    limits.recipients = mx.recipients;
    limits.refused_recipients = mx.refused_recipients;
    limits.connections = mx.connections;
    limits.connections_per_source = mx.connections_per_source;
    limits.memory = usize::try_from(mx.memory).unwrap_or(usize::MAX);
    limits.memory_per_source = limits.memory / SHARE;
    server
}

pub(super) fn submission_server(
    config: &MailConfig,
    submission: &SubmissionConfig,
    certificates: Option<&Arc<Certificates>>,
) -> SmtpConfig {
    let mut server = SmtpConfig::new(Mode::Submission, config.hostname.clone());
    server.postmaster = config.postmaster.clone().or(server.postmaster);
    server.certificates = certificates.cloned();
    server.proxies = submission.proxies.clone();
    let limits = &mut server.limits;
    limits.largest_message = submission.largest_message;
    limits.recipients = submission.recipients;
    limits.connections = submission.connections;
    limits.connections_per_source = submission.connections_per_source;
    limits.memory = usize::try_from(submission.memory).unwrap_or(usize::MAX);
    limits.memory_per_source = limits.memory / SHARE;
    server
}

pub(super) fn pop3_server(
    config: &MailConfig,
    pop3: &Pop3Config,
    scram: bool,
) -> muralla_pop3::Config {
    muralla_pop3::Config {
        name: config.hostname.as_str().to_owned(),
        unencrypted_login: pop3.unencrypted_login,
        scram,
        // What is told is what is done (RFC 2449 section 6.7).
        expire_days: retention(config).inbox,
        connections: pop3.connections,
        connections_per_source: pop3.connections_per_source,
        memory: pop3.memory,
        idle: pop3.idle,
        patience: pop3.patience,
        failure_delay: pop3.failure_delay,
        ..muralla_pop3::Config::default()
    }
}

/// Who asks back-ends for recipients, over TLS with whatever certificate where they have it: it needs no roots.
pub(super) fn inquiry(config: &MailConfig, around: &Surroundings) -> Result<Inquiry, StartError> {
    let trust = match &around.trust {
        Some(trust) => trust.clone(),
        None => Trust::of_roots(RootCertStore::empty())?,
    };
    Ok(Inquiry::new(Arc::clone(&around.names), trust, config.hostname.clone()))
}

pub(super) fn parts(
    config: &MailConfig,
    outgoing: &OutgoingConfig,
    around: &Surroundings,
    post: Post,
    recipients: Recipients,
    signer: Signer,
    lease: Duration,
) -> Result<Parts, StartError> {
    let trust = match &around.trust {
        Some(trust) => trust.clone(),
        None => Trust::system()?,
    };
    let name = outgoing.name.clone().unwrap_or_else(|| config.hostname.clone());
    let author = remote::daemon(&config.hostname).ok_or_else(|| {
        StartError::Config(vec!["[mail] hostname is no domain that mail can come from".to_owned()])
    })?;
    let mut caller = Caller::new(Arc::clone(&around.names), trust, name, outgoing.port);
    caller.source = outgoing.source;
    caller.keep = outgoing.keep;
    caller.loopback = around.loopback;
    caller.dane = outgoing.dane;
    caller.sts = outgoing.mta_sts.then(|| {
        let file = Some(outgoing.policies.clone()).filter(|file| *file != PathBuf::new());
        Sts::new(Arc::clone(&around.names), Arc::clone(&around.policies), file)
    });
    Ok(Parts {
        caller,
        sign_senders: outgoing.sign_senders,
        notices: Notices {
            recipients: ArcSwap::from_pointee(recipients),
            signer,
            hostname: config.hostname.clone(),
            author,
            offset_minutes: config.utc_offset_minutes,
            longest_return: usize::try_from(outgoing.longest_return).unwrap_or(usize::MAX),
            panics: AtomicU64::default(),
        },
        limits: Limits { most: outgoing.per_destination, ..Limits::default() },
        transactions: outgoing.transactions,
        memory: outgoing.memory,
        lease,
        post,
    })
}
