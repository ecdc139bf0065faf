//! Domains, addresses and paths.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| muralla_mail_envelope::fuzzing::addresses(text));
