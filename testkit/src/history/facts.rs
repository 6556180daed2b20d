//! What a history says all in all, looked up by the rooms of the checker.

use super::check::{Findings, Promise};
use super::{Conversation, Device, Event, MessageId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The number of a change of a group, and the members from it on.
pub(super) type Change<'a> = (u64, &'a [Arc<str>]);

/// A message as it was sent.
pub(super) struct Sending<'a> {
    pub(super) device: &'a Device,
    pub(super) conversation: &'a Conversation,
    /// When it was first sent.
    pub(super) first: usize,
    /// How often.
    pub(super) times: usize,
}

/// A message as it was acknowledged.
pub(super) struct Acknowledgement {
    /// How many crashes there had been when it first was.
    pub(super) crashes: usize,
    /// Its number, where it was said.
    pub(super) seq: Option<u64>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Facts<'a> {
    pub(super) sent: HashMap<&'a MessageId, Sending<'a>>,
    pub(super) acknowledged: HashMap<&'a MessageId, Acknowledgement>,
    /// What was done to messages, and by which device.
    pub(super) acted: HashMap<&'a MessageId, &'a Device>,
    /// The changes of groups, and who was a member from each on.
    pub(super) changes: BTreeMap<&'a Conversation, Vec<Change<'a>>>,
    /// What was found at the end, in the order found.
    pub(super) found: BTreeMap<&'a Conversation, Vec<(u64, &'a MessageId)>>,
    /// The same by number.
    pub(super) by_seq: HashMap<(&'a Conversation, u64), &'a MessageId>,
    pub(super) crashes: usize,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(events: &'a [Event], findings: &mut Findings) -> Facts<'a> {
        let mut facts = Facts::default();
        for (index, event) in events.iter().enumerate() {
            match event {
                Event::Sent { device, conversation, id } => {
                    let sending = facts.sent.entry(id).or_insert(Sending {
                        device,
                        conversation,
                        first: index,
                        times: 0,
                    });
                    sending.times += 1;
                    assert!(
                        (sending.device, sending.conversation) == (device, conversation),
                        "{id} was recorded as sent by {} to {} and by {device} to {conversation}: ids are to be unique",
                        sending.device,
                        sending.conversation
                    );
                }
                Event::Acted { device, id, .. } => {
                    facts.acted.insert(id, device);
                }
                Event::Acknowledged { id, seq, .. } => facts.acknowledge(id, *seq, findings),
                Event::Crashed => facts.crashes += 1,
                Event::Found { conversation, seq, id } => {
                    facts.found.entry(conversation).or_default().push((*seq, id));
                    facts.by_seq.entry((conversation, *seq)).or_insert(id);
                }
                Event::FoundChange { conversation, seq, id, members } => {
                    facts.found.entry(conversation).or_default().push((*seq, id));
                    facts.by_seq.entry((conversation, *seq)).or_insert(id);
                    facts.changes.entry(conversation).or_default().push((*seq, members));
                }
                _ => {}
            }
        }
        facts
    }

    fn acknowledge(&mut self, id: &'a MessageId, seq: Option<u64>, findings: &mut Findings) {
        let crashes = self.crashes;
        let known = self.acknowledged.entry(id).or_insert(Acknowledgement { crashes, seq });
        match (known.seq, seq) {
            (Some(first), Some(again)) if first != again => findings.broken(
                Promise::SameNumber,
                format!("{id} was acknowledged as number {first}, and later as number {again}"),
            ),
            (None, Some(_)) => known.seq = seq,
            _ => {}
        }
    }

    /// Whose device sent the message with a number; `None` where none was found.
    pub(super) fn sender(&self, conversation: &Conversation, seq: u64) -> Option<&'a Device> {
        let id = self.by_seq.get(&(conversation, seq))?;
        self.sent.get(id).map(|sending| sending.device)
    }
}
