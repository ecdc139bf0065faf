//! Recursive resolution: iteration, validation and forwarding within budgets.
//!
//! What others need:
//!
//! - [`engine`]: what the DNS role asks of whoever resolves names for it
//! - [`resolver`]: the engine itself
//! - [`config`]: what the operator decides about it
//! - [`transport`]: the only way to a network, and [`network`]: the one of production
//! - [`clock`]: the time of day, for signatures
//! - [`trace`]: what was asked of whom
//!
//! What it is made of:
//!
//! - `iteration`: the walk down from zone to zone; `minimise` says how much of a name each server is shown
//! - `consult`: whom of a zone's servers to ask, and when another beside
//! - `exchange`: one question to one server; `servers` knows how fast and how able each is
//! - `scrub`: what is believed of a response; `rrset` holds it, `rrcache` and `delegation` keep it, in a `bounded` map
//! - `chain`: the chain of trust, on top of `muralla-dnssec`
//! - `budget`: what one question may cost; `flights` joins equal questions
//! - `hints`, `local_root`: where everything starts

mod bounded;
mod budget;
mod chain;
pub mod clock;
pub mod config;
mod consult;
mod delegation;
pub mod engine;
mod exchange;
mod flights;
pub mod hints;
mod iteration;
mod local_root;
mod minimise;
pub mod network;
mod packed;
pub mod resolver;
mod rrcache;
mod rrset;
mod scrub;
mod servers;
pub mod trace;
pub mod transport;

pub use config::{ConfigError, ResolverConfig};
pub use resolver::{Resolver, Statistics};
