//! Sums that were saved.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_radius_accounting::fuzzing::usage(data));
