//! Where mail for an address goes, out of memory: aliases and forwards are followed to their ends, once each, so that no
//! circle is followed for ever and nobody gets a message twice.
//!
//! The order, for an address of ours: the alias of the whole name, the account of the whole name, the same two of what stands
//! before the separator, the domain's catch-all, the domain's back-ends if it relays, and for `postmaster` (RFC 5321 section
//! 4.5.1) whoever is configured. A name among its own alias' targets is the account of that name, as in Postfix.
//!
//! Nobody is asked, be the name known or not: what is told by time is a fraction of a microsecond. Whether a domain's back-ends know
//! whom we don't is for whoever takes the mail to ask.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use muralla_mail_envelope::Address;

use crate::index::{Index, Small};
use crate::record::{self, Account};
use crate::{
    AccountId, BackendId, BlockedSubscribers, Name, Options, SendingLimits, ShardId,
    SubscriberState,
};

/// Most names that are looked at for one address.
const MOST_STEPS: usize = 20_000;

/// What becomes of mail for an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Resolution {
    /// It goes to these, each there once; at least one.
    Deliver(Vec<Target>),
    /// Nobody has that address.
    Unknown,
    /// Somebody has it, and takes no mail.
    Disabled,
    /// Its domain is none of ours.
    NotOurs,
    /// It leads to more than can be followed.
    TooMany,
    /// It leads to nobody but itself.
    Loop,
}

/// Somebody who gets mail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// A mailbox of ours.
    Mailbox {
        /// Whose.
        account: AccountId,
        /// His name.
        name: Name,
        /// Where it lives.
        shard: ShardId,
        /// What stood behind the separator: a folder, if he has one of that name.
        folder_hint: Option<String>,
        /// All of these must have taken it. Never empty; mostly our store alone.
        backends: Arc<[BackendId]>,
    },
    /// An address elsewhere.
    Forward {
        /// The address.
        address: Address,
        /// The account that forwards its mail there; none if an alias leads there without one.
        account: Option<AccountId>,
    },
    /// An address of a domain that knows more than we do.
    Backend {
        /// All of these must have taken it. Never empty.
        backends: Arc<[BackendId]>,
        /// For whom.
        address: Address,
    },
}

/// An account, as much as the servers need of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountView {
    /// Its number.
    pub id: AccountId,
    /// Its name.
    pub name: Name,
    /// Where its mail lives.
    pub shard: ShardId,
    /// Bytes that it may have; 0: no limit.
    pub quota_bytes: u64,
    /// Whether it, or its domain, takes neither mail nor a login.
    pub disabled: bool,
    /// Whether it takes mail and no login, as its owner is blocked as a subscriber.
    pub refused: bool,
    /// Whether it may send, itself and as a subscriber.
    pub may_send: bool,
    /// How much it may send; whatever is none or 0 is not limited.
    pub limits: SendingLimits,
    /// Where its mail is handed over.
    pub backends: Arc<[BackendId]>,
}

impl AccountView {
    /// `limits` are those of who has none otherwise: they may have changed since the options were made.
    pub(crate) fn of(
        record: &[u8],
        small: &Small,
        options: &Options,
        limits: SendingLimits,
    ) -> Option<Self> {
        let account = Account::read(record)?;
        let domain = small.domains.get(crate::name::split(account.name).1);
        let above = domain.map(|domain| domain.entry.limits).unwrap_or_default();
        let quota = domain.and_then(|domain| domain.entry.quota_bytes);
        let blocked = account.subscriber == Some(SubscriberState::Blocked);
        let rule = options.blocked_subscribers;
        Some(Self {
            id: account.id,
            name: Name::stored(account.name)?,
            shard: account.shard,
            quota_bytes: account.quota_bytes.or(quota).unwrap_or(options.quota_bytes),
            disabled: account.disabled || domain.is_none_or(|domain| domain.entry.disabled),
            refused: blocked && rule == BlockedSubscribers::Refuse,
            may_send: account.may_send && (!blocked || rule == BlockedSubscribers::Serve),
            limits: account.limits.or(above).or(limits),
            backends: small.backends_of(&account),
        })
    }
}

/// What becomes of mail for an address.
pub(crate) fn resolve(index: &Index, options: &Options, address: &Address) -> Resolution {
    let small = index.small();
    let ours = address.domain().and_then(|domain| small.domain(domain.as_str()));
    let Some(ours) = ours else { return Resolution::NotOurs };
    if ours.entry.disabled {
        return Resolution::Disabled;
    }
    let mut walk = Walk {
        index,
        small: &small,
        options,
        queue: VecDeque::from([Step { address: address.clone(), detail: None, owner: None }]),
        aliases: HashSet::new(),
        accounts: HashSet::new(),
        elsewhere: HashSet::new(),
        targets: Vec::new(),
        looped: false,
        disabled: false,
    };
    let mut steps = 0;
    while let Some(step) = walk.queue.pop_front() {
        steps += 1;
        if steps + walk.queue.len() > MOST_STEPS {
            return Resolution::TooMany;
        }
        walk.step(&step);
    }
    if !walk.targets.is_empty() {
        Resolution::Deliver(walk.targets)
    } else if walk.looped {
        Resolution::Loop
    } else if walk.disabled {
        Resolution::Disabled
    } else {
        Resolution::Unknown
    }
}

struct Step {
    address: Address,
    /// What stood behind the separator of a name that led here.
    detail: Option<String>,
    /// The account whose mail it is that goes on from here: the last one on the way.
    owner: Option<AccountId>,
}

struct Walk<'a> {
    index: &'a Index,
    small: &'a Small,
    options: &'a Options,
    queue: VecDeque<Step>,
    /// Names of aliases that were followed, and `@domain` for its catch-all.
    aliases: HashSet<String>,
    accounts: HashSet<i64>,
    elsewhere: HashSet<Address>,
    targets: Vec<Target>,
    looped: bool,
    disabled: bool,
}

impl Walk<'_> {
    fn step(&mut self, step: &Step) {
        let address = &step.address;
        let ours = address.domain().and_then(|domain| self.small.domain(domain.as_str()));
        let Some(ours) = ours else {
            if self.elsewhere.insert(address.clone()) {
                self.targets
                    .push(Target::Forward { address: address.clone(), account: step.owner });
            }
            return;
        };
        let ours = Arc::clone(ours);
        if ours.entry.disabled {
            self.disabled = true;
            return;
        }
        let (local, domain) = (address.local.folded(), ours.entry.name.as_str());
        let (detail, owner) = (step.detail.as_deref(), step.owner);
        if self.named(&local, domain, detail, owner) {
            return;
        }
        if let Some(separator) = ours.entry.separator
            && let Some((base, _)) =
                local.split_once(separator).filter(|(base, _)| !base.is_empty())
        {
            // As it was written: folders have capitals.
            let own = address.local.detail(separator).map(|(_, detail)| detail);
            let own = own.filter(|detail| !detail.is_empty());
            if self.named(base, domain, own.or(detail), owner) {
                return;
            }
        }
        if !ours.entry.catch_all.is_empty() {
            if !self.aliases.insert(format!("@{domain}")) {
                self.looped = true;
                return;
            }
            let steps = ours.entry.catch_all.iter();
            self.queue.extend(steps.map(|address| Step {
                address: address.clone(),
                detail: None,
                owner,
            }));
            return;
        }
        if ours.entry.relay {
            if self.elsewhere.insert(address.clone()) {
                let backends = Arc::clone(&ours.backends);
                self.targets.push(Target::Backend { backends, address: address.clone() });
            }
            return;
        }
        if local == "postmaster"
            && let Some(postmaster) = &self.options.postmaster
        {
            if !self.aliases.insert("postmaster".to_owned()) {
                self.looped = true;
                return;
            }
            self.queue.push_back(Step { address: postmaster.clone(), detail: None, owner });
        }
    }

    /// Follows the alias of a name, or takes the account; false if there is neither.
    fn named(
        &mut self,
        local: &str,
        domain: &str,
        detail: Option<&str>,
        owner: Option<AccountId>,
    ) -> bool {
        let Some(name) = Name::join(local, domain) else { return false };
        if let Some(alias) = self.index.alias(name.as_str()) {
            if self.aliases.insert(name.as_str().to_owned()) {
                for (target, _) in record::targets(&alias) {
                    if let Ok(address) = Address::parse(target) {
                        let detail = detail.map(str::to_owned);
                        self.queue.push_back(Step { address, detail, owner });
                    }
                }
                return true;
            }
            if !self.account(&name, detail) {
                self.looped = true;
            }
            return true;
        }
        self.account(&name, detail)
    }

    fn account(&mut self, name: &Name, detail: Option<&str>) -> bool {
        let Some(record) = self.index.account(name.as_str()) else { return false };
        let Some(account) = Account::read(&record) else { return false };
        if account.disabled {
            self.disabled = true;
            return true;
        }
        if !self.accounts.insert(account.id.0) {
            self.looped = true;
            return true;
        }
        let mut forwarded = false;
        for target in account.forwards() {
            if let Ok(address) = Address::parse(target) {
                forwarded = true;
                self.queue.push_back(Step { address, detail: None, owner: Some(account.id) });
            }
        }
        if account.keep_copy || !forwarded {
            self.targets.push(Target::Mailbox {
                account: account.id,
                name: name.clone(),
                shard: account.shard,
                folder_hint: detail.map(str::to_owned),
                backends: self.small.backends_of(&account),
            });
        }
        true
    }
}

/// Whether an account may send as an address: its own with any detail, in any domain that is an alias of its own, an alias
/// that leads straight to it, or what it was allowed.
pub(crate) fn may_send_as(index: &Index, account: AccountId, address: &Address) -> bool {
    let small = index.small();
    let Some(record) = index.account_of(account.0) else { return false };
    let Some(own) = Account::read(&record) else { return false };
    let senders = own.senders();
    if let Some(domain) = address.domain() {
        let allowed = |sender: &&str| sender.strip_prefix('@') == Some(domain.as_str());
        if senders.iter().any(allowed) {
            return true;
        }
    }
    let Some(domain) = address.domain() else { return false };
    let local = address.local.folded();
    // An address elsewhere may be allowed as well.
    let (canonical, separator) = match small.domain(domain.as_str()) {
        Some(ours) => (ours.entry.name.as_str(), ours.entry.separator),
        None => (domain.as_str(), None),
    };
    let base = separator
        .and_then(|separator| local.split_once(separator))
        .map(|(base, _)| base)
        .filter(|base| !base.is_empty());
    [Some(&*local), base].into_iter().flatten().any(|local| {
        let Some(name) = Name::join(local, canonical) else { return false };
        if name.as_str() == own.name || senders.contains(&name.as_str()) {
            return true;
        }
        let Some(alias) = index.alias(name.as_str()) else { return false };
        record::targets(&alias)
            .any(|(target, may_send)| may_send && leads_to(&small, target, own.name))
    })
}

/// Whether an alias' target is an account's own address, in its own domain or an alias of that.
fn leads_to(small: &Small, target: &str, name: &str) -> bool {
    let Ok(address) = Address::parse(target) else { return false };
    let domain = address.domain().and_then(|domain| small.domain(domain.as_str()));
    domain
        .and_then(|ours| Name::join(&address.local.folded(), ours.entry.name.as_str()))
        .is_some_and(|target| target.as_str() == name)
}

#[cfg(test)]
mod tests;
