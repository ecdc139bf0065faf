//! The name of a file, and an answer of clamd.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_filter_antivirus::fuzzing::words(data));
