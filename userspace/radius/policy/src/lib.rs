//! Who may connect, how, and with what. Decided in memory, as a function of its arguments: no clock is read here, no
//! socket, no file, and no random number is made.
//!
//! A request goes through these rooms in order:
//! - [`offered`] reads what it offers as proof: PAP, CHAP, MS-CHAP, or nothing;
//! - [`names`] says whose name User-Name is, by the rules for letters' case and realms;
//! - [`base`] finds the [`Subscriber`] among half a million, and never makes a reader wait;
//! - [`proof`] compares what is offered with the [`credential`] that is stored, in whichever form;
//! - [`decision`] holds everything else against what the request asks for, and says what is granted: an [`Accept`] or a
//!   [`Refusal`] for one [`Reason`], each of which writes its own attributes.
//!
//! What a subscriber gets is written down beforehand:
//! - [`profile`] is what many have in common, with parents;
//! - [`check`] items say of which requests it is, [`pattern`] what `=~` means in them;
//! - reply [`items`] are encoded when they are put in, and settled among several givers;
//! - [`hours`] are times of the week.
//!
//! [`attempts`] limits failures per user and per NAS, and [`reason`] has the texts for those who are refused.

#![forbid(unsafe_code)]

pub mod attempts;
pub mod base;
pub mod check;
pub mod decision;
pub mod hours;
pub mod items;
pub mod names;
pub mod offered;
pub mod pattern;
pub mod profile;
pub mod proof;
pub mod reason;
pub mod subscriber;

mod level;

pub use attempts::{Attempts, Gate};
pub use base::{
    Base, Bulk, Filling, Found, Mppe, OwnItems, Settings, Shelf, SubscriberError, SubscriberRef,
    Unreadable, Upserted,
};
pub use check::Nas;
pub use credential::{CostlyCheck, Credential, CredentialError, Scheme, Storage};
pub use decision::{
    Accept, Checked, Costly, Decision, Holder, PoolError, Pools, Refusal, Request, Sessions, Used,
    decide, resume,
};
pub use hours::{Hours, Moment};
pub use items::Salts;
pub use level::{LevelError, uncounted};
pub use muralla_credentials as credential;
pub use names::{Case, Names, Realm};
pub use offered::{BadOffer, Method, Offered};
pub use profile::{Profile, ProfileError};
pub use proof::{Impossible, Proof, Proven, authenticate};
pub use reason::{Reason, Texts};
pub use subscriber::Subscriber;
