//! The payload of a frame.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_mail_store::fuzzing::payload(data));
