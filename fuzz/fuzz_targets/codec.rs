//! Bytes of a client and of a server, for the decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chasqui_broker::fuzzing::codec(data));
