//! What a mail system sends a milter, in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_filter_perimeter::fuzzing::milter(data));
