//! A message, all of it, and what is odd about it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_filter_anatomy::fuzzing::message(data));
