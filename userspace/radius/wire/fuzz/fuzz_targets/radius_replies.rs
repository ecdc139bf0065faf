//! What a cache of replies is asked and told.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| muralla_radius_wire::fuzzing::reply_cache(data));
