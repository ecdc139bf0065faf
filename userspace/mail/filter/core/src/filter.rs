//! All stages in their order, within their time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join};
use muralla_filter_anatomy::brand::Brands;
use muralla_filter_anatomy::part::Role;
use muralla_filter_anatomy::{self as anatomy, Anatomy, Fingerprint, Surroundings};
use muralla_filter_antivirus::{self as antivirus, Antivirus, Report};
use muralla_filter_origin::reputation::{self, Event};
use muralla_filter_origin::results;
use muralla_filter_origin::{
    self as origin, Arrival, Authentication, BlockLists, Connection, Key, Names, Reputation,
    authenticate, connection, envelope,
};
use muralla_filter_statistics::{Lesson, Scratch, User};
use muralla_mail_envelope::{Address, Domain, Keys, ReversePath};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::brain::Brain;
use crate::header;
use crate::opinion::Opinion;
use crate::outcome::{Danger, Outcome, decide};
use crate::reading::Reading;
use crate::reason::{Reason, is_gtube};
use crate::tolerance::Tolerance;

/// What a filter works with.
pub struct Options {
    /// What was learned so far.
    pub brain: Brain,
    /// Who looks into parts.
    pub antivirus: Antivirus,
    /// Who answers questions about names. Without one, nobody is asked, and nothing is known of who sent a message.
    pub names: Option<Arc<dyn Names>>,
    /// Lists of addresses that are looked at, and what they mean.
    pub zones: Vec<connection::Zone>,
    /// What is remembered of senders.
    pub reputation: Reputation,
    /// Whose names are looked for.
    pub brands: Brands,
    /// The shuffles of this installation, by which messages are compared.
    pub fingerprints: anatomy::Key,
    /// How much of a message is read.
    pub reading: anatomy::Limits,
    /// How much is asked and verified.
    pub asking: origin::Limits,
    /// Messages that are read at once: as many as there are cores.
    pub threads: usize,
}

/// The filter. One serves any number of connections.
pub struct Filter {
    brain: RwLock<Brain>,
    antivirus: Antivirus,
    names: Option<Arc<dyn Names>>,
    zones: Vec<connection::Zone>,
    reputation: Mutex<Reputation>,
    brands: Arc<Brands>,
    fingerprints: anatomy::Key,
    reading: anatomy::Limits,
    asking: origin::Limits,
    threads: Arc<Semaphore>,
    scratches: Arc<Mutex<Vec<Scratch>>>,
}

/// A message, and all that is known beside it.
pub struct Occasion<'a> {
    /// All of it, lines ended by CRLF, as it came.
    pub message: &'a Bytes,
    /// Who brings it. Nothing where nobody knows: nothing is said of him then.
    pub sender: Option<Sender<'a>>,
    /// For whom it is.
    pub recipients: &'a [Recipient],
    /// Whom its recipients know.
    pub acquaintances: &'a dyn Acquaintances,
    /// Seconds since 1970.
    pub now: i64,
}

/// Who brings a message.
pub struct Sender<'a> {
    /// His connection.
    pub connection: Connection<'a>,
    /// What lists of addresses say of him.
    pub lists: &'a dyn BlockLists,
    /// What he called himself.
    pub helo: &'a str,
    /// Where failures go.
    pub from: &'a ReversePath,
    /// Whom it goes to, as he said it.
    pub recipients: &'a [Address],
    /// Whether he proved to be a user of ours, or is a machine of ours.
    pub from_us: bool,
    /// Which domains are ours.
    pub is_ours: &'a (dyn Fn(&Domain) -> bool + Sync),
    /// Names of our own machines: the first is who says what was found.
    pub machines: &'a [Domain],
    /// What senders of our users are signed with.
    pub keys: Option<&'a Keys>,
}

/// For whom a message is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Recipient {
    /// Who learned something of his own.
    pub user: Option<User>,
    /// What he puts up with.
    pub tolerance: Tolerance,
}

/// Whom recipients know.
pub trait Acquaintances: Send + Sync {
    /// Whether each of the recipients knows an author, in their order. Those that are missing don't.
    fn known<'a>(&'a self, author: &'a Address) -> BoxFuture<'a, Vec<bool>>;
}

/// Nobody knows anybody.
impl Acquaintances for () {
    fn known<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, Vec<bool>> {
        Box::pin(async { Vec::new() })
    }
}

/// What is to be said of a message.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What becomes of it for each recipient, in their order; for anybody, if there are none.
    pub outcomes: Vec<Outcome>,
    /// How likely it is spam, and why, for anybody.
    pub opinion: Opinion,
    /// What was seen in its parts, in words; nothing if that is nothing.
    pub danger: String,
    /// What it proves about who sent it.
    pub authentication: Option<Authentication>,
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// Those of whom something is remembered.
    pub keys: Vec<Key>,
    /// Header fields that are written above it, each ended by CRLF.
    pub head: String,
}

/// What is read of a message aside.
struct Read {
    reading: Reading,
    reasons: Vec<Reason>,
    fingerprint: Fingerprint,
    hosts: Vec<String>,
    author: Option<Address>,
    parts: Vec<antivirus::Part>,
}

/// How long it may take to find out whom recipients know. Who is not known by then is a stranger.
const PATIENCE: Duration = Duration::from_millis(500);

/// Hosts of links that are remembered of a message.
const MOST_HOSTS: usize = 20;

/// Room for judging that is kept between messages.
const MOST_SCRATCHES: usize = 64;

impl Filter {
    /// A filter.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            brain: RwLock::new(options.brain),
            antivirus: options.antivirus,
            names: options.names,
            zones: options.zones,
            reputation: Mutex::new(options.reputation),
            brands: Arc::new(options.brands),
            fingerprints: options.fingerprints,
            reading: options.reading,
            asking: options.asking,
            threads: Arc::new(Semaphore::new(options.threads.clamp(1, Semaphore::MAX_PERMITS))),
            scratches: Arc::new(Mutex::new(Vec::new())),
        }
    }

    /// Judges a message. There is always an answer: what could not be read or looked through is not scanned, and never clean.
    pub async fn judge(&self, occasion: Occasion<'_>) -> Verdict {
        let (read, authentication) =
            join(self.read(occasion.message, occasion.now), self.authenticate(&occasion)).await;
        let Some(mut read) = read else { return unread(occasion.recipients.len()) };
        let parts = std::mem::take(&mut read.parts);
        let (report, known) =
            join(self.antivirus.scan(parts), self.known(&occasion, read.author.as_ref())).await;
        let keys = self.note_origin(&occasion, authentication.as_ref(), &mut read);
        read.reasons.extend(report.findings.iter().map(Reason::from));
        let proved = authentication.as_ref().is_some_and(|found| found.proved().is_some());
        let (danger, words) = danger(&report);
        let mut scratch = self.scratch();
        let (opinion, personal) = {
            let brain = self.brain.read();
            let opinion = brain.judge(&read.reading, read.reasons, None, &mut scratch);
            let taught = occasion.recipients.iter().filter_map(|recipient| recipient.user);
            let taught: Vec<User> = taught.collect();
            (opinion, brain.personal(&read.reading, &taught, &mut scratch))
        };
        self.keep(scratch);
        let mut personal = personal.into_iter();
        let anybody = [Recipient::default()];
        let recipients = match occasion.recipients {
            [] => &anybody[..],
            recipients => recipients,
        };
        let outcomes: Vec<Outcome> = recipients
            .iter()
            .enumerate()
            .map(|(at, recipient)| {
                let own = recipient.user.and_then(|_| personal.next()).unwrap_or_default();
                let opinion = Opinion { personal: own, ..opinion.clone() };
                let known = known.get(at).copied().unwrap_or_default();
                decide(&opinion, danger, known, proved, recipient.tolerance)
            })
            .collect();
        let head = head(&occasion, authentication.as_ref(), &outcomes, &opinion);
        Verdict {
            outcomes,
            opinion,
            danger: words,
            authentication,
            fingerprint: read.fingerprint,
            keys,
            head,
        }
    }

    /// Learns what a message is. Whether everybody learned, and not only a user; nothing if it can't be read.
    pub async fn learn(
        &self,
        message: &Bytes,
        lesson: Lesson,
        now: i64,
    ) -> Option<(Opinion, bool)> {
        let read = self.read(message, now).await?;
        let mut scratch = self.scratch();
        let learned = self.brain.write().learn(&read.reading, read.reasons, &lesson, &mut scratch);
        self.keep(scratch);
        Some(learned)
    }

    /// Remembers what came of a message of those who sent it.
    pub fn remember(&self, keys: &[Key], event: Event, now: i64) {
        let mut reputation = self.reputation.lock();
        for key in keys {
            reputation.note(key, event, now);
        }
    }

    /// What is remembered of senders, for whoever shares it with others.
    pub fn with_reputation<T>(&self, with: impl FnOnce(&mut Reputation) -> T) -> T {
        with(&mut self.reputation.lock())
    }

    /// What was learned, to be written or looked at.
    pub fn with_brain<T>(&self, with: impl FnOnce(&Brain) -> T) -> T {
        with(&self.brain.read())
    }

    /// Puts another model in the place of the one that is used, while messages are judged.
    pub fn replace_brain(&self, brain: Brain) {
        let before = std::mem::replace(&mut *self.brain.write(), brain);
        // It is large, and is not taken apart while somebody waits for the lock.
        drop(before);
    }

    /// What a message says, taken to pieces: words that speak most for spam and against it, at most so many of each.
    pub async fn explain(
        &self,
        message: &Bytes,
        most: usize,
        now: i64,
    ) -> Option<muralla_filter_statistics::Evidence> {
        let read = self.read(message, now).await?;
        let mut scratch = self.scratch();
        let evidence = self.brain.read().explain(&read.reading, most, &mut scratch);
        self.keep(scratch);
        Some(evidence)
    }

    async fn read(&self, message: &Bytes, now: i64) -> Option<Read> {
        let _thread = self.threads.acquire().await.ok()?;
        let (message, limits) = (message.clone(), self.reading.clone());
        let (brands, fingerprints) = (Arc::clone(&self.brands), self.fingerprints.clone());
        spawn_blocking(move || Read::of(&message, &limits, &brands, &fingerprints, now)).await.ok()
    }

    async fn authenticate(&self, occasion: &Occasion<'_>) -> Option<Authentication> {
        let (names, sender) = (self.names.as_ref()?, occasion.sender.as_ref()?);
        if sender.from_us {
            return None;
        }
        let arrival = Arrival {
            ip: sender.connection.ip,
            helo: sender.helo,
            from: sender.from,
            message: occasion.message,
            now: occasion.now,
        };
        Some(authenticate(names.as_ref(), &self.asking, arrival).await)
    }

    async fn known(&self, occasion: &Occasion<'_>, author: Option<&Address>) -> Vec<bool> {
        let Some(author) = author else { return Vec::new() };
        timeout(PATIENCE, occasion.acquaintances.known(author)).await.unwrap_or_default()
    }

    /// What is found of who sent it, and those of whom something is remembered.
    fn note_origin(
        &self,
        occasion: &Occasion<'_>,
        authentication: Option<&Authentication>,
        read: &mut Read,
    ) -> Vec<Key> {
        let Some(sender) = occasion.sender.as_ref().filter(|sender| !sender.from_us) else {
            return Vec::new();
        };
        let said = envelope::Envelope {
            ip: sender.connection.ip,
            helo: sender.helo,
            from: sender.from,
            recipients: sender.recipients,
            from_us: sender.from_us,
            is_ours: sender.is_ours,
            machines: sender.machines,
            keys: sender.keys,
            today: occasion.now.div_euclid(86_400),
        };
        let mut found = connection::judge(&sender.connection, sender.lists, &self.zones);
        found.extend(envelope::judge(&said));
        let nothing = Authentication::default();
        if let Some(authentication) = authentication {
            found.extend(authentication.findings());
            found.extend(envelope::judge_proved(&said, authentication));
        }
        let hosts: Vec<&str> = read.hosts.iter().map(String::as_str).collect();
        let keys = reputation::keys(&sender.connection, authentication.unwrap_or(&nothing), &hosts);
        found.extend(reputation::judge(&self.reputation.lock(), &keys, occasion.now));
        read.reasons.extend(found.iter().map(Reason::from));
        keys
    }

    fn scratch(&self) -> Scratch {
        self.scratches.lock().pop().unwrap_or_default()
    }

    fn keep(&self, scratch: Scratch) {
        let mut scratches = self.scratches.lock();
        if scratches.len() < MOST_SCRATCHES {
            scratches.push(scratch);
        }
    }
}

impl Read {
    fn of(
        message: &Bytes,
        limits: &anatomy::Limits,
        brands: &Brands,
        fingerprints: &anatomy::Key,
        now: i64,
    ) -> Self {
        let anatomy = Anatomy::read(message, limits);
        let findings = anatomy.findings(&Surroundings { now, brands });
        let mut reasons: Vec<Reason> = findings.iter().map(Reason::from).collect();
        if is_gtube(anatomy.shown()) || is_gtube(&anatomy.plain) {
            reasons.push(Reason::gtube());
        }
        let mut hosts: Vec<String> =
            anatomy.links.iter().filter_map(anatomy::Link::owner).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.truncate(MOST_HOSTS);
        let author =
            anatomy.header.author().and_then(|author| Address::parse(&author.address).ok());
        let parts = anatomy.parts.iter().filter(|part| {
            matches!(part.role, Role::Text | Role::Page | Role::Attachment) && part.size() > 0
        });
        let parts = parts.map(|part| antivirus::Part {
            name: part.name.clone(),
            media: part.media.clone(),
            shown: part.role != Role::Attachment,
            // What stands in the message as it is needs no copy.
            content: match &part.content {
                std::borrow::Cow::Borrowed(content) => message.slice_ref(content),
                std::borrow::Cow::Owned(content) => Bytes::copy_from_slice(content),
            },
        });
        Self {
            reading: Reading::of(&anatomy, &reasons, limits),
            fingerprint: anatomy.fingerprint(fingerprints),
            hosts,
            author,
            parts: parts.collect(),
            reasons,
        }
    }
}

/// Of a message that broke its reader: another look would break it again, and so it waits for somebody who looks himself.
fn unread(recipients: usize) -> Verdict {
    Verdict {
        outcomes: vec![Outcome::Hold; recipients.max(1)],
        danger: "It could not be read.".to_owned(),
        ..Verdict::default()
    }
}

fn danger(report: &Report) -> (Danger, String) {
    use antivirus::Verdict as Seen;
    let danger = match &report.verdict {
        Seen::Clean | Seen::Suspicious(_) => return (Danger::None, String::new()),
        Seen::Unscanned(why) if why.is_passing() => Danger::Unknown,
        Seen::Unscanned(_) | Seen::Excessive(_) | Seen::Found(_) => Danger::Present,
    };
    (danger, report.verdict.to_string())
}

/// What is written above the message: what it proves, and what was thought of it. The mildest outcome of all is told, for it is one
/// message: whose it is does not read why others have it in Spam.
fn head(
    occasion: &Occasion<'_>,
    authentication: Option<&Authentication>,
    outcomes: &[Outcome],
    opinion: &Opinion,
) -> String {
    let mut head = String::new();
    if let (Some(sender), Some(authentication)) = (&occasion.sender, authentication)
        && let Some(by) = sender.machines.first()
    {
        head.push_str(&results::header(
            authentication,
            results::Facts {
                by,
                from: sender.from,
                helo: sender.helo,
                name: sender.connection.name,
            },
        ));
    }
    let mildest = [Outcome::Inbox, Outcome::Spam, Outcome::Refuse, Outcome::Unscanned]
        .into_iter()
        .find(|outcome| outcomes.contains(outcome))
        .unwrap_or(Outcome::Hold);
    head.push_str(&header::field(mildest, opinion));
    head
}

/// What is remembered of senders by what became of their messages.
#[must_use]
pub fn event_of(outcome: Outcome) -> Option<Event> {
    match outcome {
        Outcome::Inbox => Some(Event::Good),
        Outcome::Spam | Outcome::Refuse | Outcome::Hold => Some(Event::Spam),
        Outcome::Unscanned => None,
    }
}
