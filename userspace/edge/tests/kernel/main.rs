//! The programs in the kernel: loaded, verified and run on frames by BPF_PROG_TEST_RUN. Needs root.

mod fixture;
mod smoke;
