//! What happens to a session, in any order.
#![no_main]

use chasqui_broker::fuzzing::{History, session};

libfuzzer_sys::fuzz_target!(|history: History| {
    if let Err(sentence) = session(&history) {
        panic!("{sentence}\n{history:#?}");
    }
});
