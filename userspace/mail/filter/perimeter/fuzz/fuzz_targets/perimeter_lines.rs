//! Requests of rspamd's old clients, compressed bodies, and what a proxy is told of others.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_filter_perimeter::fuzzing::lines(data));
