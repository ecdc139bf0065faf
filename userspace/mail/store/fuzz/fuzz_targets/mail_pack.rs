//! A pack.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_mail_store::fuzzing::pack(data));
