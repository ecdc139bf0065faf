//! A message, all of it, and what is odd about it.

#![no_main]

use muralla_filter_anatomy::fuzzing;

libfuzzer_sys::fuzz_target!(init: fuzzing::pass_contained_panics(), |data: &[u8]| fuzzing::message(data));
