//! Local data: zones from zone files, private zones, and block lists for mail filters.
//!
//! [`LocalData`] holds what this box answers by itself. Answers come from a snapshot, and a reload builds the new data
//! beside it and swaps a pointer: no reader waits for a reload, and a file that is wrong changes nothing.
//!
//! | room | holds |
//! |---|---|
//! | `local` | the snapshot, reloads, the state of each zone |
//! | `config`, `problem` | what the operator says, and what we say back |
//! | `scan`, `master`, `rdata`, `name` | zone files (RFC 1035 section 5) into records |
//! | `zone` | records into a zone: what is refused, what is warned of |
//! | `lookup`, `denial`, `message` | questions into answers (RFC 1034 4.3.2, 4592, 6672, 4035, 5155) |
//! | `private` | names that never leave this network (RFC 6303 and its kin) |
//! | `list` | block lists in rbldnsd's formats |

mod config;
mod denial;
mod file;
mod list;
mod local;
mod lookup;
mod master;
mod message;
mod name;
mod private;
mod problem;
mod rdata;
mod scan;
mod zone;

pub use config::{ListConfig, ListFormat, LocalConfig, ZoneConfig};
pub use local::{
    Kind, LocalAnswer, LocalData, Reloaded, Summary, ZoneKind, ZoneStatus, check, check_list,
};
pub use problem::Problem;
