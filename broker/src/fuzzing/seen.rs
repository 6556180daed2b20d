//! What a history came to.

/// What came to pass in a history, so that a run can tell whether it showed anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Messages that came at QoS 0.
    pub qos_0: usize,
    /// Messages that came at QoS 1.
    pub qos_1: usize,
    /// Messages that came at QoS 2.
    pub qos_2: usize,
    /// Messages that came again.
    pub again: usize,
    /// Publishes of the client that were acknowledged.
    pub acknowledged: usize,
    /// Sessions that were taken up.
    pub resumed: usize,
    /// How often the client's window was full.
    pub full: usize,
}

impl Seen {
    /// Counts in another history.
    pub fn add(&mut self, other: Seen) {
        self.qos_0 += other.qos_0;
        self.qos_1 += other.qos_1;
        self.qos_2 += other.qos_2;
        self.again += other.again;
        self.acknowledged += other.acknowledged;
        self.resumed += other.resumed;
        self.full += other.full;
    }
}
