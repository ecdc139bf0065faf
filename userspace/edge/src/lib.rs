//! The wall's userspace: loads, pins and swaps the programs, compiles policy into maps, bans
//! offenders and reads samples.
//!
//! - [`config`]: what the operator may write about the edge, with its defaults
pub mod config;
