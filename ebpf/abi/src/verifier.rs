//! What the kernel's verifier is better not told.
//!
//! It follows a program once for each combination of values that it knows, up to a million instructions. Where
//! a loop or a choice leaves many of them behind that make no difference, they are hidden from it: what follows
//! is then looked at once.

/// The same number, but any number to the verifier. `unknown` is one that it can't know: from a map, a packet
/// or a clock.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn hide(number: u32, unknown: u64) -> u32 {
    let mut hidden = u64::from(number);
    // SAFETY: twice the same exclusive or changes nothing; the verifier doesn't follow that.
    unsafe {
        core::arch::asm!(
            "{hidden} ^= {unknown}",
            "{hidden} ^= {unknown}",
            hidden = inout(reg) hidden,
            unknown = in(reg) unknown,
            options(pure, nomem, nostack),
        );
    }
    hidden as u32
}

/// The same number.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn hide(number: u32, _unknown: u64) -> u32 {
    number
}
