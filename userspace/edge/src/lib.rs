//! The wall's userspace: loads, pins and swaps the programs, compiles policy into maps, bans
//! offenders and reads samples.
//!
//! - [`answers`]: the NIC cache, which the DNS role fills
//! - [`config`]: what the operator may write about the edge, with its defaults
//! - [`feeds`]: lists of prefixes as they are found in the field, taken whole or
//!   refused with file and line
//! - [`offenders`]: who is banned, and for how long, for what the services behind the wall saw
//! - [`pcapng`]: samples as a capture file, with the reason for each drop as its comment
//! - [`policy`]: the configuration and every list, compiled into one image for the kernel
//! - [`samples`]: samples in words that a person at the NOC understands
//! - [`wall`]: the wall as one thing, which the binary holds
//! - [`programs`], `pins`, `kernel`: the programs, where they are pinned, and the system calls for it
//! - `keyring`: what the tables were made with
//! - `ban_table`, `state`: blocks and bans, in the kernel's table and through a reboot
//! - [`ring`]: the samples as they come
//! - [`talkers`]: the busiest sources and networks of the last minutes, in bounded memory

pub mod answers;
pub mod config;
pub mod feeds;
pub mod offenders;
pub mod pcapng;
pub mod policy;
pub mod programs;
pub mod ring;
pub mod samples;
pub mod talkers;
pub mod wall;

mod ban_table;
mod frame;
mod kernel;
mod keyring;
mod pins;
mod state;

pub use ban_table::TableError;
