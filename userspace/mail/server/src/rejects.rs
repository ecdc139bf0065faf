//! What is refused for some of its recipients or for all: who gets it, and who has a copy of it in Rejects.

use std::collections::BTreeSet;

use muralla_mail_directory::{AccountId, BackendId, Target};
use muralla_mail_envelope::{Envelope, MessageId, Recipient, Reply, headers};
use muralla_mail_store::Purpose;
use ring::digest;

use crate::clock;
use crate::perimeter::Placement;
use crate::plan::{Known, Mailbox, Plan};

/// The field above a copy: our id of the message, by which traces know it, and what was said of it.
pub(crate) const FIELD: &str = "X-Muralla-Reject";

/// A message's recipients, each with where it goes; none for those for whom it is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Parted(Vec<(Recipient, Known, Option<Placement>)>);

/// What is left of them when copies are kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Left {
    /// Who gets the message, and where.
    pub(crate) placed: Vec<(Recipient, Known, Placement)>,
    /// For whom it is refused.
    pub(crate) refused: Vec<Recipient>,
}

impl Parted {
    pub(crate) fn new(known: Vec<(Recipient, Known)>, placements: Vec<Option<Placement>>) -> Self {
        let mut placements = placements.into_iter();
        let parted = known
            .into_iter()
            .map(|(recipient, known)| (recipient, known, placements.next().flatten()));
        Self(parted.collect())
    }

    /// Whether nobody takes it.
    pub(crate) fn is_refused_by_all(&self) -> bool {
        self.0.iter().all(|(.., placement)| placement.is_none())
    }

    /// For whom it is refused.
    pub(crate) fn refused(&self) -> Vec<Recipient> {
        let refused = self.0.iter().filter(|(.., placement)| placement.is_none());
        refused.map(|(recipient, ..)| recipient.clone()).collect()
    }

    /// Mailboxes that a copy is for: those of ours that it is refused for and that don't get it under another name.
    pub(crate) fn copies(&self) -> BTreeSet<AccountId> {
        let taking = self.mailboxes(true);
        self.mailboxes(false).difference(&taking).copied().collect()
    }

    /// Who is left when these mailboxes have a copy. What has none, as it is no mailbox of ours or could not be written to, gets the
    /// message in another way: it would be lost otherwise, as others take it.
    pub(crate) fn left(self, kept: &BTreeSet<AccountId>, instead: Placement) -> Left {
        let taking = self.mailboxes(true);
        let mut left = Left::default();
        for (recipient, known, placement) in self.0 {
            match (placement, known) {
                (Some(placement), known) => left.placed.push((recipient, known, placement)),
                (None, Known::Targets(mut targets)) => {
                    targets.retain(|target| {
                        mailbox(target).is_none_or(|account| {
                            !kept.contains(&account) && !taking.contains(&account)
                        })
                    });
                    if targets.is_empty() {
                        left.refused.push(recipient);
                    } else {
                        left.placed.push((recipient, Known::Targets(targets), instead));
                    }
                }
                (None, known) => left.placed.push((recipient, known, instead)),
            }
        }
        left
    }

    fn mailboxes(&self, taking: bool) -> BTreeSet<AccountId> {
        let these = self.0.iter().filter(|(.., placement)| placement.is_some() == taking);
        these
            .filter_map(|(_, known, _)| match known {
                Known::Targets(targets) => Some(targets),
                Known::Bounce(_) => None,
            })
            .flatten()
            .filter_map(mailbox)
            .collect()
    }
}

/// The mailbox of ours that a target is.
fn mailbox(target: &Target) -> Option<AccountId> {
    match target {
        Target::Mailbox { account, backends, .. } if backends.contains(&BackendId::STORE) => {
            Some(*account)
        }
        _ => None,
    }
}

/// What says above a copy why it is one.
pub(crate) fn field(id: &MessageId, reply: &Reply) -> String {
    headers::text(FIELD, &format!("{id} {reply}"))
}

/// How copies come into mailboxes.
pub(crate) fn plan(envelope: Envelope, accounts: BTreeSet<AccountId>, message: &[u8]) -> Plan {
    let folder = Purpose::Rejects.path();
    let boxes = accounts.into_iter().map(|account| Mailbox {
        account,
        to: None,
        folder: folder.to_owned(),
        wished: None,
        // It is not counted.
        promised: true,
    });
    let id = same(message, envelope.received_at);
    Plan { envelope: Envelope { id, ..envelope }, boxes: boxes.collect(), parcels: Vec::new() }
}

/// An id that is the same for whatever is the same on one day: who is refused, or put off as somebody else's mailbox is full, tries
/// again and again, and one copy is enough.
fn same(message: &[u8], received_at: i64) -> MessageId {
    let digest = digest::digest(&digest::SHA256, message);
    let mut id = [0; 16];
    id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    MessageId(id).derive("reject", clock::today(received_at).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muralla_mail_directory::{Name, ShardId};
    use muralla_mail_envelope::{Address, EnhancedCode};

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn to(name: &str) -> Recipient {
        Recipient::new(address(name))
    }

    fn of(account: i64, backends: &[BackendId]) -> Target {
        Target::Mailbox {
            account: AccountId(account),
            name: Name::parse("ann@isp.example").unwrap(),
            shard: ShardId::MAIN,
            folder_hint: None,
            backends: Arc::from(backends),
        }
    }

    fn ours(account: i64) -> Target {
        of(account, &[BackendId::STORE])
    }

    fn elsewhere() -> Target {
        Target::Forward { address: address("x@elsewhere.example"), account: None }
    }

    #[test]
    fn who_has_a_copy_and_who_gets_it() {
        let other_store = of(1, &[BackendId(7)]);
        // Where mail for a goes, for whom it is refused, and whose mailbox b's is, who takes it; mailboxes that are to have a copy, and
        // that have one; and who gets it then.
        for (a, b, copies, kept, gets) in [
            (vec![ours(1)], 2, &[1][..], &[1][..], "b Inbox"),
            (vec![ours(1)], 2, &[1], &[], "a Spam, b Inbox"),
            (vec![ours(1)], 1, &[], &[], "b Inbox"),
            (vec![ours(1), elsewhere()], 2, &[1], &[1], "a Spam, b Inbox"),
            (vec![other_store], 2, &[], &[], "a Spam, b Inbox"),
        ] {
            let known = vec![
                (to("a@isp.example"), Known::Targets(a.clone())),
                (to("b@isp.example"), Known::Targets(vec![ours(b)])),
            ];
            let parted = Parted::new(known, vec![None, Some(Placement::Inbox)]);
            let accounts =
                |all: &[i64]| all.iter().copied().map(AccountId).collect::<BTreeSet<_>>();
            assert!(!parted.is_refused_by_all());
            assert_eq!(parted.copies(), accounts(copies), "{a:?}");
            let left = parted.left(&accounts(kept), Placement::Spam);
            let placed = left.placed.iter().map(|(recipient, _, placement)| {
                format!("{} {placement:?}", recipient.address.local.as_str())
            });
            assert_eq!(placed.collect::<Vec<_>>().join(", "), gets, "{a:?}");
            assert_eq!(left.refused.len() + left.placed.len(), 2, "{a:?}");
        }
    }

    #[test]
    fn of_whom_nothing_is_said_he_does_not_get_it() {
        let bounce = Known::Bounce(address("x@example.org"));
        let known = vec![
            (to("a@isp.example"), Known::Targets(vec![ours(1)])),
            (to("b@isp.example"), bounce),
        ];
        let parted = Parted::new(known, Vec::new());
        assert!(parted.is_refused_by_all());
        assert_eq!((parted.copies(), parted.refused().len()), (BTreeSet::from([AccountId(1)]), 2));
        // A failure that comes back has no mailbox.
        assert_eq!(parted.left(&BTreeSet::new(), Placement::Hold).placed.len(), 2);
    }

    #[test]
    fn of_an_alias_only_what_has_no_copy_is_left() {
        let known = vec![(to("all@isp.example"), Known::Targets(vec![ours(1), ours(2), ours(3)]))];
        let left = Parted::new(known, vec![None])
            .left(&BTreeSet::from([AccountId(1), AccountId(3)]), Placement::Spam);
        assert_eq!(left.placed[0].1, Known::Targets(vec![ours(2)]));
        assert!(left.refused.is_empty());
    }

    #[test]
    fn the_same_has_one_id_on_one_day() {
        let now = 1_800_000_000;
        assert_eq!(same(b"a", now), same(b"a", now + 60));
        assert_ne!(same(b"a", now), same(b"b", now));
        assert_ne!(same(b"a", now), same(b"a", now + 86_400));
    }

    #[test]
    fn the_reason_makes_no_field_of_its_own() {
        let code = EnhancedCode::new(5, 7, 1);
        let reply =
            Reply::new(550, Some(code), "Spam\r\nBcc: x@example.org\r\n\r\nfor \u{1b}[2Jñandú");
        let field = field(&MessageId([7; 16]), &reply);
        let inner = field.strip_suffix("\r\n").unwrap();
        assert!(inner.starts_with("X-Muralla-Reject: ") && field.is_ascii(), "{field:?}");
        assert!(inner.split("\r\n").skip(1).all(|line| line.starts_with(' ')), "{field:?}");
        assert!(!field.contains('\u{1b}'), "{field:?}");
    }
}
