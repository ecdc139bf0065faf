//! What clients did that their neighbours should know: for the wall, which slows and blocks whoever goes too far.

use std::net::IpAddr;

use muralla_mail_directory::AccountId;
use muralla_smtp::server::Report;

/// What a client did in one connection, as far as anybody should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// What he was connected to.
    pub service: Service,
    /// Where he came from. The connection was made, so the address is no forged one.
    pub source: IpAddr,
    /// What he did.
    pub conduct: Conduct,
    /// How often.
    pub count: u32,
}

/// What is served, as the wall calls it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Service {
    /// Mail from other servers.
    Smtp,
    /// Mail from users.
    Submission,
    /// Mailboxes.
    Pop3,
}

impl Service {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Pop3 => "pop3",
        }
    }
}

/// What somebody did.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Conduct {
    /// Wrote to addresses that nobody has.
    GuessedAddresses,
    /// Gave a wrong name or password.
    GuessedPasswords,
    /// Spoke before he was greeted, or where he had to wait.
    SpokeEarly,
    /// Sent what is no command, or ended lines as no client does.
    BrokeProtocol,
    /// Said something in the clear that was to be taken for encrypted.
    Injected,
    /// Wanted to send mail that is none of ours.
    Relayed,
    /// Had as many connections as he may.
    Crowded,
    /// Sent what the filter refused.
    Spam,
}

/// Who wants to know.
pub trait Lookout: Send + Sync + 'static {
    /// Somebody did something. Called from where mail is served: must not wait.
    fn saw(&self, sighting: Sighting);

    /// A user proved to be himself: whoever else is behind that address, not all of them are strangers. Must not wait, either.
    fn welcomed(&self, source: IpAddr, account: AccountId) {
        let _ = (source, account);
    }
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Lookout for Nobody {
    fn saw(&self, _: Sighting) {}
}

/// Somebody had as many connections as he may.
pub(crate) fn crowded(service: Service, source: IpAddr) -> Sighting {
    Sighting { service, source, conduct: Conduct::Crowded, count: 1 }
}

/// What is worth telling of an SMTP connection: beside what its report has, messages that were none of ours, and spam.
pub(crate) fn of_smtp(
    service: Service,
    source: IpAddr,
    report: &Report,
    (relayed, spam): (u32, u32),
) -> Vec<Sighting> {
    let early = report.hurried + u32::from(report.early);
    let broken = report.bare_line_ends + u32::from(report.foreign) + report.errors / 4;
    let all = [
        (Conduct::GuessedAddresses, report.unknown_recipients),
        (Conduct::GuessedPasswords, report.failed_logins),
        (Conduct::SpokeEarly, early),
        (Conduct::BrokeProtocol, broken),
        (Conduct::Injected, u32::from(report.injected > 0)),
        (Conduct::Relayed, relayed),
        (Conduct::Spam, spam),
    ];
    let seen = all.into_iter().filter(|(_, count)| *count > 0);
    seen.map(|(conduct, count)| Sighting { service, source, conduct, count }).collect()
}
