//! Promises of the service, each broken on purpose, as those of the store are (`storage/src/mutation.rs`): proof that whoever judges
//! histories notices.

chasqui_storage::mutations! {
    /// The ids of accepted messages are not read again: a restart forgets them.
    ForgetsAcceptedIds,
    /// A device that acknowledges an entry counts as having all that there are.
    TakesAllForDelivered,
    /// A receipt names the message after the one that was acknowledged.
    TellsAheadOfDelivery,
    /// Who says to have read less than before is believed.
    TellsOlderReads,
    /// A record may go from memory before the batch with its last change is durable.
    EvictsWhatIsUnderWay,
    /// A cursor is written one further than its device has acknowledged.
    WritesCursorsAhead,
    /// Whoever is removed from a group is told so, and stays in it.
    KeepsRemovedMembers,
    /// Who is a member no more goes on seeing the history of a group.
    ShowsLaterHistory,
    /// A receipt of a group goes on telling of who has left.
    CountsWhoLeft,
    /// A message can be edited by others than its sender.
    TakesEditsOfOthers,
}
