//! The `chasqui` program.

use std::process::ExitCode;
use std::thread;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    end_on_panic();
    chasqui_bridge::cli::run()
}

/// A connection that panics ends alone. A panic of the sequencer, or of a thread that reads for it, would leave a server that
/// answers nobody: the process ends instead, as after a SIGKILL, which loses nothing that was acknowledged.
#[allow(clippy::disallowed_methods)] // The one place that may end the process: see above.
fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        let thread = thread::current();
        let name = thread.name().unwrap_or_default();
        if name == "sequencer" || name.starts_with("fetch-") {
            tracing::error!(
                "the thread {name} has panicked: the server ends; start it again, nothing acknowledged is lost"
            );
            std::process::abort();
        }
    }));
}
