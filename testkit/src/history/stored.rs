//! Promises about conversations: what was acknowledged is there, once, in order, without gaps.

use super::check::{Findings, Promise};
use super::facts::Facts;
use super::{Conversation, Device, Event, MessageId};
use std::collections::HashMap;

pub(super) fn check(events: &[Event], facts: &Facts<'_>, findings: &mut Findings) {
    let mut places: HashMap<&MessageId, (&Conversation, u64)> = HashMap::new();
    for (conversation, found) in &facts.found {
        let mut next = 1;
        let mut last_of: HashMap<&Device, (usize, &MessageId)> = HashMap::new();
        for (seq, id) in found {
            if *seq != next {
                findings.broken(
                    Promise::NoGaps,
                    format!("in {conversation} number {next} was to come, and {seq} did ({id})"),
                );
            }
            next = seq + 1;
            if facts.is_change(conversation, *seq) {
                continue;
            }
            // What is done again is there again.
            if facts.acted.contains_key(id) {
                places.entry(id).or_insert((conversation, *seq));
                continue;
            }
            if let Some((other, first)) = places.insert(id, (conversation, *seq)) {
                findings.broken(
                    Promise::Once,
                    format!("{id} is number {first} of {other} and number {seq} of {conversation}"),
                );
            }
            let Some(sending) = facts.sent.get(id).filter(|sending| sending.conversation == *conversation)
            else {
                let what = format!("number {seq} of {conversation} is {id}, which nobody sent there");
                findings.broken(Promise::OneMessagePerNumber, what);
                continue;
            };
            // To a group it may have been refused at first, to who was no member then.
            if matches!(conversation, Conversation::Group(_)) && sending.times > 1 {
                continue;
            }
            if let Some((last, before)) = last_of.insert(sending.device, (sending.first, id))
                && last > sending.first
            {
                let device = sending.device;
                let what =
                    format!("{device} sent {id} before {before}; {conversation} has it behind, as {seq}");
                findings.broken(Promise::InOrder, what);
            }
        }
    }
    for (id, acknowledgement) in &facts.acknowledged {
        let crashes = facts.crashes - acknowledgement.crashes;
        match (places.get(id), acknowledgement.seq) {
            (None, _) => findings.broken(
                Promise::AcknowledgedIsKept,
                format!("{id} was acknowledged, {crashes} crashes before the end, and is in no conversation"),
            ),
            (Some((conversation, _)), Some(said))
                if facts.acted.contains_key(id) && facts.by_seq.get(&(*conversation, said)) == Some(id) => {}
            (Some((conversation, _)), Some(said)) if facts.acted.contains_key(id) => {
                let what = format!("{id} was acknowledged as number {said} of {conversation}, and is not");
                findings.broken(Promise::SameNumber, what);
            }
            (Some((conversation, seq)), Some(said)) if *seq != said => findings.broken(
                Promise::SameNumber,
                format!("{id} was acknowledged as number {said}, and is number {seq} of {conversation}"),
            ),
            _ => {}
        }
    }
    check_order_of_answers(events, facts, &places, findings);
}

/// What was sent after something had been acknowledged, stands behind it.
fn check_order_of_answers(
    events: &[Event],
    facts: &Facts<'_>,
    places: &HashMap<&MessageId, (&Conversation, u64)>,
    findings: &mut Findings,
) {
    let mut answered: HashMap<&Conversation, (u64, &MessageId)> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Acknowledged { id, .. } => {
                if let Some((conversation, seq)) = places.get(id) {
                    let highest = answered.entry(conversation).or_insert((*seq, id));
                    *highest = (*highest).max((*seq, id));
                }
            }
            Event::Sent { id, .. } if facts.sent.get(id).is_some_and(|sending| sending.first == index) => {
                if let Some((conversation, seq)) = places.get(id)
                    && let Some((before, acknowledged)) = answered.get(conversation)
                    && before > seq
                {
                    let what = format!(
                        "{id} was sent when {acknowledged}, number {before} of {conversation}, had been acknowledged, and is number {seq}"
                    );
                    findings.broken(Promise::InOrder, what);
                }
            }
            _ => {}
        }
    }
}
