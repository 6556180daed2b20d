//! What members that went away left behind and nobody has room for yet: it waits here, for a tick at a time.
//!
//! Bounds: for each group what one mailbox takes. What is beyond that is dropped, which the caller counts.

use crate::link::Bounds;
use crate::shared::SharedMessage;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Waiting = HashMap<Arc<str>, Queue, foldhash::fast::RandomState>;

/// Messages that wait, by shared filter.
#[derive(Default)]
pub(crate) struct Parked {
    waiting: Mutex<Waiting>,
    /// Whether there may be any, for a look without the lock.
    any: AtomicBool,
}

/// The messages of one group, in order.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) messages: VecDeque<Arc<SharedMessage>>,
    bytes: usize,
}

impl Parked {
    /// Lets a message wait, which should keep nothing else alive; false when there is no room.
    pub(crate) fn park(&self, filter: &Arc<str>, message: Arc<SharedMessage>, bounds: &Bounds) -> bool {
        let weight = message.weight();
        let mut waiting = self.waiting.lock();
        let queue = waiting.entry(Arc::clone(filter)).or_default();
        let fits =
            queue.messages.len() < bounds.items as usize && queue.bytes + weight <= bounds.bytes as usize;
        if fits {
            queue.bytes += weight;
            queue.messages.push_back(message);
        } else if queue.messages.is_empty() {
            waiting.remove(filter);
        }
        self.any.store(true, Ordering::Release);
        fits
    }

    /// Takes out all that waits: what still finds no room is parked again, in the same order.
    pub(crate) fn take(&self) -> Vec<(Arc<str>, Queue)> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.waiting.lock()).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{ByteStr, QoS};
    use crate::message::{Identifiers, Message};
    use bytes::Bytes;

    #[test]
    fn what_is_parked_is_bounded_for_each_group_and_taken_in_order() {
        let message = |n: u8| {
            SharedMessage::new(Message {
                topic: ByteStr::from_static("t"),
                payload: Bytes::copy_from_slice(&[n]),
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: None,
                received_ms: 0,
                identifiers: Identifiers::new(),
                share: None,
            })
        };
        let parked = Parked::default();
        let bounds = Bounds { items: 3, bytes: 150, tail_items: 1 };
        let (one, two): (Arc<str>, Arc<str>) = (Arc::from("$share/1/a"), Arc::from("$share/2/a"));
        assert!(parked.take().is_empty());
        let fits: Vec<bool> = (0..3).map(|n| parked.park(&one, message(n), &bounds)).collect();
        assert_eq!(fits, [true, true, false], "66 bytes each");
        assert!(parked.park(&two, message(9), &bounds));
        let tiny = Bounds { bytes: 10, ..bounds };
        assert!(!parked.park(&Arc::from("$share/3/a"), message(0), &tiny));
        let mut taken: Vec<(Arc<str>, Vec<u8>)> = parked
            .take()
            .into_iter()
            .map(|(filter, queue)| (filter, queue.messages.iter().map(|m| m.payload[0]).collect()))
            .collect();
        taken.sort();
        assert_eq!(taken, [(one, vec![0, 1]), (two, vec![9])]);
        assert!(parked.take().is_empty());
    }
}
