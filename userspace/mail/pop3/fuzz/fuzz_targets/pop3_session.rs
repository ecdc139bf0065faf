//! A session with a client who says anything, in two chunkings.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_pop3::fuzzing::session(data));
