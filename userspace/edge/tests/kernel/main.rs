//! The programs in the kernel: loaded, verified and run on frames by BPF_PROG_TEST_RUN. Needs root.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of it is tests: what is not as it should be fails one"
)]

mod answers;
mod differential;
mod faults;
mod fixture;
mod headers;
mod host;
mod judging;
mod limits;
mod packets;
mod services;
mod slips;
mod sources;
mod verifier;
