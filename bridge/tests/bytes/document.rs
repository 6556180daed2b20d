//! `bench/bytes.md`: how the costs are written, and whether it says what they are.

use crate::party::{Dialect, PASSWORD};
use crate::row::{Costs, Row};
use crate::support::meter::Traffic;
use std::fmt::Write;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/bytes.md");
const HOW: &str = "UPDATE=1 cargo test --package chasqui-bridge --test bytes";

/// What one dialect costs.
pub(crate) struct Column {
    pub(crate) dialect: Dialect,
    pub(crate) tcp: Costs,
    pub(crate) tls: Costs,
}

/// The document.
pub(crate) fn render(columns: &[Column]) -> String {
    let mut out = String::new();
    let mut put = |text: &str| out.push_str(text);
    put(&HEAD.replace("HOW", HOW).replace("PASSWORD", &PASSWORD.len().to_string()));
    put("## MQTT over TCP\n\n");
    put(&table(columns, |column| &column.tcp));
    put(TLS);
    put(&handshakes(columns));
    put("\n");
    put(&table(columns, |column| &column.tls));
    out
}

fn table(columns: &[Column], costs: impl Fn(&Column) -> &Costs) -> String {
    let mut out = "| what | packet |".to_owned();
    for column in columns {
        write!(out, " {} |", column.dialect.name()).expect("a string takes it");
    }
    out.push_str("\n|---|---|");
    out.push_str(&"--:|".repeat(columns.len()));
    let mut exchange = "";
    for row in Row::ALL {
        let named = if row.exchange() == exchange { "" } else { row.exchange() };
        exchange = row.exchange();
        write!(out, "\n| {named} | {} |", row.packet()).expect("a string takes it");
        for column in columns {
            let bytes = costs(column).bytes(*row).map_or_else(|| "–".to_owned(), grouped);
            write!(out, " {bytes} |").expect("a string takes it");
        }
    }
    out.push('\n');
    out
}

fn handshakes(columns: &[Column]) -> String {
    let both = columns[0].tls.handshakes.expect("one of each kind");
    for column in columns {
        assert_eq!(
            column.tls.handshakes,
            Some(both),
            "{}: the dialect has no part in it",
            column.dialect.name()
        );
    }
    let mut out = "| handshake | ↑ | ↓ | together |\n|---|--:|--:|--:|\n".to_owned();
    for (kind, Traffic { up, down }) in ["full", "resumed"].into_iter().zip(both) {
        let (up, down, both) = (grouped(up), grouped(down), grouped(up + down));
        writeln!(out, "| {kind} | {up} | {down} | {both} |").expect("a string takes it");
    }
    out
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Holds the document against what was counted, or writes it anew.
pub(crate) fn compare(counted: &str) {
    if std::env::var_os("UPDATE").is_some_and(|update| update != "0") {
        return std::fs::write(PATH, counted).expect("bench/ can be written to");
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    if written == counted {
        return;
    }
    let mut differences = String::new();
    let (mut written, mut counted) = (written.lines(), counted.lines());
    loop {
        let (was, is) = (written.next(), counted.next());
        if was != is {
            let line = |line: Option<&str>| line.unwrap_or("(nothing)").to_owned();
            write!(differences, "\n- {}\n+ {}", line(was), line(is)).expect("a string takes it");
        }
        if was.is_none() && is.is_none() {
            break;
        }
    }
    panic!(
        "bench/bytes.md says what was (-) and not what is counted (+); if that is meant: {HOW}{differences}"
    );
}

const HEAD: &str = "\
# The byte budget

What crosses the wire, in bytes, counted on the sockets of clients of the real server. A test makes this file and fails when a figure in
it is not what it counts, be it more or less; `HOW` writes it anew. Ceilings of
its own stand in `bridge/tests/bytes.rs`. ↑ is from a client to the server, ↓ from the server to a client.

- Users are `alice` and `bob`, both with one device, `phone`, whose session is kept and whose one subscription is `u/{me}/#` at QoS 1. Each
  letter more in a name is a byte more wherever that name stands. Passwords have PASSWORD letters.
- The message is a text of 12 bytes with a `client_msg_id` of 6, in protobuf. Some 150 messages went before it: numbers from 128 to
  16,383 take two bytes, each of `seq`, `position` and the marks of a receipt; in the PUBACK of 5.0 a number takes a byte for each digit.
- *5.0* has no properties but a Session Expiry Interval. *5.0, aliases* has a Topic Alias Maximum too, and both sides have named the topic
  on this connection before: the first packet that does is as long as on *5.0* and 3 bytes. A reconnect names its topic once.
- *Typing* is QoS 0: nothing answers it.
- An *idle hour* is one exchange of PINGREQ and PINGRESP, counted on the socket, times 3,600 s / keep-alive: that many a client must send
  that says nothing else.
- Headers of TCP and IP are not in it: 40 bytes or more for each segment, and as many for each acknowledgement of TCP that has no segment
  to ride on.

";

const TLS: &str = "
## MQTT over TLS 1.3

The same packets, with all that TLS puts around them: 22 bytes for each record. Packets that go out together share one, and whether they
do is a matter of microseconds; so the table has the most that there can be, and the test fails if the socket had more: each packet in a record of
its own, and where many messages wait, four records for 32 of them (as a rule it is one or less; their PUBACKs are written at once, in one).

The handshake is that of rustls, counted from ClientHello to the last ticket: X25519, and a certificate of Ed25519 without others before it,
with a serial number of 16 bytes and the names `localhost` and `127.0.0.1`, so that it takes the same bytes each time. Other
certificates take what they are longer. A resumed handshake has no certificate.

";
