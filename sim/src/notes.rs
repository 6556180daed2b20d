//! What is written down of a run: the history that is judged, the trace that tells it, and what was seen in it.

use crate::seen::Seen;
use chasqui_testkit::history::Event;
use std::fmt::Write;

/// See the module.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) events: Vec<Event>,
    pub(crate) seen: Seen,
    /// The time of what happens now.
    pub(crate) now_ms: u64,
    trace: Option<String>,
}

impl Notes {
    pub(crate) fn new(traced: bool) -> Notes {
        Notes { trace: traced.then(String::new), ..Notes::default() }
    }

    /// Something that a client did or saw, or that was done to the server.
    pub(crate) fn event(&mut self, event: Event) {
        self.say(|| format!("{event:?}"));
        self.events.push(event);
    }

    /// A line of the trace.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{:>9} {}", self.now_ms, line()).expect("a string takes everything");
        }
    }

    pub(crate) fn into_trace(self) -> String {
        self.trace.unwrap_or_default()
    }
}
