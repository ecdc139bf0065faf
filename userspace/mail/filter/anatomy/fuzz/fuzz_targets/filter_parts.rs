//! The parts of a message, and their encodings.

#![no_main]

use muralla_filter_anatomy::fuzzing;

libfuzzer_sys::fuzz_target!(init: fuzzing::pass_contained_panics(), |data: &[u8]| fuzzing::parts(data));
