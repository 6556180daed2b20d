//! What a fuzzer is given to break: the codec, by bytes, and a session, by what happens to it.
//!
//! The same functions are run by `cargo fuzz`, which is guided by coverage (`fuzz/` in the root), and by a bounded number of random
//! inputs in this crate's tests. A session is judged as its client must judge it; what no history may bring about is listed
//! in the text of [`session`](fn@session).

mod application;
mod client;
mod codec;
mod ledger;
mod operation;
mod pipe;
#[cfg(test)]
mod runs;
mod seen;
mod store;
mod world;

pub use codec::codec;
pub use operation::{AckKind, Expiry, Filter, Hello, History, Level, Manner, Operation, Topic};
pub use seen::Seen;

use tokio::runtime::{Builder, Runtime};
use world::World;

/// Operations of a history that are looked at.
const MAX_OPERATIONS: usize = 400;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads can be made");
}

/// Lets a history happen to a session of the real broker; what it did that it may never do.
///
/// Whatever happens, in whatever order, the server never
///
/// - writes a packet that cannot be read, that 3.1.1 does not know, or that is larger than the client takes [MQTT-3.1.2-24];
/// - has more messages in flight than the client's Receive Maximum [MQTT-3.3.4-7];
/// - uses a packet id that is in flight, or that a QoS 2 message holds which is not released [MQTT-2.2.1-4];
/// - sends a message again under another packet id than before, or without DUP [MQTT-4.4.0-1], except after an unclean stop of
///   the server;
/// - delivers a QoS 2 message twice, as a client counts that follows the standard, or carries out a QoS 2 publish twice;
/// - delivers messages of one topic and publisher out of order [MQTT-4.6.0-6], or one of them twice on a connection;
/// - acknowledges publishes out of order [MQTT-4.6.0-2], or before what they promise is durable or answered;
/// - moves a cursor past a message that the client has not acknowledged;
/// - skips a message of QoS 1 or 2 that a session is owed, or forgets a session that it is to keep;
/// - sends a client away that did nothing wrong, spins, or does not come to rest when nothing more happens.
///
/// # Errors
/// The rule that was broken, and by which message.
pub fn session(history: &History) -> Result<Seen, String> {
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let mut world = World::new(history.v5);
            world.carry_out(Operation::Connect(history.first)).await?;
            for operation in history.operations.iter().take(MAX_OPERATIONS) {
                world.carry_out(*operation).await?;
            }
            world.come_to_rest().await?;
            Ok(world.seen())
        })
    })
}
