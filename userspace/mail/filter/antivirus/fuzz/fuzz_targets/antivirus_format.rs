//! A file that begins as one of the formats does.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_filter_antivirus::fuzzing::format(data));
