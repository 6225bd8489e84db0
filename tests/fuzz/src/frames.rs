//! Any frames in any order: see `xlvs_tests::fuzzing`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| xlvs_tests::fuzzing::run(input));
