//! Where other mail systems ask: as a milter, over HTTP as they ask rspamd, and through proxies.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use muralla_filter_origin::Conduct;
use muralla_filter_perimeter::http::{Asking, Server as HttpServer};
use muralla_filter_perimeter::milter::Server as MilterServer;
use muralla_filter_perimeter::proxy::{Relay, Server as ProxyServer};
use muralla_filter_perimeter::{Config, Judge, Learned, Lesson, Question, Status, Verdict};
use muralla_filter_statistics as statistics;
use muralla_mail_envelope::{Address, ReversePath};
use muralla_smtp::client::Speaks;
use tokio::net::TcpListener;

use super::{Facts, Guard, answers, user};
use crate::clock;
use crate::config::{FilterConfig, MailConfig, ProxyConfig};
use crate::listening::Service;

/// Where other mail systems ask.
pub(crate) struct Doors {
    milter: MilterServer,
    http: HttpServer,
    proxies: Vec<(SocketAddr, ProxyServer)>,
}

impl Doors {
    pub(crate) fn new(config: &MailConfig, filter: &FilterConfig, guard: &Arc<Guard>) -> Self {
        let judge = || Arc::clone(guard) as Arc<dyn Judge>;
        let mut common = Config::default();
        if !filter.clients.is_empty() {
            common.trusted.clone_from(&filter.clients);
        }
        common.policy.marks.authserv = Some(config.hostname.clone());
        let password = filter.password.as_ref().map(|password| password.reveal().to_owned());
        let asking = Asking { quarantine: false, password };
        let proxies = filter.proxies.iter().filter_map(|proxy| {
            let mut relay = relay(config, proxy)?;
            relay.believed.clone_from(&common.trusted);
            Some((proxy.listen, ProxyServer::new(common.clone(), relay, judge())))
        });
        Self {
            milter: MilterServer::new(common.clone(), judge()),
            http: HttpServer::new(common.clone(), asking, judge()),
            proxies: proxies.collect(),
        }
    }

    /// Serves whoever comes to a listener, until it is stopped.
    pub(crate) async fn listen(
        &self,
        service: Service,
        address: SocketAddr,
        listener: TcpListener,
    ) {
        match service {
            Service::Milter => self.milter.listen(listener.into()).await,
            Service::FilterHttp => self.http.listen(listener.into()).await,
            _ => {
                if let Some((_, proxy)) = self.proxies.iter().find(|(at, _)| *at == address) {
                    proxy.listen(listener.into()).await;
                }
            }
        }
    }

    pub(crate) async fn stop(&self) {
        self.milter.stop();
        self.http.stop();
        self.proxies.iter().for_each(|(_, proxy)| proxy.stop());
        self.milter.stopped().await;
        self.http.stopped().await;
        for (_, proxy) in &self.proxies {
            proxy.stopped().await;
        }
    }

    /// What each is doing, by its name.
    pub(crate) fn status(&self) -> Vec<(String, Status)> {
        let mut all = vec![
            ("milter".to_owned(), self.milter.status()),
            ("http".to_owned(), self.http.status()),
        ];
        let proxies = self.proxies.iter();
        all.extend(proxies.map(|(at, proxy)| (format!("proxy {at}"), proxy.status())));
        all
    }
}

/// As it is configured; nothing if that can't be, which was told before.
fn relay(config: &MailConfig, proxy: &ProxyConfig) -> Option<Relay> {
    let speaks = if proxy.lmtp { Speaks::Lmtp } else { Speaks::Smtp };
    let mut relay = Relay::new(speaks, config.hostname.clone(), proxy.hop().ok()?);
    relay.offset_minutes = config.utc_offset_minutes;
    Some(relay)
}

impl Judge for Guard {
    fn judge<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Verdict> {
        async move {
            let recipients: Vec<Address> =
                question.recipients.iter().filter_map(|one| one.address.clone()).collect();
            // Who has an address that is none has the verdict that holds for anybody.
            let all_known = recipients.len() == question.recipients.len();
            let sender = question.sender.as_ref().and_then(|sender| sender.address.clone());
            let from = sender.map_or(ReversePath::Null, ReversePath::Address);
            let tolerance = self.settings.load().tolerance;
            let mut verdict = self
                .verdict(Facts {
                    id: question.queue_id.as_deref().unwrap_or("-"),
                    ip: question.origin.ip,
                    name: question.origin.name.as_ref(),
                    helo: question.origin.helo.as_deref().unwrap_or_default(),
                    from: &from,
                    from_us: question.origin.authenticated.is_some(),
                    recipients: if all_known { &recipients } else { &[] },
                    conduct: Conduct::default(),
                    message: &question.message,
                })
                .await;
            if let [one] = verdict.outcomes.as_slice() {
                verdict.outcomes = vec![*one; question.recipients.len().max(1)];
            }
            let refuse_from = tolerance.refuse_from();
            answers::for_others(verdict, tolerance.level.spam_from(), refuse_from)
        }
        .boxed()
    }

    fn learn<'a>(&'a self, lesson: &'a Lesson) -> BoxFuture<'a, Learned> {
        async move {
            use statistics::{Class, Day, Teacher};
            let now = clock::now();
            let address = lesson.user.as_ref().map(|user| user.address.clone());
            let teacher = match address {
                None => Teacher::Operator,
                Some(address) => {
                    let account = address.and_then(|address| self.accounts(&[address]).pop()?);
                    match account {
                        Some(account) => Teacher::User(user(account)),
                        None => return Learned::Refused("nobody has that address".to_owned()),
                    }
                }
            };
            let learned = statistics::Lesson {
                class: if lesson.spam { Class::Spam } else { Class::Ham },
                teacher,
                weight: 1.0,
                day: Day(u32::try_from(now.div_euclid(86_400)).unwrap_or_default()),
            };
            match self.filter.learn(&lesson.message, learned, now).await {
                Some(_) => Learned::Now,
                None => Learned::Refused("it can't be read".to_owned()),
            }
        }
        .boxed()
    }
}
