//! What is counted: the rows of the table, and the costs that belong to them.

use crate::party::Transport;
use std::collections::BTreeMap;

macro_rules! rows {
    ($($row:ident: $exchange:literal, $packet:literal;)+) => {
        /// A row of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Row { $($row),+ }

        impl Row {
            /// All, in the order of the table.
            pub(crate) const ALL: &'static [Row] = &[$(Row::$row),+];

            /// What happens.
            pub(crate) fn exchange(self) -> &'static str {
                match self { $(Row::$row => $exchange),+ }
            }

            /// Who says what.
            pub(crate) fn packet(self) -> &'static str {
                match self { $(Row::$row => $packet),+ }
            }
        }
    };
}

rows! {
    Sent: "sent", "alice ↑ PUBLISH `u/bob/send`";
    Acknowledged: "sent", "alice ↓ PUBACK; on 5.0 with the number";
    Number: "sent", "alice ↓ PUBLISH `u/alice/in`: the number";
    NumberTaken: "sent", "alice ↑ PUBACK";
    Received: "received", "bob ↓ PUBLISH `u/bob/in`";
    Delivered: "delivered", "bob ↑ PUBACK";
    DeliveredReceipt: "delivered", "alice ↓ PUBLISH `u/alice/receipts/u/bob`, as long as nothing was read";
    DeliveredAfterRead: "delivered", "… the same, with the mark of what was read before";
    DeliveredTaken: "delivered", "alice ↑ PUBACK";
    Read: "read", "bob ↑ PUBLISH `do/read`";
    ReadAcknowledged: "read", "bob ↓ PUBACK";
    ReadReceipt: "read", "alice ↓ PUBLISH `u/alice/receipts/u/bob`";
    ReadTaken: "read", "alice ↑ PUBACK";
    Types: "typing", "alice ↑ PUBLISH `u/bob/typing`";
    SeenTyping: "typing", "bob ↓ PUBLISH `u/bob/typing/u/alice`";
    IdleHour60: "an idle hour, keep-alive 60 s", "↑ 60 PINGREQ, ↓ 60 PINGRESP";
    IdleHour300: "an idle hour, keep-alive 300 s", "↑ 12 PINGREQ, ↓ 12 PINGRESP";
    IdleHour1200: "an idle hour, keep-alive 1,200 s", "↑ 3 PINGREQ, ↓ 3 PINGRESP";
    Connect: "reconnect, nothing new", "bob ↑ CONNECT";
    Connack: "reconnect, nothing new", "bob ↓ CONNACK";
    Subscribe: "… and subscribing again", "bob ↑ SUBSCRIBE `u/bob/#`";
    Suback: "… and subscribing again", "bob ↓ SUBACK";
    TenUp: "reconnect, 10 messages wait", "bob ↑ CONNECT, 10 PUBACK";
    TenDown: "reconnect, 10 messages wait", "bob ↓ CONNACK, 10 PUBLISH";
    ThousandUp: "reconnect, 1,000 messages wait", "bob ↑ CONNECT, 1,000 PUBACK";
    ThousandDown: "reconnect, 1,000 messages wait", "bob ↓ CONNACK, 1,000 PUBLISH";
}

/// What rows cost.
pub(crate) struct Costs {
    transport: Transport,
    /// Bytes of the packets, and the most records they may take over TLS.
    rows: BTreeMap<Row, (u64, u64)>,
    /// The handshakes of TLS, where there are any.
    pub(crate) handshakes: Option<[crate::support::meter::Traffic; 2]>,
}

impl Costs {
    /// None yet.
    pub(crate) fn new(transport: Transport) -> Costs {
        Costs { transport, rows: BTreeMap::new(), handshakes: None }
    }

    /// A row whose packets, `bytes` together, take so many records at most.
    pub(crate) fn put(&mut self, row: Row, bytes: u64, records: u64) {
        assert!(self.rows.insert(row, (bytes, records)).is_none(), "{row:?} is counted twice");
    }

    /// Takes a row over from others.
    pub(crate) fn take(&mut self, row: Row, others: &Costs) {
        let (bytes, records) = others.rows[&row];
        self.put(row, bytes, records);
    }

    /// What a row costs on the socket; `None` where there is no such packet.
    pub(crate) fn bytes(&self, row: Row) -> Option<u64> {
        let (bytes, records) = self.rows.get(&row)?;
        Some(bytes + records * self.transport.record_bytes())
    }

    /// Bytes of the packets alone.
    pub(crate) fn packets(&self) -> BTreeMap<Row, u64> {
        self.rows.iter().map(|(row, (bytes, _))| (*row, *bytes)).collect()
    }
}
