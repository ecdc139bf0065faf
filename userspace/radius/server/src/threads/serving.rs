//! What becomes of a request whose packet is in order: whose it is, and what is answered now or later.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use muralla_journal::{AppendError, Ticket};
use muralla_radius_policy::{Checked, Costly as Comparison};
use muralla_radius_wire::{
    Code, Packet, Requirement, Secret, Seen, Writer, proves_secret, verify_request,
    verify_request_from,
};
use muralla_sockets::datagrams::Path;

use super::{Acknowledgement, Bench, Clock, Errand, Parcel, SHARE, Served, Slow, milliseconds};
use crate::asked::Met;
use crate::desk::{Context, Question, Ruling};
use crate::listening::Service;
use crate::nases::Nas;
use crate::report::{Answer, Stage};

impl<'a> Served<'a> {
    /// The request, as the desk is asked about it.
    fn question(&self) -> Question<'a> {
        Question {
            packet: self.packet,
            source: self.path.peer,
            nas: self.nas,
            secret: self.secret,
            since: self.since,
            asking: self.asking,
        }
    }
}

impl Bench {
    /// Whose packet it is, and by which secret; none if nobody can say, or it belongs elsewhere.
    pub(super) fn recognise<'c>(
        &self,
        context: &'c Context,
        clock: &Clock,
        service: Service,
        packet: &Packet<'_>,
        path: &Path,
    ) -> Option<(&'c Arc<Nas>, &'c Secret)> {
        let fits = match packet.code() {
            Code::ACCESS_REQUEST => service == Service::Auth,
            Code::ACCOUNTING_REQUEST => service == Service::Acct,
            Code::STATUS_SERVER => true,
            _ => false,
        };
        if !fits {
            self.tally.reason(Stage::Dropped, "unexpected_code", 1);
            return None;
        }
        let found = context.nases.of(path.peer.ip());
        let (source, proven) = (path.peer.ip(), &self.desk.proven);
        let outcome = found.map(|nas| {
            verify_request_from(packet, &nas.secrets, nas.requirement, || {
                proven.of(source, &nas.secrets)
            })
        });
        if let (Some(nas), Some(Ok(index))) = (found, &outcome) {
            let counts = nas.counts.of(self.number);
            counts.seen.store(clock.wall.seconds(), Relaxed);
            if *index == 0 && nas.secrets.len() > 1 {
                counts.old_secret.store(clock.wall.seconds(), Relaxed);
            }
            if proves_secret(packet) {
                proven.note(source, &nas.secrets, *index);
            }
            return Some((nas, nas.secrets.get(*index)?));
        }
        // This machine itself, with a secret that nobody else has: the canary, and tests of the operator's.
        if context.is_own(path.peer.ip())
            && verify_request(packet, &context.own.secrets, Requirement::Required).is_ok()
        {
            return Some((&context.own, context.own.secrets.first()?));
        }
        let reason = match (found, outcome) {
            (Some(nas), Some(Err(unverified))) => {
                let reason = unverified.reason();
                nas.counts.of(self.number).refused(Stage::Unverified, reason);
                reason
            }
            _ => "unknown_client",
        };
        self.tally.reason(Stage::Unverified, reason, 1);
        self.tally.stranger(path.peer.ip(), reason, clock.wall.seconds());
        None
    }

    /// Whether a request other than a login was not answered before, nor is about to be. If it was, the same answer is sent again.
    pub(super) fn is_new(&mut self, clock: &Clock, served: &Served<'_>) -> bool {
        let counts = served.nas.counts.of(self.number);
        match self.replies.begin(served.identity, clock.now) {
            Seen::New => return true,
            Seen::UnderWay => {
                counts.repeated.fetch_add(1, Relaxed);
                self.tally.reason(Stage::Dropped, "under_way", 1);
            }
            Seen::Answered(reply) => {
                counts.repeated.fetch_add(1, Relaxed);
                let len = reply.len();
                if let Some(room) = self.outbox.room().and_then(|room| room.get_mut(..len)) {
                    room.copy_from_slice(reply);
                    self.outbox.push(len, served.path);
                    self.hold(Answer::Repeat);
                }
            }
        }
        false
    }

    /// Whether an Access-Request is to be decided: no other thread has answered the same, nor is about to. If one has, a copy of its
    /// answer is sent.
    pub(super) fn is_to_be_decided(&mut self, clock: &Clock, served: &mut Served<'_>) -> bool {
        let counts = served.nas.counts.of(self.number);
        let room = match self.outbox.room() {
            Some(room) => room.as_mut_slice(),
            None => &mut [],
        };
        match self.desk.asked.begin(
            &served.nas.name,
            served.packet,
            served.path.peer,
            clock.now,
            room,
        ) {
            Met::New(asking) => {
                served.asking = Some(asking);
                return true;
            }
            Met::UnderWay => {
                counts.repeated.fetch_add(1, Relaxed);
                self.tally.reason(Stage::Dropped, "under_way", 1);
            }
            Met::Answered(len) => {
                counts.repeated.fetch_add(1, Relaxed);
                self.outbox.push(len, served.path);
                self.hold(Answer::Repeat);
            }
            Met::TooOften => self.drop_request(served, "replayed"),
        }
        false
    }

    /// Decides on an Access-Request. `checked` is of a password that was looked at elsewhere.
    pub(super) fn authorise(
        &mut self,
        context: &Context,
        clock: &Clock,
        served: &Served<'_>,
        checked: Option<Checked>,
    ) {
        let counts = served.nas.counts.of(self.number);
        if checked.is_none() {
            counts.requests.fetch_add(1, Relaxed);
        }
        let Some(room) = self.outbox.room() else {
            return self.drop_request(served, "unsent");
        };
        let question = served.question();
        match self.desk.authorise(context, &question, checked, clock.now, clock.wall, room) {
            Ruling::Accept(len) => {
                counts.accepted.fetch_add(1, Relaxed);
                let reply = room.get(..len).unwrap_or_default();
                if let Some(asking) = &served.asking {
                    self.desk.asked.decided(asking, clock.now);
                    self.desk.asked.answered(asking, reply, clock.now);
                }
                self.outbox.push(len, served.path);
                self.hold(Answer::Accept);
            }
            Ruling::Reject(len, reason) => {
                counts.refused(Stage::Rejected, reason);
                self.tally.reason(Stage::Rejected, reason, 1);
                let reply = room.get(..len).unwrap_or_default();
                if let Some(asking) = &served.asking {
                    self.desk.asked.decided(asking, clock.now);
                }
                let delay = context.answers.reject_delay;
                if delay.is_zero() || self.later.waiting() >= context.limits.delayed_rejects {
                    if let Some(asking) = &served.asking {
                        self.desk.asked.answered(asking, reply, clock.now);
                    }
                    self.outbox.push(len, served.path);
                    return self.hold(Answer::Reject);
                }
                let mut bytes = self.spare.pop().unwrap_or_default();
                bytes.extend_from_slice(reply);
                let due = milliseconds(clock.now.duration_since(self.begun) + delay);
                let Served { port, identity, asking, .. } = *served;
                self.later.add(due, Parcel { port, path: *served.path, identity, asking, bytes });
                self.tally.answered(Answer::Reject, served.since.elapsed());
            }
            Ruling::Drop(reason) => self.drop_request(served, reason),
            Ruling::Costly(comparison) => self.check_elsewhere(served, comparison),
        }
    }

    /// Has a password checked by a thread that may take its time.
    fn check_elsewhere(&mut self, served: &Served<'_>, comparison: Comparison) {
        let number = self.next_slow;
        self.next_slow += 1;
        let errand = Errand { mailbox: Arc::clone(&self.mailbox), number, checked: None };
        let is_copy = served.asking.is_some_and(|asking| asking.is_copy);
        if self.costly.submit(Box::new(move || errand.run(comparison)), is_copy).is_err() {
            return self.drop_request(served, "costly_queue_full");
        }
        let slow = Slow {
            port: served.port,
            path: *served.path,
            nas: Arc::clone(served.nas),
            secret: served.secret.clone(),
            packet: served.packet.bytes().to_vec(),
            asking: served.asking,
            since: served.since,
        };
        self.slow.insert(number, slow);
    }

    /// Writes a record into the journal. The answer waits until it is durable.
    pub(super) fn account(&mut self, context: &Context, clock: &Clock, served: &Served<'_>) {
        let counts = served.nas.counts.of(self.number);
        counts.accounting.fetch_add(1, Relaxed);
        let most = context.limits.pending_acknowledgements;
        if self.acknowledgements.len() >= most {
            return self.drop_request(served, "too_many_pending");
        }
        // One NAS that sends more than the disk takes leaves room for the others.
        if counts.pending.load(Relaxed) >= (most as u64 / SHARE).max(1) {
            return self.drop_request(served, "too_many_pending_of_nas");
        }
        let question = served.question();
        let digest = self.desk.recent.digest(&served.nas.name, served.packet.bytes());
        let since = clock.now.duration_since(self.desk.begun()).as_secs();
        if let Some(ticket) = self.desk.recent.find(digest, since) {
            return self.account_again(served, &question, ticket);
        }
        let payload = match self.desk.record(&question, clock.wall, &mut self.scratch) {
            Ok(payload) => payload,
            Err(reason) => return self.drop_request(served, reason),
        };
        let Some(room) = self.outbox.room() else {
            return self.drop_request(served, "unsent");
        };
        let Some(len) = self.desk.acknowledge(&question, room) else {
            return self.drop_request(served, "reply_too_long");
        };
        // Last, so that nothing is written that is not answered.
        let ticket = match self.appender.append_at(&[payload], clock.wall.time()) {
            Ok(ticket) => ticket,
            Err(error) => {
                let reason = match error {
                    AppendError::Busy => "journal_busy",
                    AppendError::Full => "journal_full",
                    AppendError::Failed => "journal_failed",
                    AppendError::TooLong => "record_too_long",
                    AppendError::Closed => "journal_closed",
                };
                return self.drop_request(served, reason);
            }
        };
        // Before anybody can know of it, so that who asks next finds it.
        if let Some(news) = self.scratch.news.take() {
            self.desk.pending.add(news, ticket);
        }
        self.desk.recent.remember(digest, ticket, self.scratch.life, since);
        self.acknowledge_later(served, ticket, false, len);
    }

    /// Answers a request whose record was appended when it came another way.
    fn account_again(&mut self, served: &Served<'_>, question: &Question<'_>, ticket: Ticket) {
        served.nas.counts.of(self.number).repeated.fetch_add(1, Relaxed);
        let Some(room) = self.outbox.room() else {
            return self.drop_request(served, "unsent");
        };
        let Some(len) = self.desk.acknowledge(question, room) else {
            return self.drop_request(served, "reply_too_long");
        };
        if !self.appender.is_durable(ticket) {
            return self.acknowledge_later(served, ticket, true, len);
        }
        let reply = room.get(..len).unwrap_or_default();
        self.replies.answered(served.identity, reply, served.since);
        self.outbox.push(len, served.path);
        self.hold(Answer::Repeat);
    }

    /// Keeps the answer that lies in the outbox's room until a record is durable.
    fn acknowledge_later(
        &mut self,
        served: &Served<'_>,
        ticket: Ticket,
        borrowed: bool,
        len: usize,
    ) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        let room = self.outbox.room();
        bytes.extend_from_slice(room.and_then(|room| room.get(..len)).unwrap_or_default());
        let (port, path, identity) = (served.port, *served.path, served.identity);
        served.nas.counts.of(self.number).pending.fetch_add(1, Relaxed);
        self.borrowed += usize::from(borrowed);
        self.acknowledgements.push_back(Acknowledgement {
            ticket,
            borrowed,
            parcel: Parcel { port, path, identity, asking: None, bytes },
            nas: Arc::clone(served.nas),
            since: served.since,
        });
    }

    /// Answers a Status-Server (RFC 5997).
    pub(super) fn tell_status(&mut self, context: &Context, served: &Served<'_>, service: Service) {
        let own = Arc::ptr_eq(served.nas, &context.own);
        // A NAS is to ask another server as long as this one knows nobody. Whoever watches this process is to know that it
        // is alive, since a restart would not help.
        if service == Service::Auth && !own && !self.desk.is_ready() {
            return self.drop_request(served, "not_ready");
        }
        let code = match service {
            Service::Auth => Code::ACCESS_ACCEPT,
            Service::Acct => Code::ACCOUNTING_RESPONSE,
        };
        let Some(room) = self.outbox.room() else {
            return self.drop_request(served, "unsent");
        };
        let mut writer = Writer::reply(room, code, served.packet, served.secret);
        writer.copy_proxy_state(served.packet);
        let Ok(len) = writer.finish() else {
            return self.drop_request(served, "reply_too_long");
        };
        self.replies.answered(served.identity, room.get(..len).unwrap_or_default(), served.since);
        self.outbox.push(len, served.path);
        self.hold(Answer::Status);
    }

    /// Does not answer; what is sent again is looked at anew.
    pub(super) fn drop_request(&mut self, served: &Served<'_>, reason: &'static str) {
        served.nas.counts.of(self.number).refused(Stage::Dropped, reason);
        match &served.asking {
            Some(asking) => self.desk.asked.forget(asking),
            None => self.replies.forget(served.identity),
        }
        self.tally.reason(Stage::Dropped, reason, 1);
    }
}
