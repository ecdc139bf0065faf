//! Reading and writing big-endian fields without a panic.

/// The 32 bits at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 64 bits at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Numbers one after the other, in as many bytes as there are. Those that find no room are left out.
pub(crate) fn numbers<const SIZE: usize>(values: &[u64]) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    for (place, value) in bytes.chunks_exact_mut(8).zip(values) {
        place.copy_from_slice(&value.to_be_bytes());
    }
    bytes
}
