//! What can't be as it is written, and what works and should be known.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use muralla_filter_antivirus::clamd::Address as ClamdAddress;
use muralla_mail_directory::{Hidden, Location};

use super::{FilterConfig, MailConfig, ProxyConfig};

impl MailConfig {
    /// What can't be as it is written, each with what to do about it; empty when all is well.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.location().err());
        problems.extend(self.signing_keys().err());
        for (name, shard) in &self.shards {
            if let Err(error) = Location::from_str(shard.database.reveal()) {
                problems.push(format!("[mail.shards.{name}] database: {error}"));
            }
        }
        for (key, secret) in [("database", &self.database)]
            .into_iter()
            .chain(self.keys.iter().map(|key| ("keys", key)))
        {
            if secret.reveal().contains(Hidden::MARK) {
                problems.push(format!(
                    "[mail] {key}: \"{}\" stands where a secret was not shown: write the secret itself",
                    Hidden::MARK
                ));
            }
            // Nobody would be told that everybody knows it.
            if secret.reveal().contains("openssl rand") {
                problems.push(format!(
                    "[mail] {key}: what stands in the manual is no secret: write what `openssl rand -base64 24` prints"
                ));
            }
        }
        let mut demand = |holds: bool, text: &str| {
            if !holds {
                problems.push(text.to_owned());
            }
        };
        demand(
            self.mx.is_some()
                || self.submission.is_some()
                || self.outgoing.is_some()
                || self.pop3.is_some()
                || self.filter.as_ref().is_some_and(FilterConfig::is_asked),
            "[mail] has no role: add [mail.mx], [mail.submission], [mail.outgoing] or [mail.pop3], or have others ask [mail.filter]",
        );
        demand(
            self.spool.folder.is_absolute() && self.spool.messages > 0 && self.spool.size > 0,
            "[mail.spool] needs a folder whose path begins with /, and room for one message at least",
        );
        demand(
            self.utc_offset_minutes.abs() < 24 * 60,
            "[mail] utc_offset_minutes is less than a day",
        );
        if let Some(mx) = &self.mx {
            demand(!mx.listen.is_empty(), "[mail.mx] listens nowhere: give `listen` addresses");
            demand(mx.recipients >= 100, "[mail.mx] recipients: RFC 5321 asks for 100 at least");
            demand(
                (25..=100).contains(&mx.hops),
                "[mail.mx] hops is from 25 (long ways are none) to 100 (loops end)",
            );
            demand(
                mx.memory >= mx.largest_message,
                "[mail.mx] memory holds one message of the largest size at least",
            );
            demand(!mx.patience.is_zero(), "[mail.mx] patience is more than nothing");
        }
        if let Some(submission) = &self.submission {
            demand(
                !self.certificates.is_empty(),
                "[mail.submission] needs TLS: name a chain and a key under [[mail.certificates]]",
            );
            demand(
                !submission.listen.is_empty() || !submission.listen_tls.is_empty(),
                "[mail.submission] listens nowhere: give `listen` or `listen_tls` addresses",
            );
            demand(
                submission.memory >= submission.largest_message,
                "[mail.submission] memory holds one message of the largest size at least",
            );
        }
        if let Some(pop3) = &self.pop3 {
            demand(
                !pop3.listen.is_empty() || !pop3.listen_tls.is_empty(),
                "[mail.pop3] listens nowhere: give `listen` or `listen_tls` addresses",
            );
            demand(
                pop3.unencrypted_login || !self.certificates.is_empty(),
                "[mail.pop3] needs TLS for logins: name a chain and a key under [[mail.certificates]], or set \
                 unencrypted_login where all clients are on lines of your own",
            );
            demand(
                pop3.listen_tls.is_empty() || !self.certificates.is_empty(),
                "[mail.pop3] listen_tls needs a certificate: name one under [[mail.certificates]], or set it to []",
            );
            demand(
                pop3.idle >= Duration::from_secs(600),
                "[mail.pop3] idle is ten minutes at least (RFC 1939 section 3)",
            );
        }
        if let Some(outgoing) = &self.outgoing {
            demand(
                outgoing.transactions > 0 && outgoing.per_destination > 0,
                "[mail.outgoing] transactions and per_destination are 1 at least",
            );
            demand(!outgoing.lifetime.is_zero(), "[mail.outgoing] lifetime is more than nothing");
            // Whoever is between us and a server of DNS elsewhere may say that anything is proved, or that nothing is.
            let near = |server: &SocketAddr| server.ip().to_canonical().is_loopback();
            demand(
                !outgoing.dane
                    || !outgoing.resolvers.is_empty() && outgoing.resolvers.iter().all(near),
                "[mail.outgoing] dane needs `resolvers` on this machine that validate: [\"127.0.0.1:53\"] with [dns] here",
            );
            demand(
                outgoing.waits.iter().all(|wait| *wait > 0),
                "[mail.outgoing] waits are seconds, each of them 1 at least",
            );
        }
        let hops = self.filter.iter().flat_map(|filter| &filter.proxies).map(ProxyConfig::hop);
        let hops: Vec<String> = hops.filter_map(Result::err).collect();
        hops.iter().for_each(|problem| demand(false, problem));
        if let Some(filter) = &self.filter {
            demand(
                (1..=5).contains(&filter.tolerance),
                "[mail.filter] tolerance is from 1 (strict) to 5 (tolerant)",
            );
            demand(
                filter.clamd.as_deref().is_none_or(|place| place.parse::<ClamdAddress>().is_ok()),
                "[mail.filter] clamd is the path of its socket (LocalSocket in clamd.conf), or a host and a port",
            );
        }
        let mut seen = BTreeSet::new();
        for address in self.listened() {
            if address.port() != 0 && !seen.insert(address) {
                problems.push(format!("[mail] two roles listen on {address}: choose another"));
            }
        }
        problems
    }

    fn listened(&self) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        all.extend(self.mx.iter().flat_map(|mx| &mx.listen));
        if let Some(submission) = &self.submission {
            all.extend(submission.listen.iter().chain(&submission.listen_tls));
        }
        if let Some(pop3) = &self.pop3 {
            all.extend(pop3.listen.iter().chain(&pop3.listen_tls));
        }
        if let Some(filter) = &self.filter {
            all.extend(filter.milter.iter().chain(&filter.http));
            all.extend(filter.proxies.iter().map(|proxy| &proxy.listen));
        }
        all
    }

    /// What works, and that the operator should know of.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.keys.is_empty() && self.mx.is_some() {
            warnings.push(
                "[mail] keys are missing: forwarded mail keeps its sender, and fails SPF where it goes; take two from `openssl \
                 rand -base64 24`"
                    .to_owned(),
            );
        }
        if self.pop3.as_ref().is_some_and(|pop3| pop3.unencrypted_login) {
            warnings
                .push("[mail.pop3] unencrypted_login: passwords can be read on the way".to_owned());
        }
        if self.certificates.is_empty() && self.mx.is_some() {
            warnings.push("[mail.mx] offers no TLS: there are no [[mail.certificates]]".to_owned());
        }
        warnings
    }
}
