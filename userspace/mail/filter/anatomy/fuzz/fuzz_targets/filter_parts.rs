//! The parts of a message, and their encodings.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_filter_anatomy::fuzzing::parts(data));
