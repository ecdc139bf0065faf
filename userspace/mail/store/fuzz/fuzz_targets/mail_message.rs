//! A message, which must come back as it was.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_mail_store::fuzzing::message(data));
