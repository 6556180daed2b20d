//! What was counted and timed, by one thread and by all of them.

use hdrhistogram::Histogram;
use std::fmt;

/// The longest time that is told apart, nanoseconds: ten minutes.
const LONGEST_NS: u64 = 600_000_000_000;

/// Counts and times of a stretch of a run.
#[derive(Clone)]
pub struct Tally {
    /// Messages published.
    pub published: u64,
    /// Publishes that were acknowledged with success; at QoS 0 all of them.
    pub acked: u64,
    /// Of these, acknowledged later than is normal.
    pub slow: u64,
    /// Publishes that were refused.
    pub refused: u64,
    /// Messages that were due and never published, because too many were in flight.
    pub withheld: u64,
    /// Messages received.
    pub delivered: u64,
    /// Messages received that are not of the measurement: receipts, and one's own.
    pub others: u64,
    /// Messages that came a second time.
    pub duplicated: u64,
    /// Messages that came behind a later one of the same publisher.
    pub out_of_order: u64,
    /// Connect, subscribe and disconnect, all three done; a look at what is retained; or an answer.
    pub cycles: u64,
    /// Bytes of MQTT received.
    pub bytes_in: u64,
    /// Bytes of MQTT sent.
    pub bytes_out: u64,
    /// From when a message was due to its acknowledgement, nanoseconds.
    pub ack_ns: Histogram<u64>,
    /// From when a message was due until it was received, nanoseconds.
    pub delivery_ns: Histogram<u64>,
    /// From when a device that was away began to connect until it had the first message that waited for it, nanoseconds.
    pub first_ns: Histogram<u64>,
    /// From a SUBSCRIBE until the last of the retained messages that match, or from a question to its answer, nanoseconds.
    pub look_ns: Histogram<u64>,
    /// From when a message was due until its sender heard that it is on a device, nanoseconds.
    pub delivered_receipt_ns: Histogram<u64>,
    /// From when a message was due until its sender heard that it was read, nanoseconds.
    pub read_receipt_ns: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        let histogram = || Histogram::new_with_bounds(1_000, LONGEST_NS, 3).expect("the bounds are in order");
        Tally {
            published: 0,
            acked: 0,
            slow: 0,
            refused: 0,
            withheld: 0,
            delivered: 0,
            others: 0,
            duplicated: 0,
            out_of_order: 0,
            cycles: 0,
            bytes_in: 0,
            bytes_out: 0,
            ack_ns: histogram(),
            delivery_ns: histogram(),
            first_ns: histogram(),
            look_ns: histogram(),
            delivered_receipt_ns: histogram(),
            read_receipt_ns: histogram(),
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally")
            .field("published", &self.published)
            .field("acked", &self.acked)
            .field("refused", &self.refused)
            .field("delivered", &self.delivered)
            .field("others", &self.others)
            .field("duplicated", &self.duplicated)
            .field("out_of_order", &self.out_of_order)
            .field("cycles", &self.cycles)
            .finish_non_exhaustive()
    }
}

impl Tally {
    /// Adds what another one has.
    pub fn add(&mut self, other: &Tally) {
        self.published += other.published;
        self.acked += other.acked;
        self.slow += other.slow;
        self.refused += other.refused;
        self.withheld += other.withheld;
        self.delivered += other.delivered;
        self.others += other.others;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.cycles += other.cycles;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.ack_ns += &other.ack_ns;
        self.delivery_ns += &other.delivery_ns;
        self.first_ns += &other.first_ns;
        self.look_ns += &other.look_ns;
        self.delivered_receipt_ns += &other.delivered_receipt_ns;
        self.read_receipt_ns += &other.read_receipt_ns;
    }
}
