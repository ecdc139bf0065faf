//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

#![expect(clippy::unwrap_used, reason = "panics are its findings")]

use crate::address::{Address, LONGEST_LOCAL_PART};
use crate::domain::{Domain, LONGEST_DOMAIN};
use crate::dots;
use crate::envelope::Envelope;
use crate::parameters::{MailParameters, RcptParameters};
use crate::path::{ForwardPath, ReversePath};
use crate::reply::Reply;
use crate::sasl::{Dialog, Mechanism, NONCE, Step};
use crate::scan;

/// Names, addresses and paths: what is read is written as something that is read as the same.
pub fn addresses(text: &str) {
    if let Ok(domain) = Domain::parse(text) {
        assert!(domain.as_str().len() <= LONGEST_DOMAIN);
        assert_eq!(Domain::parse(domain.as_str()).unwrap(), domain);
        assert_eq!(Domain::parse(&domain.to_unicode()).unwrap(), domain);
    }
    if let Ok(address) = Address::parse(text) {
        whole(&address);
    }
    if let Ok((path, rest)) = ReversePath::split(text) {
        assert!(text.ends_with(rest));
        let wire = format!("{path}{rest}");
        assert_eq!(ReversePath::split(&wire).unwrap(), (path, rest));
    }
    if let Ok((path, rest)) = ForwardPath::split(text) {
        assert!(text.ends_with(rest));
        let wire = format!("{path}{rest}");
        assert_eq!(ForwardPath::split(&wire).unwrap(), (path, rest));
    }
}

fn whole(address: &Address) {
    let wire = address.to_string();
    assert_eq!(&Address::parse(&wire).unwrap(), address);
    assert!(address.local.to_string().len() <= LONGEST_LOCAL_PART);
    assert!(!wire.contains(['\r', '\n', '\0']));
    assert_eq!(wire.is_ascii(), !address.needs_utf8());
}

/// Parameters, both ways.
pub fn parameters(text: &str) {
    if let Ok(read) = MailParameters::parse(text) {
        assert_eq!(MailParameters::parse(&read.to_string()).unwrap(), read);
    }
    if let Ok(read) = RcptParameters::parse(text) {
        assert_eq!(RcptParameters::parse(&read.to_string()).unwrap(), read);
    }
    let reply = Reply::of_text(550, text);
    assert!(!reply.to_string().contains(['\r', '\n', '\0']));
}

/// A message: its header ends within it, and fields lie one behind the other.
pub fn message(bytes: &[u8]) {
    let mut at = 0;
    let mut fields = scan::fields(bytes);
    while let Some(field) = fields.next() {
        assert!(bytes.get(at..).unwrap().starts_with(field.whole));
        at += field.whole.len();
        assert_eq!(at, fields.position());
        assert!(!field.text().contains(['\r', '\n']));
        for address in scan::addresses(&field.text(), 8).unwrap_or_default() {
            whole(&address);
        }
    }
    let header = scan::header_length(bytes);
    assert!((at..=at + 2).contains(&header) && header <= bytes.len());
    let wire = dots::stuff(bytes);
    assert!(wire.ends_with(b".\r\n"));
    let _ = dots::unstuff(bytes);
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert_eq!(Envelope::decode(&envelope.encode().unwrap()).unwrap(), envelope);
    }
}

/// Responses of a client, each behind an octet that says how long it is: nobody is in without a proof or a password.
pub fn sasl(bytes: &[u8]) {
    for mechanism in
        [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus]
    {
        let mut dialog = Dialog::new(mechanism, [7; NONCE], Some(&[9; 32]));
        let mut rest = bytes;
        while let [length, behind @ ..] = rest {
            let (response, behind) = behind.split_at(usize::from(*length).min(behind.len()));
            rest = behind;
            match dialog.respond(response) {
                Ok(Step::Proved { .. }) => unreachable!("nobody found a proof right"),
                Ok(Step::Keys { user }) => {
                    assert!(!user.is_empty());
                    dialog.keys(b"salt", 1).unwrap();
                }
                Ok(Step::Password { .. }) => assert!(mechanism.tells_password()),
                Ok(Step::Proof { message, .. }) => {
                    assert!(!mechanism.tells_password());
                    assert!(message.starts_with(b"n="));
                }
                Ok(Step::Challenge(_)) | Err(_) => {}
            }
        }
    }
}
