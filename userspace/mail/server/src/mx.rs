//! Mail from other servers: whom it is for is known from memory, what is judged is judged before 250, and 250 means durable.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use muralla_mail_directory::{AccountId, Target};
use muralla_mail_envelope::headers::{self, Received};
use muralla_mail_envelope::{
    Address, Client, Domain, Envelope, MessageId, Recipient, Reply, ReversePath, scan,
};
use muralla_mail_queue::EventKind;
use muralla_mail_store::rejects::BYTES;
use muralla_smtp::server::{Conversation, Decision, Handler, MailFrom, Peer, Report, Welcome};
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::clock;
use crate::config::WhenFull;
use crate::inquiry::{Found, Inquiry, InquiryStatus};
use crate::letter::Letter;
use crate::measures::{SessionCounts, Sessions};
use crate::perimeter::{self, Arrival, Judgement, Perimeter, Placement};
use crate::plan::{Known, Plan, Surroundings};
use crate::post::{Post, Refusal, Refused};
use crate::recipients::{Nobody, Recipients};
use crate::rejects::{self, Left, Parted};
use crate::sightings::{self, Lookout, Service};

/// What may change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) hostname: Domain,
    pub(crate) offset_minutes: i16,
    pub(crate) greeting_pause: Duration,
    pub(crate) hops: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) patience: Duration,
}

/// Decides about mail from other servers.
pub(crate) struct Mx {
    pub(crate) post: Post,
    pub(crate) recipients: ArcSwap<Recipients>,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) perimeter: Arc<dyn Perimeter>,
    pub(crate) lookout: Arc<dyn Lookout>,
    pub(crate) inquiry: Inquiry,
    pub(crate) counters: Counters,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sessions: AtomicU64,
    early: AtomicU64,
    accepted: AtomicU64,
    octets: AtomicU64,
    unknown: AtomicU64,
    relayed: AtomicU64,
    backscatter: AtomicU64,
    full: AtomicU64,
    loops: AtomicU64,
    judged: AtomicU64,
    kept: AtomicU64,
    unkept: AtomicU64,
    unjudged: AtomicU64,
    no_room: AtomicU64,
    never: AtomicU64,
    disabled: AtomicU64,
    astray: AtomicU64,
    ended: Sessions,
}

/// What became of connections and messages since the start.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct MxStatus {
    /// Connections that ended.
    pub sessions: u64,
    /// Of these, those whose client spoke before he was greeted.
    pub early: u64,
    /// Messages that got a 250.
    pub accepted: u64,
    /// Bytes of them.
    pub octets: u64,
    /// Recipients refused as nobody has the address.
    pub unknown: u64,
    /// Recipients refused as the domain is none of ours.
    pub relayed: u64,
    /// Recipients refused as what comes back to them answers nothing that was sent from here.
    pub backscatter: u64,
    /// Recipients and messages put off or refused as the mailbox is full.
    pub full: u64,
    /// Messages refused as they go round in a circle.
    pub loops: u64,
    /// Messages that the filter refused, for all recipients or for some.
    pub refused: u64,
    /// Copies of them that were put into Rejects.
    #[serde(default)]
    pub kept: u64,
    /// Copies of them that could not be.
    #[serde(default)]
    pub unkept: u64,
    /// Messages that the filter took too long for.
    pub unjudged: u64,
    /// Messages put off as they could be kept nowhere.
    pub no_room: u64,
    /// Messages that can't be stored at all: refused if they are too large, and put off otherwise.
    pub never: u64,
    /// Recipients refused as they take no mail.
    #[serde(default)]
    pub disabled: u64,
    /// Recipients put off as what was entered for them leads round in a circle, or to too many.
    #[serde(default)]
    pub astray: u64,
    /// What back-ends said of recipients who are not known here.
    #[serde(default)]
    pub inquiries: InquiryStatus,
    /// How connections ended, and what they were encrypted with.
    #[serde(default)]
    pub ended: SessionCounts,
}

/// What is remembered of a connection.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Recipients of the message that is being sent, as they were found.
    found: HashMap<Address, Known>,
    /// What its recipients are called together in traces who were refused.
    refused: Option<MessageId>,
    from_nobody: bool,
    relayed: u32,
    spam: u32,
    /// Whether there are copies of the message, if the filter refused it for all.
    filtered: Option<bool>,
}

/// Longest that the filter may take. What it has not judged then is delivered, and can be looked at again.
const JUDGING: Duration = Duration::from_secs(30);

impl Mx {
    pub(crate) fn status(&self) -> MxStatus {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &self.counters;
        MxStatus {
            sessions: read(&counters.sessions),
            early: read(&counters.early),
            accepted: read(&counters.accepted),
            octets: read(&counters.octets),
            unknown: read(&counters.unknown),
            relayed: read(&counters.relayed),
            backscatter: read(&counters.backscatter),
            full: read(&counters.full),
            loops: read(&counters.loops),
            refused: read(&counters.judged),
            kept: read(&counters.kept),
            unkept: read(&counters.unkept),
            unjudged: read(&counters.unjudged),
            no_room: read(&counters.no_room),
            never: read(&counters.never),
            disabled: read(&counters.disabled),
            astray: read(&counters.astray),
            inquiries: self.inquiry.status(),
            ended: counters.ended.counts(),
        }
    }

    fn when_full(&self) -> Decision {
        add(&self.counters.full);
        match self.settings.load().when_full {
            WhenFull::Defer => {
                Decision::temporary(452, 2, 2, "The mailbox is full: try again later")
            }
            WhenFull::Refuse => Decision::permanent(552, 2, 2, "The mailbox is full"),
        }
    }

    /// Whether he is taken where his mail goes, where others know more than we do.
    async fn is_taken(&self, known: &Known) -> Result<(), Decision> {
        let Known::Targets(targets) = known else { return Ok(()) };
        match self.inquiry.ask(self.post.directory(), targets).await {
            Found::Known => Ok(()),
            Found::Unsure => Err(Nobody::UnknownForNow.decision()),
            Found::Unknown(reply) => {
                // What does not say that nobody has the address is told as it was said: RFC 3463 section 3.2.
                Err(match reply.enhanced.filter(|code| code.subject != 1) {
                    None => Nobody::Unknown.decision(),
                    Some(_) => Decision::Say(Reply::new(550, reply.enhanced, &reply.text)),
                })
            }
        }
    }

    /// Recipients as they were found when they were named, or are found now.
    fn known(
        &self,
        memory: &mut Memory,
        envelope: &Envelope,
    ) -> Result<Vec<(Recipient, Known)>, Nobody> {
        let recipients = self.recipients.load();
        let found = envelope.recipients.iter().map(|recipient| {
            let known = match memory.found.remove(&recipient.address) {
                Some(known) => known,
                None => recipients.find(
                    &recipient.address,
                    envelope.from.is_null(),
                    envelope.received_at,
                )?,
            };
            Ok((recipient.clone(), known))
        });
        found.collect()
    }

    /// Whether somebody gets what is sent there.
    async fn resolve(&self, memory: &mut Memory, recipient: &Recipient) -> Decision {
        let recipients = self.recipients.load_full();
        let found = recipients.find(&recipient.address, memory.from_nobody, clock::now());
        match found {
            Ok(known) if self.post.is_full(&known).await => self.when_full(),
            Ok(known) => match self.is_taken(&known).await {
                Ok(()) => {
                    memory.found.insert(recipient.address.clone(), known);
                    Decision::Accept
                }
                Err(decision) => {
                    add(&self.counters.unknown);
                    decision
                }
            },
            Err(nobody) => {
                match nobody {
                    Nobody::NotOurs => {
                        memory.relayed += 1;
                        add(&self.counters.relayed);
                    }
                    Nobody::Unknown | Nobody::UnknownForNow | Nobody::Forged => {
                        add(&self.counters.unknown);
                    }
                    Nobody::Unsigned => add(&self.counters.backscatter),
                    Nobody::Disabled => add(&self.counters.disabled),
                    Nobody::Astray => add(&self.counters.astray),
                }
                nobody.decision()
            }
        }
    }

    async fn judge(&self, envelope: &Envelope, message: &Bytes, report: &Report) -> Judgement {
        let judging = self.perimeter.judge(Arrival { envelope, message, report });
        match timeout(JUDGING, judging).await {
            Ok(judgement) => judgement,
            Err(_) => {
                add(&self.counters.unjudged);
                warn!(id = %envelope.id, "the filter took too long: a message is delivered that it has not judged");
                Judgement::Take { head: String::new(), placements: Vec::new() }
            }
        }
    }

    async fn take(
        &self,
        memory: &mut Memory,
        report: &Report,
        envelope: Envelope,
        message: &Bytes,
    ) -> Decision {
        let settings = self.settings.load_full();
        if scan::hops(message) >= settings.hops {
            add(&self.counters.loops);
            return Decision::permanent(554, 4, 6, "The message goes round in a circle");
        }
        let known = match self.known(memory, &envelope) {
            Ok(known) => known,
            Err(nobody) => return nobody.decision(),
        };
        // What went on from here, for all of them, and came back.
        let circles = |(recipient, known): &(Recipient, Known)| {
            matches!(known, Known::Targets(targets) if targets.iter().all(|target| matches!(target, Target::Forward { .. })))
                && scan::was_delivered_to(message, &recipient.address)
        };
        if known.iter().all(circles) {
            add(&self.counters.loops);
            return Decision::permanent(554, 4, 6, "The message goes round in a circle");
        }
        let judgement = self.judge(&envelope, message, report).await;
        let (envelope, head, placed) = match judgement {
            Judgement::Take { head, placements } => {
                let mut placements = placements.into_iter();
                let placed = known.into_iter().map(|(recipient, known)| {
                    (recipient, known, placements.next().unwrap_or(Placement::Inbox))
                });
                (envelope, head, placed.collect::<Vec<_>>())
            }
            Judgement::Refuse(refusal) => {
                match self.refuse(memory, &envelope, message, known, refusal).await {
                    Ok((recipients, head, placed)) => {
                        (Envelope { recipients, ..envelope }, head, placed)
                    }
                    Err(decision) => return decision,
                }
            }
        };
        let head = format!("{head}{}", received(&settings, &envelope));
        let recipients = self.recipients.load_full();
        let around = Surroundings {
            keys: recipients.keys.as_ref(),
            forwarding: &recipients.forwarding,
            is_ours: &|domain| recipients.directory.is_local(domain),
            known: false,
        };
        let plan = Plan::new(envelope, placed, message, &around);
        let letter = Letter::new(&plan, &head, message);
        match self.post.take(plan.clone(), &letter, settings.patience).await {
            Ok(taken) => {
                add(&self.counters.accepted);
                let octets = u64::try_from(message.len()).unwrap_or(u64::MAX);
                self.counters.octets.fetch_add(octets, Relaxed);
                self.post.note_taken(&plan, &letter, taken);
                Decision::Accept
            }
            Err(Refusal::Full) => self.when_full(),
            // Since they were named.
            Err(Refusal::Nobody) => {
                add(&self.counters.unknown);
                Nobody::Unknown.decision()
            }
            Err(Refusal::NoRoom(error)) => {
                add(&self.counters.no_room);
                warn!(id = %plan.envelope.id, %error, "a message is put off");
                Decision::temporary(
                    452,
                    3,
                    1,
                    "There is no room for the message now: try again later",
                )
            }
            Err(Refusal::Never(error)) => {
                add(&self.counters.never);
                warn!(id = %plan.envelope.id, %error, "a message is refused");
                Decision::permanent(552, 3, 4, "The message is too large to be stored")
            }
            Err(Refusal::Fault(error)) => {
                add(&self.counters.never);
                error!(id = %plan.envelope.id, %error, "a message can't be stored: its sender tries again");
                Decision::temporary(451, 3, 0, "The message can't be stored now: try again later")
            }
        }
    }
}

/// Who gets a message, what stands above it, and where it goes.
type Rest = (Vec<Recipient>, String, Vec<(Recipient, Known, Placement)>);

impl Mx {
    /// Refuses a message for whom it is refused: tells what is left to be done for the others, or what its sender hears if there are
    /// none.
    async fn refuse(
        &self,
        memory: &mut Memory,
        envelope: &Envelope,
        message: &Bytes,
        known: Vec<(Recipient, Known)>,
        refusal: perimeter::Refusal,
    ) -> Result<Rest, Decision> {
        let perimeter::Refusal { reply, keep, head, placements } = refusal;
        let parted = Parted::new(known, placements);
        let (id, client) = (envelope.id, &envelope.client);
        let kept = match keep && reply.is_permanent() {
            true => self.keep(envelope, message, &parted, &head, &reply).await,
            false => BTreeSet::new(),
        };
        add(&self.counters.judged);
        // What is refused for a while is no spam yet.
        memory.spam += u32::from(reply.is_permanent());
        info!(%id, client = %client.ip, %reply, copies = kept.len(), "a message is refused");
        if parted.is_refused_by_all() {
            memory.filtered = Some(!kept.is_empty());
            return Err(Decision::Say(reply));
        }
        // Others have it, so that its sender can't be told: what is not kept is not lost either.
        let instead = if keep { Placement::Spam } else { Placement::Hold };
        let Left { placed, refused } = parted.left(&kept, instead);
        self.post.note_refused(&Refused {
            kind: EventKind::Filtered,
            id,
            client,
            from: &envelope.from,
            recipients: &refused,
            message,
            decision: &Decision::Say(reply),
            kept: !kept.is_empty(),
        });
        let takers = placed.iter().map(|(recipient, ..)| recipient.clone()).collect();
        Ok((takers, head, placed))
    }

    /// Keeps copies of a message for those for whom it is refused: tells for which mailboxes it could.
    async fn keep(
        &self,
        envelope: &Envelope,
        message: &Bytes,
        parted: &Parted,
        head: &str,
        reply: &Reply,
    ) -> BTreeSet<AccountId> {
        let copies = parted.copies();
        let wanted = copies.len();
        let is_large = u64::try_from(message.len()).is_ok_and(|octets| octets > BYTES);
        let kept = if copies.is_empty() || is_large {
            BTreeSet::new()
        } else {
            let settings = self.settings.load_full();
            // One for whom it is refused does not hear of the others.
            let envelope = Envelope { recipients: parted.refused(), ..envelope.clone() };
            let why = rejects::field(&envelope.id, reply);
            let head = format!("{why}{head}{}", received(&settings, &envelope));
            let plan = rejects::plan(envelope, copies, message);
            let letter = Letter::new(&plan, &head, message);
            self.post.keep(&plan, &letter, settings.patience).await
        };
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.counters.kept.fetch_add(count(kept.len()), Relaxed);
        self.counters.unkept.fetch_add(count(wanted.saturating_sub(kept.len())), Relaxed);
        kept
    }
}

/// What says above a message how it came.
fn received(settings: &Settings, envelope: &Envelope) -> String {
    headers::received(Received {
        envelope,
        by: &settings.hostname,
        offset_minutes: settings.offset_minutes,
        conceal_client: false,
    })
}

impl Handler for Mx {
    type Memory = Memory;

    async fn connected(&self, _: &mut Memory, peer: Peer) -> Welcome {
        let source = peer.remote.ip().to_canonical();
        let decision = self.perimeter.welcome(source).map_or(Decision::Accept, Decision::Close);
        let pause = self.settings.load().greeting_pause;
        Welcome { decision, name: None, pause, refuse_early: true }
    }

    async fn mail(&self, memory: &mut Memory, _: Conversation<'_>, mail: &MailFrom) -> Decision {
        memory.found.clear();
        memory.refused = None;
        memory.from_nobody = mail.from.is_null();
        Decision::Accept
    }

    async fn rcpt(
        &self,
        memory: &mut Memory,
        about: Conversation<'_>,
        recipient: &Recipient,
    ) -> Decision {
        let decision = self.resolve(memory, recipient).await;
        if !decision.is_positive() {
            let id = *memory.refused.get_or_insert_with(|| MessageId(rand::random()));
            let from = about.transaction.map_or(&ReversePath::Null, |begun| &begun.mail.from);
            self.post.note_refused(&Refused {
                kind: EventKind::Refused,
                id,
                client: about.client,
                from,
                recipients: std::slice::from_ref(recipient),
                message: &[],
                decision: &decision,
                kept: false,
            });
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
        memory.filtered = None;
        let decision = self.take(memory, about.report, envelope, &message).await;
        let (client, octets) = (about.client, message.len());
        if decision.is_positive() {
            info!(%id, %from, recipients = recipients.len(), client = %client.ip, octets, "a message is taken");
        } else {
            debug!(%id, client = %client.ip, octets, ?decision, "a message came");
            let filtered = memory.filtered;
            self.post.note_refused(&Refused {
                kind: if filtered.is_some() { EventKind::Filtered } else { EventKind::Refused },
                id,
                client,
                from: &from,
                recipients: &recipients,
                message: &message,
                decision: &decision,
                kept: filtered.unwrap_or_default(),
            });
        }
        decision
    }

    fn crowded(&self, source: IpAddr) {
        self.lookout.saw(sightings::crowded(Service::Smtp, source));
    }

    async fn closed(&self, memory: Memory, client: &Client, report: &Report) {
        add(&self.counters.sessions);
        self.counters.ended.ended(client, report);
        if report.early {
            add(&self.counters.early);
        }
        tell(&*self.lookout, client.ip, report, &memory);
    }
}

fn tell(lookout: &dyn Lookout, source: IpAddr, report: &Report, memory: &Memory) {
    for sighting in sightings::of_smtp(Service::Smtp, source, report, (memory.relayed, memory.spam))
    {
        lookout.saw(sighting);
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
