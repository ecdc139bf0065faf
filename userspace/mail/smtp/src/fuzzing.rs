//! What the fuzz targets and the dialogs do with a session: each function panics if a promise is broken.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "panics are its findings"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use muralla_mail_envelope::{
    Client, Domain, EnhancedCode, MessageId, Protocol, Recipient, Reply, TlsFacts,
};

use crate::client::{Answer, Answers, Capabilities};
use crate::command::Command;
use crate::framing::{Bounds, Collector};
use crate::proxy;
use crate::server::{
    Config, Decision, Keys, MailFrom, Mode, NotGranted, Offers, Proved, Session, Step,
};

/// A session without a network, and with somebody to answer its questions who always answers in the same way.
#[derive(Debug)]
pub struct Desk {
    session: Session,
    config: Arc<Config>,
    input: BytesMut,
    said: Vec<u8>,
    messages: Vec<Taken>,
    closed: bool,
    tls: bool,
}

/// A message that the desk took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Taken {
    /// From whom.
    pub mail: MailFrom,
    /// To whom.
    pub recipients: Vec<Recipient>,
    /// All of it.
    pub message: Bytes,
}

impl Desk {
    /// A session that was just begun; inside TLS if that is wanted.
    #[must_use]
    pub fn new(config: Config, offers: Offers, secured: bool) -> Self {
        let config = Arc::new(config);
        let protocol = if config.mode == Mode::Lmtp { Protocol::Lmtp } else { Protocol::Esmtp };
        let client = Client {
            ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            helo: String::new(),
            name: None,
            tls: None,
            authenticated: None,
            protocol,
        };
        let mut session = Session::new(Arc::clone(&config), client, offers, || [0; 18]);
        if secured {
            session.secured(TlsFacts::default(), Some([7; 32]));
        }
        session.welcome(Decision::Accept);
        let mut desk = Self {
            session,
            config,
            input: BytesMut::new(),
            said: Vec::new(),
            messages: Vec::new(),
            closed: false,
            tls: secured,
        };
        desk.feed(b"");
        desk
    }

    /// Lets the client say something.
    pub fn feed(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while !self.closed {
            match self.session.step(&mut self.input) {
                Step::Read => break,
                Step::Close => self.closed = true,
                step => self.answer(step),
            }
        }
        self.said.append(self.session.output());
    }

    /// What was said since the last time.
    pub fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.said)).expect("replies are UTF-8")
    }

    /// The messages that came.
    #[must_use]
    pub fn messages(&self) -> &[Taken] {
        &self.messages
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether TLS was started.
    #[must_use]
    pub const fn has_tls(&self) -> bool {
        self.tls
    }

    /// Octets that wait to be taken: never more than a line of them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.input.len()
    }

    fn answer(&mut self, step: Step) {
        let session = &mut self.session;
        match step {
            Step::Read | Step::Close => {}
            Step::StartTls => {
                assert!(self.input.is_empty(), "nothing may survive STARTTLS");
                self.said.append(session.output());
                session.secured(TlsFacts::default(), Some([7; 32]));
                self.tls = true;
            }
            Step::Hello if session.client().helo == "refused.example" => {
                session.greeted(Decision::permanent(550, 7, 1, "Not you"));
            }
            Step::Hello => session.greeted(Decision::Accept),
            Step::Mail(mail) => {
                let decision = match mail.from.address().map(|from| from.local.as_str()) {
                    Some("refused") => Decision::permanent(550, 7, 1, "Not from there"),
                    Some("closed") => Decision::hang_up(7, 0, "Not from you"),
                    Some("odd") => Decision::Say(Reply::new(354, None, "This is no reply")),
                    _ => Decision::Accept,
                };
                session.mail_decided(mail, decision);
            }
            Step::Rcpt(recipient) => {
                let decision = Self::rcpt(&recipient, self.config.mode);
                session.rcpt_decided(recipient, decision);
            }
            Step::Data => {
                let transaction = session.about().transaction.expect("a transaction");
                assert!(!transaction.recipients.is_empty());
                let from = transaction.mail.from.address().map(|from| from.local.as_str());
                let decision = match from {
                    Some("nodata") => Decision::temporary(451, 7, 1, "Not now"),
                    Some("nodata-closed") => Decision::hang_up(7, 0, "Not ever"),
                    _ => Decision::Accept,
                };
                session.data_decided(decision);
            }
            Step::Message(incoming) => {
                assert!(!incoming.recipients.is_empty());
                let decisions =
                    Self::message(&incoming.recipients, &incoming.message, self.config.mode);
                self.messages.push(Taken {
                    mail: incoming.mail,
                    recipients: incoming.recipients,
                    message: incoming.message,
                });
                session.message_decided(&MessageId([0; 16]), decisions);
            }
            Step::Password { user, password, .. } => {
                assert!(session.client().tls.is_some(), "no passwords in the clear");
                session.password_checked(match (&*user, password.reveal()) {
                    ("user@example.net", b"pencil") => Ok(user),
                    ("away@example.net", _) => Err(NotGranted::Away),
                    ("locked@example.net", _) => Err(NotGranted::Disabled(Reply::new(
                        535,
                        Some(EnhancedCode::new(5, 7, 13)),
                        "This account is locked",
                    ))),
                    _ => Err(NotGranted::Wrong),
                });
            }
            Step::Keys { .. } => {
                session.keys_found(Ok(Keys { salt: b"salt".to_vec(), iterations: 4096 }))
            }
            Step::Proof { user, proof, .. } => session.proof_checked(if proof == b"right" {
                Ok(Proved { account: user, signature: b"signature".to_vec() })
            } else {
                Err(NotGranted::Wrong)
            }),
        }
    }

    /// Mail for example.net is taken, and from those who logged in for all of the world; but some names are refused.
    fn rcpt(recipient: &Recipient, mode: Mode) -> Decision {
        let local = recipient.address.local.as_str();
        let ours = recipient
            .address
            .domain()
            .is_some_and(|domain| domain.as_str().ends_with("example.net"));
        if !ours && mode != Mode::Submission {
            return Decision::permanent(550, 7, 1, "We do not relay");
        }
        match local {
            "unknown" => Decision::permanent(550, 1, 1, "No such user"),
            "later" => Decision::temporary(451, 2, 1, "Not now"),
            "moved" => Decision::Say(Reply::new(251, Some(EnhancedCode::new(2, 1, 5)), "Moved")),
            "closed" => Decision::hang_up(7, 0, "Not to him"),
            _ => Decision::Accept,
        }
    }

    fn message(recipients: &[Recipient], message: &[u8], mode: Mode) -> Vec<Decision> {
        let all = if message.starts_with(b"Refuse:") {
            Decision::permanent(554, 7, 1, "Not this")
        } else if message.starts_with(b"Later:") {
            Decision::temporary(451, 3, 0, "Not now")
        } else if message.starts_with(b"Close:") {
            Decision::hang_up(3, 0, "Not now, and not again")
        } else {
            Decision::Accept
        };
        if mode != Mode::Lmtp {
            return vec![all];
        }
        let each = recipients.iter().map(|recipient| match recipient.address.local.as_str() {
            "full" => Decision::permanent(552, 2, 2, "His mailbox is full"),
            _ => all.clone(),
        });
        // One who was forgotten, too.
        each.take_while(|_| !message.starts_with(b"Forget:")).collect()
    }
}

/// A client: the first octet says to whom he speaks, the second in what pieces. Whatever he says, the replies are well formed, what
/// is kept has bounds, and in whatever pieces it comes, what is said and taken is the same.
pub fn session(data: &[u8]) {
    let Some(([to, size], dialog)) = data.split_first_chunk::<2>() else { return };
    let mode = [Mode::Mx, Mode::Submission, Mode::Lmtp][usize::from(to % 3)];
    let config = || {
        let mut config = Config::new(mode, Domain::parse("mx.example.net").unwrap());
        config.limits.longest_line = 200;
        config.limits.largest_message = 2000;
        config.limits.longest_command = 300;
        config.limits.recipients = 5;
        config
    };
    let offers = Offers { start_tls: to & 4 != 0, scram: to & 8 != 0 };
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut desk = Desk::new(config(), offers, to & 16 != 0);
        let mut said = desk.said();
        for piece in pieces {
            desk.feed(piece);
            said.push_str(&desk.said());
            assert!(desk.waiting() <= 13_000, "{} octets wait", desk.waiting());
        }
        (said, desk)
    };
    let (said, desk) = run(&mut std::iter::once(dialog));
    replies(&said);
    for taken in desk.messages() {
        let text = String::from_utf8_lossy(&taken.message).replace("\r\n", "");
        assert!(!text.contains(['\r', '\n']), "line ends: {text:?}");
        assert!(taken.message.is_empty() || taken.message.ends_with(b"\r\n"));
        // An end of the last line may have been added.
        assert!(taken.message.len() <= 2002);
        assert!(mode != Mode::Submission || desk.session().client().authenticated.is_some());
    }
    // What came behind STARTTLS was forgotten, and so it matters in what piece it came.
    if offers.start_tls && to & 16 == 0 {
        return;
    }
    let (again, other) = run(&mut dialog.chunks(usize::from(*size).max(1)));
    assert_eq!(again, said);
    assert_eq!(other.messages(), desk.messages());
    assert_eq!(other.is_closed(), desk.is_closed());
}

/// Replies: codes, one to the line, and the last line of each without a hyphen.
fn replies(said: &str) {
    let mut input = BytesMut::from(said.as_bytes());
    let mut answers = Answers::default();
    // Those that go on with a message or a login have 3xx; no others do.
    while let Some(answer) = answers.take_all(&mut input) {
        assert!(matches!(answer.code, 200..=299 | 334 | 354 | 400..=599), "{answer:?}");
    }
    assert!(input.is_empty(), "{said:?}");
    for line in said.split_terminator("\r\n") {
        assert!(line.starts_with("334") || line.len() <= 510, "{line:?}");
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
}

impl Answers {
    fn take_all(&mut self, input: &mut BytesMut) -> Option<Answer> {
        self.take(input).expect("our replies are replies")
    }
}

/// A server's replies, a load balancer's header, a command: read or refused, in any pieces.
pub fn others(data: &[u8]) {
    let mut whole = BytesMut::from(data);
    let mut answers = Answers::default();
    let mut read = Vec::new();
    let end = loop {
        match answers.take(&mut whole) {
            Ok(Some(answer)) => read.push(answer),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let mut answers = Answers::default();
    let mut input = BytesMut::new();
    let mut again = Vec::new();
    let mut failed = false;
    for octet in data {
        input.extend_from_slice(&[*octet]);
        match answers.take(&mut input) {
            Ok(Some(answer)) => again.push(answer),
            Ok(None) => {}
            Err(_) => {
                failed = true;
                break;
            }
        }
    }
    assert_eq!((&again, failed), (&read, end.is_some()));
    for answer in &read {
        assert!((200..600).contains(&answer.code));
        assert!(!answer.reply().to_string().contains(['\r', '\n']));
        let _ = Capabilities::read(&answer.lines);
    }

    if let Ok(Some((_, octets))) = proxy::parse(data) {
        assert!(octets <= data.len() && octets <= proxy::LONGEST);
        assert_eq!(proxy::parse(&data[..octets - 1]), Ok(None));
    }
    if let Ok(Command::Bdat { .. } | Command::Data) = Command::parse(data) {
        assert!(data.is_ascii());
    }
}

/// Content of a message, in pieces: it ends where CRLF, dot, CRLF is, and nowhere else.
pub fn content(data: &[u8]) {
    let Some((size, wire)) = data.split_first() else { return };
    let bounds = Bounds { octets: 1 << 20, line: 1 << 20 };
    let mut collector = Collector::new(bounds, None);
    let mut at = 0;
    let mut ended = false;
    for piece in wire.chunks(usize::from(*size).max(1)) {
        let (taken, end) = collector.dotted(piece);
        at += taken;
        assert!(end || taken == piece.len());
        if end {
            ended = true;
            break;
        }
    }
    let padded = [b"\r\n", wire].concat();
    match memchr::memmem::find(&padded, b"\r\n.\r\n") {
        Some(end) => assert_eq!((ended, at), (true, end + 3)),
        None => assert!(!ended),
    }
    if let (true, Ok(message)) = (ended, collector.finish()) {
        let wire = muralla_mail_envelope::dots::stuff(&message);
        let mut collector = Collector::new(bounds, None);
        assert_eq!(collector.dotted(&wire), (wire.len(), true));
        assert_eq!(collector.finish(), Ok(message));
    }
}
