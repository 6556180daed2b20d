//! What came to pass in a run, counted: runs in which nothing goes wrong show nothing.

use std::fmt;
use std::ops::AddAssign;

macro_rules! seen {
    ($($(#[doc = $meaning:literal])+ $name:ident,)+) => {
        /// Counts of one run, or of many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Seen {
            $($(#[doc = $meaning])+ pub $name: u64,)+
        }

        impl AddAssign for Seen {
            fn add_assign(&mut self, other: Seen) {
                $(self.$name += other.$name;)+
            }
        }

        impl Seen {
            /// The counts with their names.
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

seen! {
    /// Messages that were sent.
    messages,
    /// How often one was sent again.
    resent,
    /// Messages that were acknowledged.
    acknowledged,
    /// First deliveries.
    delivered,
    /// Deliveries of what the device had before.
    delivered_again,
    /// Receipts.
    receipts,
    /// Deliveries of what was said or happened in a group.
    in_groups,
    /// Deliveries of changes of a group.
    changes,
    /// Deliveries of edits and reactions.
    acts,
    /// What was refused: to who was no member.
    refused,
    /// Messages on plain topics that were acknowledged.
    plain_acknowledged,
    /// Deliveries of these.
    plain_delivered,
    /// CONNACKs.
    connections,
    /// Those that went on with a session.
    resumed,
    /// Clients that left in good order.
    left,
    /// Connections that broke.
    breaks,
    /// Connections that a client gave up and the server knew nothing of.
    half_open,
    /// Sessions that a client took over from itself.
    take_overs,
    /// Clients that died, with all that was in their memory.
    client_crashes,
    /// Clients that received nothing for a while.
    pauses,
    /// Servers that were killed.
    kills,
    /// Power cuts.
    power_cuts,
    /// Those that came in the middle of an operation of the disk.
    cuts_within,
    /// Starts that did not come to their end for want of power.
    starts_cut,
    /// Disks that failed, and servers that took no more for it.
    poisoned,
    /// Steps of the clock into the past.
    steps_back,
    /// Stops in good order.
    stops,
    /// Commits.
    commits,
    /// Layers that were written down.
    chunks,
    /// Records that were read for the sequencer.
    reads,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.counts().into_iter().enumerate() {
            let before = if index == 0 { "" } else { ", " };
            write!(f, "{before}{name} {count}")?;
        }
        Ok(())
    }
}
