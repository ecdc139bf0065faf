//! Mail from our users: whoever proved who he is may send as himself, and as much as a person needs.

pub(crate) mod limits;
mod sharing;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use muralla_mail_directory::{
    AccountId, AccountView, LoginRefusal, Protocol, ScramChallenge, Target,
};
use muralla_mail_envelope::headers::{self, Received};
use muralla_mail_envelope::sasl::{Mechanism, Password};
use muralla_mail_envelope::{
    Address, Client, Domain, EnhancedCode, Envelope, MessageId, Recipient, Reply, ReversePath, scan,
};
use muralla_mail_queue::EventKind;
use muralla_smtp::server::{
    Conversation, Decision, Handler, Keys, MailFrom, NotGranted, Proved, Report,
};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::clock;
use crate::dkim::{self, Signer};
use crate::letter::Letter;
use crate::measures::{SessionCounts, Sessions};
use crate::perimeter::Placement;
use crate::plan::{Known, Plan, Surroundings};
use crate::post::{Post, Refusal, Refused};
use crate::recipients::{Nobody, Recipients};
use crate::sightings::{self, Lookout, Service};
use limits::{Limits, Spent};

/// What may change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) hostname: Domain,
    pub(crate) offset_minutes: i16,
    pub(crate) reveal_client: bool,
    pub(crate) patience: Duration,
}

/// Decides about mail from our users.
pub(crate) struct Submission {
    pub(crate) post: Post,
    pub(crate) recipients: ArcSwap<Recipients>,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) lookout: Arc<dyn Lookout>,
    pub(crate) limits: Limits,
    pub(crate) signer: Signer,
    pub(crate) counters: Counters,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    logins: AtomicU64,
    refused_logins: AtomicU64,
    accepted: AtomicU64,
    recipients: AtomicU64,
    octets: AtomicU64,
    foreign_senders: AtomicU64,
    limited: AtomicU64,
    put_off: AtomicU64,
    ended: Sessions,
}

/// What became of logins and messages since the start.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct SubmissionStatus {
    /// Users who were let in.
    pub logins: u64,
    /// Logins that were refused.
    pub refused_logins: u64,
    /// Messages that were taken.
    pub accepted: u64,
    /// Recipients of them.
    pub recipients: u64,
    /// Bytes of them.
    pub octets: u64,
    /// Messages refused as their sender is not the user's.
    pub foreign_senders: u64,
    /// Messages and recipients refused as the user sends too much.
    pub limited: u64,
    /// Messages put off as they could not be kept.
    pub put_off: u64,
    /// How connections ended, and what they were encrypted with.
    #[serde(default)]
    pub ended: SessionCounts,
}

/// What is remembered of a connection.
#[derive(Default)]
pub(crate) struct Memory {
    account: Option<AccountId>,
    /// A login that goes on.
    challenge: Option<(String, ScramChallenge)>,
    found: HashMap<Address, Known>,
    /// What the recipients of a message are called together in traces who were refused.
    refused: Option<MessageId>,
}

/// Addresses in `From` that are looked at.
const AUTHORS: usize = 20;

impl Submission {
    /// Has what is sent here count everywhere, until told to stop.
    pub(crate) async fn share_limits(&self, stop: watch::Receiver<bool>) {
        sharing::share(&self.limits, self.post.directory().registry(), stop).await;
    }

    pub(crate) fn status(&self) -> SubmissionStatus {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &self.counters;
        SubmissionStatus {
            logins: read(&counters.logins),
            refused_logins: read(&counters.refused_logins),
            accepted: read(&counters.accepted),
            recipients: read(&counters.recipients),
            octets: read(&counters.octets),
            foreign_senders: read(&counters.foreign_senders),
            limited: read(&counters.limited),
            put_off: read(&counters.put_off),
            ended: counters.ended.counts(),
        }
    }

    /// The account that logged in, as it is now.
    fn account(&self, memory: &Memory) -> Result<AccountView, Decision> {
        let account = memory.account.and_then(|id| self.post.directory().account(id));
        match account {
            Some(account) if account.disabled => Err(Decision::Close(Reply::new(
                421,
                Some(EnhancedCode::new(4, 7, 0)),
                "This account was switched off",
            ))),
            Some(account) if !account.may_send => Err(Decision::permanent(
                550,
                7,
                1,
                "This account may not send: please call your provider",
            )),
            Some(account) => Ok(account),
            None => Err(Decision::permanent(530, 7, 0, "Log in first")),
        }
    }

    fn limited(&self, spent: Spent) -> Decision {
        add(&self.counters.limited);
        let text = spent.to_string();
        // RFC 5321 section 4.5.3.1.10: the same message may go to the rest of them in another transaction.
        let (code, enhanced) = match spent.is_of_message() {
            true => (452, EnhancedCode::new(4, 5, 3)),
            false => (451, EnhancedCode::new(4, 7, 1)),
        };
        Decision::Say(Reply::new(code, Some(enhanced), &text))
    }

    fn refused(&self, refusal: LoginRefusal) -> NotGranted {
        add(&self.counters.refused_logins);
        match refusal {
            LoginRefusal::Wrong => NotGranted::Wrong,
            LoginRefusal::Busy => NotGranted::Away,
            LoginRefusal::Disabled => NotGranted::Disabled(Reply::new(
                525,
                Some(EnhancedCode::new(5, 7, 13)),
                "This account is switched off: please call your provider",
            )),
        }
    }

    /// Whether somebody gets what is sent there, and the user may send it to as many as `before` and him.
    async fn resolve(&self, memory: &mut Memory, before: usize, recipient: &Recipient) -> Decision {
        let account = match self.account(memory) {
            Ok(account) => account,
            Err(decision) => return decision,
        };
        let count = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        if let Err(spent) = self.limits.may(account.id, &account.limits, count, clock::now()) {
            return self.limited(spent);
        }
        let found = find(&self.recipients.load(), recipient);
        match found {
            Ok(known) if self.post.is_full(&known).await => full(),
            Ok(known) => {
                memory.found.insert(recipient.address.clone(), known);
                Decision::Accept
            }
            Err(nobody) => nobody.decision(),
        }
    }

    /// Tells traces what was refused.
    fn refuse(
        &self,
        id: MessageId,
        client: &Client,
        from: &ReversePath,
        recipients: &[Recipient],
        message: &[u8],
        decision: &Decision,
    ) {
        let kind = EventKind::Refused;
        self.post.note_refused(&Refused {
            kind,
            id,
            client,
            from,
            recipients,
            message,
            decision,
            kept: false,
        });
    }

    /// A user was let in.
    fn welcome(&self, client: &Client, account: &AccountView) {
        add(&self.counters.logins);
        info!(user = %account.name, client = %client.ip, "a login to submission");
        self.lookout.welcomed(client.ip, account.id);
    }

    /// Whether all who are said to have written it are the user: RFC 6409 section 6.1.
    fn is_own(&self, account: AccountId, message: &[u8]) -> Result<(), Decision> {
        let directory = self.post.directory();
        for name in ["From", "Sender"] {
            let fields = scan::fields(message).filter(|field| field.is(name));
            for field in fields {
                let authors = scan::addresses(&field.text(), AUTHORS).ok_or_else(|| {
                    let text = format!("The {name} of the message can't be read");
                    Decision::permanent(550, 6, 0, &text)
                })?;
                let foreign = authors.iter().find(|one| !directory.may_send_as(account, one));
                if let Some(foreign) = foreign {
                    add(&self.counters.foreign_senders);
                    let text = format!("You may not send as {foreign}: its {name} has to be yours");
                    return Err(Decision::permanent(550, 7, 1, &text));
                }
            }
        }
        Ok(())
    }

    /// What every message has to have, where the user's program left it out: RFC 6409 sections 8.1 and 8.3.
    fn missing(&self, envelope: &Envelope, message: &[u8]) -> String {
        let settings = self.settings.load();
        let mut head = String::new();
        if scan::first(message, "From").is_none()
            && let Some(sender) = envelope.from.address()
        {
            head.push_str(&format!("From: <{sender}>\r\n"));
        }
        if scan::first(message, "Date").is_none() {
            head.push_str(&headers::date(envelope.received_at, settings.offset_minutes));
        }
        if scan::first(message, "Message-ID").is_none() {
            let domain = envelope.from.address().and_then(Address::domain);
            let domain = domain.unwrap_or(&settings.hostname);
            head.push_str(&headers::message_id(&envelope.id, domain));
        }
        head
    }

    async fn take(
        &self,
        memory: &mut Memory,
        envelope: Envelope,
        message: &Bytes,
    ) -> Result<Decision, Decision> {
        let account = self.account(memory)?;
        self.is_own(account.id, message)?;
        let recipients = self.recipients.load_full();
        let mut known = Vec::with_capacity(envelope.recipients.len());
        for recipient in &envelope.recipients {
            let found = match memory.found.remove(&recipient.address) {
                Some(found) => found,
                None => find(&recipients, recipient).map_err(Nobody::decision)?,
            };
            known.push((recipient.clone(), found, Placement::Inbox));
        }
        let count = u32::try_from(known.len()).unwrap_or(u32::MAX);
        let now = clock::now();
        // Before it is taken: what is refused later was still tried.
        self.limits
            .spend(account.id, &account.limits, count, now)
            .map_err(|spent| self.limited(spent))?;
        let settings = self.settings.load_full();
        let received = headers::received(Received {
            envelope: &envelope,
            by: &settings.hostname,
            offset_minutes: settings.offset_minutes,
            conceal_client: !settings.reveal_client,
        });
        let missing = self.missing(&envelope, message);
        let author = dkim::author(message);
        let author = author.as_ref().or_else(|| envelope.from.address().and_then(Address::domain));
        let signed = match author {
            Some(author) => self.signer.sign(author, &missing, message, now).await,
            None => String::new(),
        };
        let head = format!("{received}{signed}{missing}");
        let around = Surroundings {
            keys: recipients.keys.as_ref(),
            forwarding: &recipients.forwarding,
            is_ours: &|domain| recipients.directory.is_local(domain),
            known: true,
        };
        let plan = Plan::new(envelope, known, message, &around);
        let letter = Letter::new(&plan, &head, message);
        match self.post.take(plan.clone(), &letter, settings.patience).await {
            Ok(taken) => {
                add(&self.counters.accepted);
                self.counters.recipients.fetch_add(u64::from(count), Relaxed);
                let octets = u64::try_from(message.len()).unwrap_or(u64::MAX);
                self.counters.octets.fetch_add(octets, Relaxed);
                self.post.note_taken(&plan, &letter, taken);
                Ok(Decision::Accept)
            }
            Err(Refusal::Full) => Err(full()),
            // Since they were named.
            Err(Refusal::Nobody) => Err(Nobody::Unknown.decision()),
            Err(Refusal::NoRoom(error)) => {
                add(&self.counters.put_off);
                warn!(id = %plan.envelope.id, %error, "a message is put off");
                let text = "There is no room for the message now: try again later";
                Err(Decision::temporary(452, 3, 1, text))
            }
            Err(Refusal::Never(error)) => {
                warn!(id = %plan.envelope.id, %error, "a message is refused");
                Err(Decision::permanent(552, 3, 4, "The message is too large to be stored"))
            }
            Err(Refusal::Fault(error)) => {
                add(&self.counters.put_off);
                error!(id = %plan.envelope.id, %error, "a message can't be stored: its sender tries again");
                let text = "The message can't be stored now: try again later";
                Err(Decision::temporary(451, 3, 0, text))
            }
        }
    }
}

fn full() -> Decision {
    Decision::permanent(552, 2, 2, "The mailbox is full")
}

/// Whoever is not ours is somebody elsewhere.
fn find(recipients: &Recipients, recipient: &Recipient) -> Result<Known, Nobody> {
    match recipients.find(&recipient.address, false, clock::now()) {
        Err(Nobody::NotOurs) => {
            let address = recipient.address.clone();
            Ok(Known::Targets(vec![Target::Forward { address, account: None }]))
        }
        found => found,
    }
}

impl Handler for Submission {
    type Memory = Memory;

    async fn mail(&self, memory: &mut Memory, _: Conversation<'_>, mail: &MailFrom) -> Decision {
        memory.found.clear();
        memory.refused = None;
        let account = match self.account(memory) {
            Ok(account) => account,
            Err(decision) => return decision,
        };
        let (directory, now) = (self.post.directory(), clock::now());
        if !directory.is_away() {
            sharing::know(&self.limits, directory.registry(), account.id, now).await;
        }
        if let Err(spent) = self.limits.may(account.id, &account.limits, 1, now) {
            return self.limited(spent);
        }
        // Nobody's is what mail programs send as when they confirm that something was read (RFC 8098 section 2.1).
        let Some(sender) = mail.from.address() else { return Decision::Accept };
        if self.post.directory().may_send_as(account.id, sender) {
            return Decision::Accept;
        }
        add(&self.counters.foreign_senders);
        let text = format!("You may not send as {sender}: it is not an address of yours");
        Decision::permanent(553, 7, 1, &text)
    }

    async fn rcpt(
        &self,
        memory: &mut Memory,
        about: Conversation<'_>,
        recipient: &Recipient,
    ) -> Decision {
        let before = about.transaction.map_or(0, |transaction| transaction.recipients.len());
        let decision = self.resolve(memory, before, recipient).await;
        if !decision.is_positive() {
            let id = *memory.refused.get_or_insert_with(|| MessageId(rand::random()));
            let from = about.transaction.map_or(&ReversePath::Null, |begun| &begun.mail.from);
            let recipients = std::slice::from_ref(recipient);
            self.refuse(id, about.client, from, recipients, &[], &decision);
        }
        decision
    }

    async fn message(
        &self,
        memory: &mut Memory,
        about: Conversation<'_>,
        envelope: Envelope,
        message: Bytes,
    ) -> Decision {
        let Envelope { id, from, recipients, .. } = envelope.clone();
        let decision = self.take(memory, envelope, &message).await.unwrap_or_else(|no| no);
        let (client, octets) = (about.client, message.len());
        let user = client.authenticated.as_deref();
        if decision.is_positive() {
            info!(%id, user, %from, recipients = recipients.len(), client = %client.ip, octets, "a message is taken");
        } else {
            debug!(%id, user, octets, ?decision, "a message was submitted");
            self.refuse(id, client, &from, &recipients, &message, &decision);
        }
        decision
    }

    async fn password(
        &self,
        memory: &mut Memory,
        about: Conversation<'_>,
        _: Mechanism,
        user: &str,
        password: &Password,
    ) -> Result<String, NotGranted> {
        let attempt = self.post.directory().login(user, Protocol::Submission);
        match attempt.check(password.reveal()).await {
            Ok(accepted) => {
                self.welcome(about.client, &accepted.account);
                memory.account = Some(accepted.account.id);
                Ok(accepted.account.name.to_string())
            }
            Err(refusal) => {
                info!(client = %about.client.ip, user = attempt.user(), %refusal, "a login is refused");
                Err(self.refused(refusal))
            }
        }
    }

    async fn keys(
        &self,
        memory: &mut Memory,
        _: Conversation<'_>,
        user: &str,
    ) -> Result<Keys, NotGranted> {
        let challenge = self.post.directory().login(user, Protocol::Submission).scram();
        let keys = Keys { salt: challenge.salt().to_vec(), iterations: challenge.iterations() };
        memory.challenge = Some((user.to_owned(), challenge));
        Ok(keys)
    }

    async fn proof(
        &self,
        memory: &mut Memory,
        about: Conversation<'_>,
        user: &str,
        message: &[u8],
        proof: &[u8],
    ) -> Result<Proved, NotGranted> {
        let challenge = memory.challenge.take().filter(|(name, _)| name == user);
        let Some((_, challenge)) = challenge else { return Err(NotGranted::Wrong) };
        match challenge.verify(message, proof) {
            Ok((accepted, signature)) => {
                self.welcome(about.client, &accepted.account);
                memory.account = Some(accepted.account.id);
                let account = accepted.account.name.to_string();
                Ok(Proved { account, signature: signature.to_vec() })
            }
            Err(refusal) => Err(self.refused(refusal)),
        }
    }

    fn has_scram(&self) -> bool {
        self.post.directory().offers_scram()
    }

    fn crowded(&self, source: IpAddr) {
        self.lookout.saw(sightings::crowded(Service::Submission, source));
    }

    async fn closed(&self, _: Memory, client: &Client, report: &Report) {
        self.counters.ended.ended(client, report);
        for sighting in sightings::of_smtp(Service::Submission, client.ip, report, (0, 0)) {
            self.lookout.saw(sighting);
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
