//! Sessions on connections, each with a connection to the next hop beside it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use muralla_mail_envelope::headers::{self, Received};
use muralla_mail_envelope::{
    Body, Client, EnhancedCode, Envelope, MessageId, Protocol, RcptParameters, Recipient, Reply,
};
use muralla_smtp::server::{
    Config as SmtpConfig, Decision, Incoming, MailFrom, Offers, Phase, Session, Step,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::hop::{Hop, HopError};
use super::lines::{self, About, Extension};
use super::relay::Relay;
use super::sharing::{Sharing, nobody_keeps};
use crate::budget::Share;
use crate::config::{Config, Rim};
use crate::counts::Status;
use crate::door::{Listener, Visitor};
use crate::fields::{HeaderField, edited};
use crate::judge::Judge;
use crate::policy::Action;
use crate::question::{Origin, Party, Question, Way};

/// A proxy. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    rim: Rim,
    relay: Relay,
    session: Arc<SmtpConfig>,
}

/// How long a client may take for a command, and for a piece of a message: RFC 5321 section 4.5.3.2.
const COMMAND: Duration = Duration::from_secs(5 * 60);

/// Octets that are read at once.
const BLOCK: usize = 64 << 10;

impl Server {
    /// A proxy.
    #[must_use]
    pub fn new(config: Config, relay: Relay, judge: Arc<dyn Judge>) -> Self {
        let session = Arc::new(relay.session(&config));
        Self(Arc::new(Shared { rim: Rim::new(config, judge), relay, session }))
    }

    /// Takes connections until [`Server::stop`].
    pub async fn listen(&self, listener: Listener) {
        let serve = |visitor: Visitor| {
            let server = self.clone();
            tokio::spawn(async move {
                let Visitor { stream, ip, place } = visitor;
                server.serve(stream, ip).await;
                drop(place);
            });
        };
        self.0.rim.door.attend(listener, &self.0.rim.counts, serve).await;
    }

    /// Serves a connection from there to its end. Without an address, it is from this machine.
    pub async fn serve<S>(&self, stream: S, ip: Option<IpAddr>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let shared = &*self.0;
        let is_believed = match ip {
            Some(ip) => shared.relay.believed.iter().any(|network| network.contains(&ip)),
            None => true,
        };
        let peer = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut run = Run {
            shared,
            session: shared.begin(client(peer, shared.relay.is_lmtp())),
            stream,
            raw: BytesMut::new(),
            input: BytesMut::new(),
            hop: None,
            is_believed,
            client: About::default(),
            forwarded: About::default(),
            share: shared.rim.share(),
        };
        run.session.welcome(Decision::Accept);
        // Whatever ended it, there is nobody to tell.
        let _: Result<(), Over> = run.converse().await;
        let Run { mut stream, hop, .. } = run;
        let _ = timeout(shared.rim.config.write, stream.shutdown()).await;
        if let Some(hop) = hop {
            hop.quit().await;
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.rim.status()
    }

    /// Stops: no connection is taken, and clients who do nothing are sent away.
    pub fn stop(&self) {
        self.0.rim.door.stop();
    }

    /// Waits until no connection is left.
    pub async fn stopped(&self) {
        self.0.rim.door.empty().await;
    }
}

impl Shared {
    fn begin(&self, client: Client) -> Session {
        Session::new(Arc::clone(&self.session), client, Offers::default(), rand::random)
    }

    async fn call(&self) -> Result<Hop, HopError> {
        let Relay { next, name, waits, .. } = &self.relay;
        let called = Hop::connect(next, name, *waits).await;
        if let Err(error) = &called {
            warn!(%error, "the next hop");
        }
        called
    }

    /// What is written above a message.
    fn head(&self, fields: &[HeaderField], envelope: &Envelope) -> String {
        let mut head = String::new();
        fields.iter().for_each(|field| field.write(&mut head));
        if self.relay.received {
            let Relay { name, offset_minutes, .. } = &self.relay;
            head.push_str(&headers::received(Received {
                envelope,
                by: name,
                offset_minutes: *offset_minutes,
                conceal_client: false,
            }));
        }
        head
    }
}

/// A connection.
struct Run<'a, S> {
    shared: &'a Shared,
    session: Session,
    stream: S,
    /// What came, and the session was not given yet.
    raw: BytesMut,
    /// What the session was given, and has not taken yet.
    input: BytesMut,
    hop: Option<Hop>,
    /// Whether the peer is one who is believed about others.
    is_believed: bool,
    /// Who is spoken for: `XCLIENT`.
    client: About,
    /// Who brought the message that comes: `XFORWARD`.
    forwarded: About,
    share: Share,
}

/// It is over, for one side or the other.
struct Over;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Run<'_, S> {
    async fn converse(&mut self) -> Result<(), Over> {
        loop {
            match self.session.step(&mut self.input) {
                Step::Read => {
                    if self.feed() {
                        continue;
                    }
                    self.flush().await?;
                    self.read().await?;
                }
                Step::Hello => self.hello().await,
                Step::Mail(mail) => {
                    let decision = self.mail(&mail).await;
                    self.session.mail_decided(mail, decision);
                }
                Step::Rcpt(recipient) => {
                    let decision = self.rcpt(&recipient).await;
                    self.session.rcpt_decided(recipient, decision);
                }
                // The next hop hears of it when the message was judged.
                Step::Data => self.session.data_decided(Decision::Accept),
                Step::Message(incoming) => {
                    // What came behind the message are lines again, to be looked at one by one.
                    let mut rest = std::mem::take(&mut self.input);
                    rest.extend_from_slice(&self.raw);
                    self.raw = rest;
                    self.message(incoming).await;
                }
                Step::Close => return self.flush().await,
                // Neither is offered.
                Step::StartTls | Step::Password { .. } | Step::Keys { .. } | Step::Proof { .. } => {
                    return Err(Over);
                }
            }
        }
    }

    /// Gives the session what came: all of it inside a message, and otherwise a line, unless that is one of ours. Whether there was
    /// something.
    fn feed(&mut self) -> bool {
        if self.raw.is_empty() {
            return false;
        }
        if self.session.phase() == Phase::Message {
            // What it did not take of the input is a beginning of something; what comes belongs behind.
            self.input.unsplit(self.raw.split());
            return true;
        }
        let Some(end) = memchr(b'\n', &self.raw) else {
            if self.raw.len() <= self.shared.session.limits.longest_command {
                return false;
            }
            self.input.unsplit(self.raw.split());
            return true;
        };
        let line = self.raw.split_to(end + 1);
        let is_ours = self.is_believed
            && self.input.is_empty()
            && self.session.phase() == Phase::Idle
            && line.len() <= self.shared.session.limits.longest_command;
        if is_ours {
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            match Extension::parse(text) {
                None => {}
                Some(Err(error)) => {
                    let text = format!("501 5.5.4 {error}\r\n");
                    self.session.output().extend_from_slice(text.as_bytes());
                    return true;
                }
                Some(Ok(Extension::Forward(about))) => {
                    self.forwarded.add(about);
                    self.session.output().extend_from_slice(b"250 2.0.0 Ok\r\n");
                    return true;
                }
                Some(Ok(Extension::Client(about))) => {
                    self.speak_for(about);
                    return true;
                }
            }
        }
        self.input.unsplit(line);
        true
    }

    /// Somebody else is spoken for from now on: it begins anew.
    fn speak_for(&mut self, about: About) {
        self.client.add(about);
        self.forwarded = About::default();
        let mut client = self.session.client().clone();
        if let Some(ip) = self.client.ip {
            client.ip = ip;
        }
        client.name.clone_from(&self.client.name);
        client.helo = self.client.helo.clone().unwrap_or_default();
        client.authenticated.clone_from(&self.client.login);
        let said = std::mem::take(self.session.output());
        self.session = self.shared.begin(client);
        *self.session.output() = said;
        self.session.welcome(Decision::Accept);
    }

    /// The client says who he is: the next hop is called, so that he is offered what it has.
    async fn hello(&mut self) {
        if self.hop.is_none() {
            match self.shared.call().await {
                Ok(hop) => self.hop = Some(hop),
                Err(error) => {
                    let text = error.to_string();
                    return self.session.greeted(Decision::hang_up(4, 1, &text));
                }
            }
        }
        let from = self.session.output().len();
        self.session.greeted(Decision::Accept);
        if let Some(hop) = &self.hop {
            lines::amend(self.session.output(), from, &hop.capabilities, self.is_believed);
        }
    }

    async fn mail(&mut self, mail: &MailFrom) -> Decision {
        // One that was not spoken to for a while may have hung up. Then it is called again, once.
        if let Some(hop) = self.hop.take()
            && let Some(decision) = self.begin(hop, mail).await
        {
            return decision;
        }
        let hop = match self.shared.call().await {
            Ok(hop) => hop,
            Err(error) => return Decision::Say(error.reply()),
        };
        self.begin(hop, mail).await.unwrap_or_else(|| Decision::Say(no_hop()))
    }

    /// Begins a transaction: what the next hop says of the sender, or nothing if it is gone.
    async fn begin(&mut self, mut hop: Hop, mail: &MailFrom) -> Option<Decision> {
        let has = &hop.capabilities;
        let parameters = &mail.parameters;
        // What EHLO did not offer is not known: RFC 5321 section 4.1.1.11.
        let unknown = (parameters.smtputf8 && !has.smtputf8)
            || (parameters.body != Body::SevenBit && !has.eight_bit_mime)
            || ((parameters.ret.is_some() || parameters.envid.is_some()) && !has.dsn);
        if unknown {
            self.hop = Some(hop);
            return Some(Decision::permanent(555, 5, 4, "A parameter of MAIL is not offered here"));
        }
        let forward = self.forward(hop.forwards());
        match hop.mail(&mail.from, parameters, &forward).await {
            Ok(reply) => {
                self.hop = Some(hop);
                Some(Decision::Say(reply))
            }
            Err(error) => {
                warn!(%error, "the next hop");
                None
            }
        }
    }

    async fn rcpt(&mut self, recipient: &Recipient) -> Decision {
        let Some(mut hop) = self.hop.take() else { return Decision::Say(no_hop()) };
        if !hop.capabilities.dsn && recipient.parameters != RcptParameters::default() {
            self.hop = Some(hop);
            return Decision::permanent(555, 5, 4, "A parameter of RCPT is not offered here");
        }
        match hop.rcpt(recipient).await {
            Ok(reply) => {
                self.hop = Some(hop);
                Decision::Say(reply)
            }
            Err(error) => {
                warn!(%error, "the next hop");
                Decision::Say(error.reply())
            }
        }
    }

    /// A message came: it is judged, and passed on or not.
    async fn message(&mut self, incoming: Incoming) {
        let id = MessageId(rand::random());
        let decisions = self.decide(&id, incoming).await;
        self.forwarded = About::default();
        self.session.message_decided(&id, decisions);
        self.share.release();
    }

    async fn decide(&mut self, id: &MessageId, incoming: Incoming) -> Vec<Decision> {
        let Incoming { mail, recipients, message } = incoming;
        let rim = &self.shared.rim;
        let all = recipients.len();
        // With header fields above it, there are two of it for a moment.
        if !self.share.cover(message.len().saturating_mul(2)).await {
            let text = "There is no room for the message now: send it again later";
            return vec![Decision::temporary(452, 3, 1, text); all];
        }
        let question = self.question(id, &mail, &recipients, &message);
        let (verdict, lost) = rim.judged(&question).await;
        let policy = &rim.config.policy;
        debug!(%id, score = verdict.score, "judged");
        let envelope = Envelope {
            id: *id,
            from: mail.from.clone(),
            mail: mail.parameters.clone(),
            recipients,
            received_at: now(),
            client: self.session.client().clone(),
        };
        if self.shared.relay.is_lmtp() {
            let actions = policy.each(&verdict, all, false);
            for action in &actions {
                rim.counts.judged(message.len() / all.max(1), action, None);
            }
            rim.counts.lost(lost);
            return self.hand_each(&envelope, &message, Sharing::of(actions)).await;
        }
        let action = policy.common(&verdict, all, false);
        rim.counts.judged(message.len(), &action, lost);
        let decision = match action {
            Action::Pass { fields, .. } => {
                let everybody: Vec<usize> = (0..all).collect();
                let told = self.hand(&envelope, &message, &everybody, &fields, true).await;
                return told.into_iter().take(1).map(|(_, reply)| Decision::Say(reply)).collect();
            }
            Action::Later(reply) | Action::Refuse(reply) => reply,
            Action::Quarantine { why, .. } => nobody_keeps(&why),
        };
        vec![Decision::Say(decision)]
    }

    /// LMTP: an answer for each recipient, in their order.
    async fn hand_each(
        &mut self,
        envelope: &Envelope,
        message: &Bytes,
        sharing: Sharing,
    ) -> Vec<Decision> {
        let all = envelope.recipients.len();
        let Sharing { groups, mut told } = sharing;
        for (group, fields) in &groups {
            // The transaction that is open has all recipients. If not all of them get the same, others are begun.
            let is_open = group.len() == all;
            told.extend(self.hand(envelope, message, group, fields, is_open).await);
        }
        let missing = || Decision::temporary(451, 3, 0, "The message could not be delivered now");
        let mut decisions: Vec<Decision> = (0..all).map(|_| missing()).collect();
        for (recipient, reply) in told {
            if let Some(decision) = decisions.get_mut(recipient) {
                *decision = Decision::Say(reply);
            }
        }
        decisions
    }

    /// Passes a message on to some of its recipients: what the next hop says of each.
    async fn hand(
        &mut self,
        envelope: &Envelope,
        message: &Bytes,
        group: &[usize],
        fields: &[HeaderField],
        is_open: bool,
    ) -> Vec<(usize, Reply)> {
        let Some(mut hop) = self.hop.take() else {
            return group.iter().map(|&one| (one, no_hop())).collect();
        };
        let marks = &self.shared.rim.config.policy.marks;
        let head = self.shared.head(fields, envelope);
        let message = edited(message, |name, value| marks.is_forged(name, value), &head);
        let forward = self.forward(hop.forwards());
        let mut told = Vec::with_capacity(group.len());
        let handed = if is_open {
            open(&mut hop, &message, group, &mut told).await
        } else {
            again(&mut hop, envelope, &message, group, &forward, &mut told).await
        };
        match handed {
            Ok(()) => self.hop = Some(hop),
            Err(error) => {
                warn!(%error, id = %envelope.id, "the next hop");
                let missing: Vec<usize> = group
                    .iter()
                    .copied()
                    .filter(|one| !told.iter().any(|(known, _)| known == one))
                    .collect();
                told.extend(missing.into_iter().map(|one| (one, error.reply())));
            }
        }
        told
    }

    fn question(
        &self,
        id: &MessageId,
        mail: &MailFrom,
        recipients: &[Recipient],
        message: &Bytes,
    ) -> Question {
        let sender = mail.from.address().map_or_else(Party::nobody, Party::of);
        Question {
            way: if self.shared.relay.is_lmtp() { Way::Lmtp } else { Way::Smtp },
            origin: self.origin(),
            sender: Some(sender),
            recipients: recipients.iter().map(|one| Party::of(&one.address)).collect(),
            queue_id: Some(self.forwarded.ident.clone().unwrap_or_else(|| id.to_string())),
            settings: None,
            thorough: false,
            message: message.clone(),
            complete: true,
        }
    }

    /// Who brought the message: whom `XFORWARD` names, or `XCLIENT`, or the client himself. A mail system of our own that names
    /// nobody is not itself the one.
    fn origin(&self) -> Origin {
        let session = self.session.client();
        if self.forwarded.is_said {
            let About { name, ip, helo, .. } = &self.forwarded;
            return Origin {
                ip: *ip,
                name: name.clone(),
                helo: helo.clone(),
                tls: None,
                authenticated: session.authenticated.clone(),
            };
        }
        if self.client.is_said {
            let About { name, ip, helo, login, .. } = &self.client;
            return Origin {
                ip: *ip,
                name: name.clone(),
                helo: helo.clone().or_else(|| Some(session.helo.clone())),
                tls: None,
                authenticated: login.clone(),
            };
        }
        if self.is_believed {
            return Origin::default();
        }
        Origin {
            ip: Some(session.ip),
            name: session.name.clone(),
            helo: Some(session.helo.clone()),
            tls: session.tls.clone(),
            authenticated: None,
        }
    }

    /// What the next hop is told of him, if it takes that and anything is known.
    fn forward(&self, offered: &[String]) -> Vec<String> {
        let origin = self.origin();
        if origin == Origin::default() {
            return Vec::new();
        }
        let mut about = self.client.clone();
        about.add(self.forwarded.clone());
        about.forward(&origin, offered)
    }

    async fn flush(&mut self) -> Result<(), Over> {
        let Self { session, stream, shared, .. } = self;
        let out = session.output();
        if out.is_empty() {
            return Ok(());
        }
        let written = timeout(shared.rim.config.write, async {
            stream.write_all(out).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => {
                out.clear();
                Ok(())
            }
            _ => Err(Over),
        }
    }

    async fn read(&mut self) -> Result<(), Over> {
        let phase = self.session.phase();
        let held = self.session.memory();
        if held == 0 {
            self.share.release();
        } else if !self.share.cover(held).await {
            self.session.no_memory();
            self.share.release();
        }
        self.raw.reserve(if phase == Phase::Message { BLOCK } else { 4096 });
        let wait = COMMAND.min(self.shared.rim.config.idle);
        let may_go = phase == Phase::Idle && self.raw.is_empty();
        let Self { stream, raw, shared, .. } = self;
        let read = tokio::select! {
            biased;
            read = timeout(wait, stream.read_buf(raw)) => Some(read),
            () = shared.rim.door.stopping(), if may_go => None,
        };
        match read {
            None => self.session.stopped(),
            Some(Err(_)) => self.session.timed_out(),
            Some(Ok(Ok(octets))) if octets > 0 => {}
            Some(Ok(_)) => return Err(Over),
        }
        Ok(())
    }
}

/// Passes a message on in the transaction that is open.
async fn open(
    hop: &mut Hop,
    message: &[u8],
    group: &[usize],
    told: &mut Vec<(usize, Reply)>,
) -> Result<(), HopError> {
    let replies = hop.data(message, group.len()).await?;
    told.extend(spread(group, replies));
    Ok(())
}

/// Passes a message on to some of its recipients in a transaction of their own.
async fn again(
    hop: &mut Hop,
    envelope: &Envelope,
    message: &[u8],
    group: &[usize],
    forward: &[String],
    told: &mut Vec<(usize, Reply)>,
) -> Result<(), HopError> {
    let sender = hop.mail(&envelope.from, &envelope.mail, forward).await?;
    if !sender.is_positive() {
        told.extend(group.iter().map(|&one| (one, sender.clone())));
        return Ok(());
    }
    let mut accepted = Vec::with_capacity(group.len());
    for &one in group {
        let Some(recipient) = envelope.recipients.get(one) else { continue };
        let reply = hop.rcpt(recipient).await?;
        if reply.is_positive() {
            accepted.push(one);
        } else {
            told.push((one, reply));
        }
    }
    if accepted.is_empty() {
        return Ok(());
    }
    let replies = hop.data(message, accepted.len()).await?;
    told.extend(spread(&accepted, replies));
    Ok(())
}

/// Replies for recipients: one for each, or one for all.
fn spread(group: &[usize], replies: Vec<Reply>) -> Vec<(usize, Reply)> {
    match &replies[..] {
        [one] => group.iter().map(|&recipient| (recipient, one.clone())).collect(),
        _ => group.iter().copied().zip(replies).collect(),
    }
}

fn no_hop() -> Reply {
    let code = EnhancedCode::new(4, 4, 2);
    Reply::new(451, Some(code), "The mail server behind the filter is gone: send it again later")
}

fn client(ip: IpAddr, is_lmtp: bool) -> Client {
    let protocol = if is_lmtp { Protocol::Lmtp } else { Protocol::Esmtp };
    Client { ip, helo: String::new(), name: None, tls: None, authenticated: None, protocol }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
