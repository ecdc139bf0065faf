//! The record of a packet that userspace gets to see.

/// Bytes of the frame kept in a sample.
pub const SNAPLEN: usize = 192;

/// Every `TRAFFIC_WEIGHT`th packet of a CPU is timed and sampled whatever its verdict.
pub const TRAFFIC_WEIGHT: u64 = 1024;

/// One sampled packet, as it lies in the ring buffer `SAMPLES`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sample {
    /// Time since boot in nanoseconds (CLOCK_MONOTONIC).
    pub time_ns: u64,
    /// Index of the interface that received the frame.
    pub ifindex: u32,
    /// Length of the frame in bytes.
    pub len: u32,
    /// Bytes of the frame in `data`, at most [`SNAPLEN`].
    pub caplen: u16,
    /// Number of the service in the configuration's order.
    pub service: u8,
    /// A [`Reason`](crate::verdict::Reason) as number.
    pub reason: u8,
    /// A [`Verdict`](crate::verdict::Verdict) as number.
    pub verdict: u8,
    /// 1 for one of every [`TRAFFIC_WEIGHT`] packets, whatever its verdict; 0 for a rate-limited
    /// sample of a reason.
    pub traffic: u8,
    /// Unused, zero.
    pub _reserved: [u8; 2],
    /// The frame's first `caplen` bytes, from the Ethernet header on.
    pub data: [u8; SNAPLEN],
}
