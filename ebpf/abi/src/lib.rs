//! What the kernel side and userspace share, defined once.
//!
//! Everything here is a pure function of its arguments: time and randomness are passed in, packets and
//! maps are reached through small traits. So the code that the verifier accepts is the code that the
//! host's tests, properties and fuzzers run.
//!
//! - [`verdict`]: what happens to a packet, and the one reason for it
//! - [`frame`]: how packets' bytes are reached, with every read checked
//! - [`headers`]: Ethernet, VLAN, IPv4 and IPv6 down to the ports
//! - [`table`]: how maps of 64-byte lines are reached, and the keyed hash over them
//! - [`policy`]: the compiled configuration, one image that is swapped whole
//! - [`prefix`]: prefixes to facts, by longest match
//! - [`answers`]: the NIC cache, hot DNS answers that the wall gives itself
//! - [`bans`]: sources that are kept out for a while
//! - [`limit`]: the limiter of sources and networks, which never allocates
//! - [`budget`]: what a whole service may take
//! - [`familiar`]: sources recently seen doing legitimate business
//! - [`dns`], [`radius`]: the wire checks, and the truncated answer
//! - [`decide`]: the order in which all of this is asked
//! - [`sample`]: the record of a packet that userspace gets to see
//! - `verifier`: what the kernel's verifier is better not told
//! - [`layout`]: names and sizes of the maps, and the version of it all
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(test)]
extern crate std;

pub mod answers;
pub mod bans;
pub mod budget;
pub mod decide;
pub mod dns;
pub mod familiar;
pub mod frame;
pub mod headers;
pub mod layout;
pub mod limit;
pub mod policy;
pub mod prefix;
pub mod radius;
pub mod sample;
pub mod table;
pub mod verdict;
mod verifier;
