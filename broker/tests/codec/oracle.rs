//! The crate `mqtt-proto` as an oracle: what it makes of a packet.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use chasqui_broker::codec::{Sender, Version};
use mqtt_proto::{PollHeader, v3, v5};

use crate::corpus::Case;

/// What the oracle says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// It takes the packet, has looked at so many bytes of it, and would write it like this.
    Accepts { used: usize, written: Vec<u8> },
    /// It refuses it, with this error.
    Refuses(String),
    /// It waits for more.
    Incomplete,
    /// It panics.
    Panics,
}

/// Asks the oracle. It knows no difference between what clients and what servers send.
pub(crate) fn ask(case: &Case) -> Verdict {
    silence_panics();
    QUIET.set(true);
    let verdict = catch_unwind(AssertUnwindSafe(|| match case.oracle_version() {
        Version::V311 => ask_v311(&case.bytes),
        Version::V5 => ask_v5(&case.bytes),
    }));
    QUIET.set(false);
    verdict.unwrap_or(Verdict::Panics)
}

fn ask_v311(bytes: &[u8]) -> Verdict {
    match v3::Header::decode(bytes) {
        Ok(header) => ask_body(bytes, header, v3::Packet::encode),
        Err(error) if error.is_eof() => Verdict::Incomplete,
        Err(error) => Verdict::Refuses(format!("{error:?}")),
    }
}

fn ask_v5(bytes: &[u8]) -> Verdict {
    match v5::Header::decode(bytes) {
        Ok(header) => ask_body(bytes, header, v5::Packet::encode),
        Err(error) if error.is_eof() => Verdict::Incomplete,
        Err(error) => Verdict::Refuses(format!("{error:?}")),
    }
}

/// As its own poller does with a body that is complete.
fn ask_body<H>(
    bytes: &[u8],
    header: H,
    encode: impl Fn(&H::Packet) -> Result<mqtt_proto::VarBytes, mqtt_proto::Error>,
) -> Verdict
where
    H: PollHeader,
    H::Error: std::fmt::Debug,
{
    let header_len =
        1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).expect("the header is complete") + 1;
    let Some(body) = bytes[header_len..].get(..header.remaining_len()) else { return Verdict::Incomplete };
    let mut used = 0;
    let packet = match header.build_empty_packet() {
        Some(packet) if body.is_empty() => packet,
        _ => match header.decode_buffer(body, &mut used) {
            Ok(packet) => packet,
            Err(error) => return Verdict::Refuses(format!("{error:?}")),
        },
    };
    let written = encode(&packet).expect("what was read can be written").as_ref().to_vec();
    Verdict::Accepts { used: header_len + used, written }
}

impl Case {
    /// The module to ask: for a CONNECT the one of the level in it, for there ours reads the level too.
    fn oracle_version(&self) -> Version {
        if self.sender == Sender::Client && self.bytes.first() == Some(&0x10) {
            let body = 1 + self.bytes[1..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
            return match self.bytes.get(body..body + 7) {
                Some(b"\0\x04MQTT\x05") => Version::V5,
                _ => Version::V311,
            };
        }
        self.version
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the oracle's panics out of the output; ours are printed as ever.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
}
