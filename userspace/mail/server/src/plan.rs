//! What becomes of a message, written down before anything is done about it: which mailboxes it goes into, and what goes into
//! the queue. It can be carried out as often as it takes, as each part of it has an id of its own.

use std::collections::HashSet;

use muralla_mail_directory::{AccountId, BackendId, Target};
use muralla_mail_envelope::{
    Address, Client, Domain, Envelope, Keys, MailParameters, OriginalRecipient, Protocol,
    Recipient, ReversePath, headers, scan, srs,
};
use muralla_mail_store::{FolderPath, Purpose};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::perimeter::Placement;
use crate::routes::Route;

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Plan {
    /// The message's envelope, as it came.
    pub(crate) envelope: Envelope,
    /// Mailboxes that it goes into.
    pub(crate) boxes: Vec<Mailbox>,
    /// What goes into the queue.
    pub(crate) parcels: Vec<Parcel>,
}

/// A mailbox that a message goes into. Where it lives is asked when it goes there.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub(crate) struct Mailbox {
    /// Whose.
    pub(crate) account: AccountId,
    /// The recipient that led there, at the account's address: who is told if the account is gone. None in what was written before this
    /// was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Recipient>,
    /// The folder.
    pub(crate) folder: String,
    /// A folder that is preferred to that, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wished: Option<String>,
    /// Whether it goes there although the mailbox is full: it was promised.
    #[serde(default)]
    pub(crate) promised: bool,
}

/// What goes into the queue.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Parcel {
    /// Its own id, sender and recipients.
    pub(crate) envelope: Envelope,
    /// Where each recipient goes, in their order.
    pub(crate) destinations: Vec<String>,
    /// The account that forwards its mail to each of them, in their order. None at all in what was written before there were any.
    #[serde(default)]
    pub(crate) owners: Vec<Option<AccountId>>,
    /// What stands above the message, beside what stands above it anyway.
    #[serde(default)]
    pub(crate) head: String,
    /// Whether its sender may be told what becomes of it.
    #[serde(default)]
    pub(crate) known: bool,
    /// Whether it waits for an operator.
    #[serde(default)]
    pub(crate) held: bool,
}

/// A recipient, and who gets his mail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Known {
    /// These.
    Targets(Vec<Target>),
    /// It is a failure of what we forwarded: it goes to whose mail that was.
    Bounce(Address),
}

/// What does not come with the message.
pub(crate) struct Surroundings<'a> {
    /// The keys of rewritten senders, if there are any.
    pub(crate) keys: Option<&'a Keys>,
    /// The domain of rewritten senders.
    pub(crate) forwarding: &'a Domain,
    /// Whether senders of that domain are ours.
    pub(crate) is_ours: &'a (dyn Fn(&Domain) -> bool + Sync),
    /// Whether the sender proved who he is.
    pub(crate) known: bool,
}

impl Plan {
    /// Nothing is left to be done.
    pub(crate) fn is_done(&self) -> bool {
        self.boxes.is_empty() && self.parcels.is_empty()
    }

    /// How many mailboxes and parcels it has.
    pub(crate) fn parts(&self) -> usize {
        self.boxes.len() + self.parcels.len()
    }

    /// Plans a message for recipients that were resolved, each with where the filter wants it.
    pub(crate) fn new(
        envelope: Envelope,
        recipients: Vec<(Recipient, Known, Placement)>,
        raw: &[u8],
        around: &Surroundings<'_>,
    ) -> Self {
        let mut planner = Planner {
            around,
            raw,
            from: &envelope,
            accounts: HashSet::new(),
            others: HashSet::new(),
            boxes: Vec::new(),
            parcels: Vec::new(),
            count: 0,
        };
        for (recipient, known, placement) in recipients {
            match known {
                Known::Bounce(to) => planner.bounce(&recipient, to),
                Known::Targets(targets) => {
                    for target in targets {
                        planner.target(&recipient, target, placement);
                    }
                }
            }
        }
        let Planner { boxes, parcels, .. } = planner;
        Self { envelope, boxes, parcels }
    }

    /// The line above what lies in a mailbox: RFC 5321 section 4.4.
    pub(crate) fn return_path(&self) -> String {
        headers::return_path(&self.envelope.from)
    }
}

struct Planner<'a> {
    around: &'a Surroundings<'a>,
    raw: &'a [u8],
    from: &'a Envelope,
    accounts: HashSet<(AccountId, BackendId)>,
    others: HashSet<Address>,
    boxes: Vec<Mailbox>,
    parcels: Vec<Parcel>,
    count: u64,
}

impl Planner<'_> {
    fn target(&mut self, recipient: &Recipient, target: Target, placement: Placement) {
        match target {
            Target::Mailbox { account, name, folder_hint, backends, .. } => {
                // A name that can't be written to is no reason to lose what was written to another one.
                let address = name.to_address().unwrap_or_else(|| recipient.address.clone());
                for backend in backends.iter() {
                    if !self.accounts.insert((account, *backend)) {
                        continue;
                    }
                    if *backend == BackendId::STORE {
                        self.mailbox(recipient, account, &address, folder_hint.clone(), placement);
                    } else {
                        self.backend(recipient, *backend, &address, placement);
                    }
                }
            }
            Target::Backend { backends, address } => {
                if !self.others.insert(address.clone()) {
                    return;
                }
                for backend in backends.iter() {
                    self.backend(recipient, *backend, &address, placement);
                }
            }
            Target::Forward { address, account } => {
                self.forward(recipient, address, account, placement);
            }
        }
    }

    fn mailbox(
        &mut self,
        recipient: &Recipient,
        account: AccountId,
        address: &Address,
        hint: Option<String>,
        placement: Placement,
    ) {
        let folder = match placement {
            Placement::Inbox => Purpose::Inbox,
            Placement::Spam => Purpose::Spam,
            Placement::Hold => {
                let route = Route::Store { folder: Purpose::Inbox.path().to_owned() };
                let to = Goes::to(same(recipient, address.clone()), &route);
                return self.parcel("hold", self.from.from.clone(), to, String::new(), true);
            }
        };
        // Whoever wants to hear that it arrived is told by the queue (RFC 3461 section 5.2.3), if he may be told at all.
        if self.around.known && recipient.parameters.notify.on_success() {
            let route = Route::Store { folder: folder.path().to_owned() };
            let to = Goes::to(same(recipient, address.clone()), &route);
            return self.parcel("told", self.from.from.clone(), to, String::new(), false);
        }
        // Nobody writes into Spam, Sent or Trash of another by a name with a detail.
        let wished = hint.filter(|hint| placement == Placement::Inbox && may_be_wished(hint));
        let folder = folder.path().to_owned();
        let to = Some(same(recipient, address.clone()));
        self.boxes.push(Mailbox { account, to, folder, wished, promised: false });
    }

    fn backend(
        &mut self,
        recipient: &Recipient,
        backend: BackendId,
        address: &Address,
        placement: Placement,
    ) {
        // Whoever keeps it files it by this: it is what most know.
        let head = match placement {
            Placement::Spam => "X-Spam-Flag: YES\r\n".to_owned(),
            _ => String::new(),
        };
        let held = placement == Placement::Hold;
        let to = Goes::to(same(recipient, address.clone()), &Route::Backend(backend));
        self.parcel("backend", self.from.from.clone(), to, head, held);
    }

    /// Mail that goes on. It is a loop if it went on from here before.
    fn forward(
        &mut self,
        recipient: &Recipient,
        address: Address,
        owner: Option<AccountId>,
        placement: Placement,
    ) {
        if !self.others.insert(address.clone()) {
            return;
        }
        let destination = Route::Domain(address.domain.to_string());
        // What a user of ours sends there, he sends himself.
        if self.around.known && address == recipient.address {
            let to = Goes::to(same(recipient, address), &destination);
            return self.parcel("relay", self.from.from.clone(), to, String::new(), false);
        }
        let held =
            placement == Placement::Hold || scan::was_delivered_to(self.raw, &recipient.address);
        let head = headers::delivered_to(&recipient.address);
        let to = Goes { owner, ..Goes::to(same(recipient, address), &destination) };
        self.parcel("forward", self.forwarded_from(), to, head, held);
    }

    /// The sender of what is forwarded: ours, so that it passes SPF, unless it is ours anyway or there is none.
    fn forwarded_from(&self) -> ReversePath {
        let ReversePath::Address(sender) = &self.from.from else { return ReversePath::Null };
        let ours = sender.domain().is_some_and(|domain| (self.around.is_ours)(domain));
        let Some(keys) = self.around.keys.filter(|_| !ours) else { return self.from.from.clone() };
        let today = clock::today(self.from.received_at);
        match srs::rewrite(sender, self.around.forwarding, keys, today) {
            Ok(rewritten) => ReversePath::Address(rewritten),
            // Nobody can be told what becomes of it, and it arrives.
            Err(_) => ReversePath::Null,
        }
    }

    fn bounce(&mut self, recipient: &Recipient, to: Address) {
        let destination = Route::Domain(to.domain.to_string());
        let to = Goes { notice: true, ..Goes::to(same(recipient, to), &destination) };
        self.parcel("bounce", ReversePath::Null, to, String::new(), false);
    }

    /// Puts a recipient to those who get the same, or into a parcel of his own.
    fn parcel(&mut self, purpose: &str, from: ReversePath, to: Goes, head: String, held: bool) {
        let Goes { recipient, destination, owner, notice } = to;
        let known = self.around.known;
        let protocol = if notice { Protocol::Local } else { self.from.client.protocol };
        let fits = |parcel: &&mut Parcel| {
            parcel.envelope.from == from
                && parcel.envelope.client.protocol == protocol
                && parcel.head == head
                && parcel.held == held
        };
        if let Some(parcel) = self.parcels.iter_mut().find(fits) {
            parcel.envelope.recipients.push(recipient);
            parcel.destinations.push(destination);
            parcel.owners.push(owner);
            return;
        }
        let id = self.from.id.derive(purpose, self.count);
        self.count += 1;
        let mail = MailParameters { size: None, auth: None, ..self.from.mail.clone() };
        let client = Client { protocol, ..self.from.client.clone() };
        let envelope =
            Envelope { id, from, mail, recipients: vec![recipient], client, ..self.from.clone() };
        self.parcels.push(Parcel {
            envelope,
            destinations: vec![destination],
            owners: vec![owner],
            head,
            known,
            held,
        });
    }
}

/// A recipient of a parcel.
struct Goes {
    recipient: Recipient,
    destination: String,
    /// The account that forwards to him.
    owner: Option<AccountId>,
    /// It is a notice of a failure that is handed on, as one of ours: if that fails, nobody is told, and nothing is held.
    notice: bool,
}

impl Goes {
    fn to(recipient: Recipient, route: &Route) -> Self {
        Self { recipient, destination: route.to_string(), owner: None, notice: false }
    }
}

/// The recipient at another address. Whoever is told of him is told of the one that was written to.
fn same(recipient: &Recipient, address: Address) -> Recipient {
    let mut parameters = recipient.parameters.clone();
    if address != recipient.address && parameters.orcpt.is_none() {
        parameters.orcpt = Some(OriginalRecipient::of(&recipient.address));
    }
    Recipient { address, parameters }
}

fn may_be_wished(hint: &str) -> bool {
    FolderPath::parse(hint).is_ok_and(|path| matches!(path.purpose(), Purpose::Own))
}

#[cfg(test)]
mod tests;
