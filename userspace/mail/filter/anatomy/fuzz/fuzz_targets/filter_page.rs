//! A page of HTML, and where it leads.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| muralla_filter_anatomy::fuzzing::page(text));
