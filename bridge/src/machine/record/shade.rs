//! What the two sides of a direct conversation do not see of each other, where one blocks the other, or once did. Most have no such thing.
//! A timer that one of them set while the other one blocked them is part of it: it holds for what they say themselves.

use super::User;
use crate::machine::codec::{Input, put_number};
use chasqui_proto::{ConversationId, Seq, UserId};

const BLOCKS: u8 = 1;
const TIMER: u8 = 2;

/// What the two sides of a direct conversation do not see of each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shade {
    /// In the order of the users in the conversation's id.
    sides: [Side; 2],
}

/// How one side sees the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Side {
    /// It blocks the other: which of the users of its name, and of the other's, that was: numbers of [`User::lives`].
    blocks: Option<(u32, u32)>,
    /// The newest message that it can see.
    shown: Seq,
    /// The time of that, in Unix milliseconds.
    shown_ms: u64,
    /// How long what it says is there for, in seconds, which the other side was not told: with the number of [`User::lives`] of who set it.
    timer: Option<(u32, u32)>,
}

/// Which side of a conversation a user is.
fn side(id: &ConversationId, user: &UserId) -> usize {
    match id {
        ConversationId::Direct(pair) => usize::from(pair.users().0 != user),
        ConversationId::Group(_) => 0,
    }
}

impl Shade {
    /// Both sides see all there is up to a message.
    pub(super) fn none(newest: Seq, time_ms: u64) -> Shade {
        Shade { sides: [Side { shown: newest, shown_ms: time_ms, ..Side::default() }; 2] }
    }

    /// The newest message that a user can see, and its time.
    pub(super) fn shown(&self, id: &ConversationId, user: &UserId) -> (Seq, u64) {
        let Side { shown, shown_ms, .. } = self.sides[side(id, user)];
        (shown, shown_ms)
    }

    /// Whether a user blocks the other side.
    pub(super) fn blocks(&self, id: &ConversationId, owner: (&UserId, &User), other: &User) -> bool {
        self.sides[side(id, owner.0)].blocks == Some((owner.1.lives, other.lives))
    }

    /// The same where a user blocks the other side, or does no more.
    #[must_use]
    pub(super) fn with_block(
        mut self,
        id: &ConversationId,
        owner: (&UserId, &User),
        other: &User,
        blocks: bool,
    ) -> Shade {
        self.sides[side(id, owner.0)].blocks = blocks.then_some((owner.1.lives, other.lives));
        self
    }

    /// The same after a message, which its sender sees, and the other side as well unless it is hidden.
    #[must_use]
    pub(super) fn after(
        mut self,
        id: &ConversationId,
        sender: &UserId,
        (seq, time_ms): (Seq, u64),
        hidden: bool,
    ) -> Shade {
        let sender = side(id, sender);
        for (at, side) in self.sides.iter_mut().enumerate() {
            if at == sender || !hidden {
                (side.shown, side.shown_ms) = (seq, time_ms);
            }
        }
        self
    }

    /// How long what a user says is there for, in seconds, where that is their own affair.
    pub(super) fn timer(&self, id: &ConversationId, (owner, user): (&UserId, &User)) -> Option<u32> {
        self.sides[side(id, owner)].timer.filter(|(life, _)| *life == user.lives).map(|(_, seconds)| seconds)
    }

    /// The same where what a user says is there for so many seconds; 0 for ever.
    #[must_use]
    pub(in crate::machine) fn with_timer(
        mut self,
        id: &ConversationId,
        (owner, user): (&UserId, &User),
        seconds: u32,
    ) -> Shade {
        self.sides[side(id, owner)].timer = Some((user.lives, seconds));
        self
    }

    /// The same without timers that one side alone knows of; `None` where there is no such timer.
    pub(in crate::machine) fn without_timers(mut self) -> Option<Shade> {
        let had_one = self.sides.iter().any(|side| side.timer.is_some());
        for side in &mut self.sides {
            side.timer = None;
        }
        had_one.then_some(self)
    }

    /// As a part of what is stored.
    pub(in crate::machine) fn encode(&self, out: &mut Vec<u8>) {
        for Side { blocks, shown, shown_ms, timer } in &self.sides {
            out.push(u8::from(blocks.is_some()) * BLOCKS + u8::from(timer.is_some()) * TIMER);
            for (one, other) in [blocks, timer].into_iter().flatten() {
                put_number(out, u64::from(*one));
                put_number(out, u64::from(*other));
            }
            put_number(out, shown.0);
            put_number(out, *shown_ms);
        }
    }

    /// Reads what was stored.
    pub(in crate::machine) fn read(input: &mut Input<'_>) -> Option<Shade> {
        let mut shade = Shade::default();
        for side in &mut shade.sides {
            let flags = input.byte()?;
            for (flag, to) in [(BLOCKS, &mut side.blocks), (TIMER, &mut side.timer)] {
                if flags & flag != 0 {
                    let mut number = || u32::try_from(input.number()?).ok();
                    *to = Some((number()?, number()?));
                }
            }
            if flags & !(BLOCKS | TIMER) != 0 {
                return None;
            }
            (side.shown, side.shown_ms) = (Seq(input.number()?), input.number()?);
        }
        Some(shade)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn arbitrary() -> impl Strategy<Value = Shade> {
        let side = || {
            any::<(Option<(u32, u32)>, u64, u64, Option<(u32, u32)>)>().prop_map(
                |(blocks, shown, shown_ms, timer)| Side { blocks, shown: Seq(shown), shown_ms, timer },
            )
        };
        (side(), side()).prop_map(|(low, high)| Shade { sides: [low, high] })
    }

    #[test]
    fn who_takes_a_name_later_blocks_nobody_and_is_not_blocked() {
        let user = |name: &str| UserId::parse(name).unwrap();
        let (alice, bob) = (user("alice"), user("bob"));
        let id = ConversationId::direct(&alice, &bob);
        let (first, second) = (User::default(), User { lives: 1, ..User::default() });
        let shade = Shade::none(Seq(3), 7).with_block(&id, (&bob, &first), &first, true);
        assert!(shade.blocks(&id, (&bob, &first), &first));
        assert!(!shade.blocks(&id, (&alice, &first), &first), "it is bob who blocks");
        assert!(!shade.blocks(&id, (&bob, &second), &first));
        assert!(!shade.blocks(&id, (&bob, &first), &second));
        let after = shade.after(&id, &alice, (Seq(4), 8), true);
        assert_eq!((after.shown(&id, &alice), after.shown(&id, &bob)), ((Seq(4), 8), (Seq(3), 7)));
        let after = after.after(&id, &alice, (Seq(5), 9), false);
        assert_eq!((after.shown(&id, &alice), after.shown(&id, &bob)), ((Seq(5), 9), (Seq(5), 9)));
    }

    #[test]
    fn what_was_stored_before_there_were_timers_is_read() {
        // bob, of the second user of his name, blocks the first alice; both see what is up to a number.
        let stored = [0, 3, 7, 1, 1, 0, 4, 8];
        let shade = Shade::read(&mut Input(&stored)).unwrap();
        let of_bob = Side { blocks: Some((1, 0)), shown: Seq(4), shown_ms: 8, timer: None };
        let of_alice = Side { shown: Seq(3), shown_ms: 7, ..Side::default() };
        assert_eq!(shade, Shade { sides: [of_alice, of_bob] });
        assert_eq!(Shade::read(&mut Input(&[4, 3, 7, 0, 4, 8])), None, "what nobody knows is not guessed");
    }
}
