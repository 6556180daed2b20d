//! The verbs: what devices ask for beside sending, each a topic `do/{verb}` with a payload of its own.

/// What `do/{verb}` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `do/read`, a [`Read`](crate::v1::Read).
    Read,
    /// `do/played`, a [`Played`](crate::v1::Played).
    Played,
    /// `do/edit`, an [`Edit`](crate::v1::Edit).
    Edit,
    /// `do/react`, a [`React`](crate::v1::React).
    React,
    /// `do/delete`, a [`Delete`](crate::v1::Delete).
    Delete,
    /// `do/pin`, a [`PinMessage`](crate::v1::PinMessage).
    Pin,
    /// `do/star`, a [`Star`](crate::v1::Star).
    Star,
    /// `do/starred`, a [`Starred`](crate::v1::Starred).
    Starred,
    /// `do/devices`, a [`Devices`](crate::v1::Devices).
    Devices,
    /// `do/device.remove`, a [`DeviceRemove`](crate::v1::DeviceRemove).
    DeviceRemove,
    /// `do/timer`, a [`SetTimer`](crate::v1::SetTimer).
    Timer,
    /// `do/history`, a [`History`](crate::v1::History).
    History,
    /// `do/settings`, a [`Settings`](crate::v1::Settings).
    Settings,
    /// `do/chat`, a [`Chat`](crate::v1::Chat).
    Chat,
    /// `do/sync`, a [`Sync`](crate::v1::Sync).
    Sync,
    /// `do/group.create`, a [`GroupCreate`](crate::v1::GroupCreate).
    GroupCreate,
    /// `do/group.update`, a [`GroupUpdate`](crate::v1::GroupUpdate).
    GroupUpdate,
    /// `do/group.settings`, a [`GroupConfigure`](crate::v1::GroupConfigure).
    GroupSettings,
    /// `do/group.add`, a [`GroupUsers`](crate::v1::GroupUsers).
    GroupAdd,
    /// `do/group.remove`, a [`GroupUsers`](crate::v1::GroupUsers).
    GroupRemove,
    /// `do/group.promote`, a [`GroupUsers`](crate::v1::GroupUsers).
    GroupPromote,
    /// `do/group.demote`, a [`GroupUsers`](crate::v1::GroupUsers).
    GroupDemote,
    /// `do/group.leave`, a [`GroupNamed`](crate::v1::GroupNamed).
    GroupLeave,
    /// `do/group.invite`, a [`GroupInvite`](crate::v1::GroupInvite).
    GroupInvite,
    /// `do/group.join`, a [`GroupJoin`](crate::v1::GroupJoin).
    GroupJoin,
    /// `do/group.get`, a [`GroupNamed`](crate::v1::GroupNamed).
    GroupGet,
    /// `do/contact.add`, a [`ContactUsers`](crate::v1::ContactUsers).
    ContactAdd,
    /// `do/contact.remove`, a [`ContactUsers`](crate::v1::ContactUsers).
    ContactRemove,
    /// `do/block`, a [`BlockUser`](crate::v1::BlockUser).
    Block,
    /// `do/unblock`, a [`BlockUser`](crate::v1::BlockUser).
    Unblock,
    /// `do/contacts`, a [`ContactList`](crate::v1::ContactList).
    Contacts,
    /// `do/report`, a [`Report`](crate::v1::Report).
    Report,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 32] = [
        Self::Read,
        Self::Played,
        Self::Edit,
        Self::React,
        Self::Delete,
        Self::Pin,
        Self::Star,
        Self::Starred,
        Self::Timer,
        Self::History,
        Self::Settings,
        Self::Chat,
        Self::Sync,
        Self::Devices,
        Self::DeviceRemove,
        Self::GroupCreate,
        Self::GroupUpdate,
        Self::GroupSettings,
        Self::GroupAdd,
        Self::GroupRemove,
        Self::GroupPromote,
        Self::GroupDemote,
        Self::GroupLeave,
        Self::GroupInvite,
        Self::GroupJoin,
        Self::GroupGet,
        Self::ContactAdd,
        Self::ContactRemove,
        Self::Block,
        Self::Unblock,
        Self::Contacts,
        Self::Report,
    ];

    /// The verb in the topic.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Played => "played",
            Self::Edit => "edit",
            Self::React => "react",
            Self::Delete => "delete",
            Self::Pin => "pin",
            Self::Star => "star",
            Self::Starred => "starred",
            Self::Devices => "devices",
            Self::DeviceRemove => "device.remove",
            Self::Timer => "timer",
            Self::History => "history",
            Self::Settings => "settings",
            Self::Chat => "chat",
            Self::Sync => "sync",
            Self::GroupCreate => "group.create",
            Self::GroupUpdate => "group.update",
            Self::GroupSettings => "group.settings",
            Self::GroupAdd => "group.add",
            Self::GroupRemove => "group.remove",
            Self::GroupPromote => "group.promote",
            Self::GroupDemote => "group.demote",
            Self::GroupLeave => "group.leave",
            Self::GroupInvite => "group.invite",
            Self::GroupJoin => "group.join",
            Self::GroupGet => "group.get",
            Self::ContactAdd => "contact.add",
            Self::ContactRemove => "contact.remove",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Contacts => "contacts",
            Self::Report => "report",
        }
    }

    /// The message of `chasqui.v1` that is its payload.
    pub const fn payload(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Played => "Played",
            Self::Edit => "Edit",
            Self::React => "React",
            Self::Delete => "Delete",
            Self::Pin => "PinMessage",
            Self::Star => "Star",
            Self::Starred => "Starred",
            Self::Devices => "Devices",
            Self::DeviceRemove => "DeviceRemove",
            Self::Timer => "SetTimer",
            Self::History => "History",
            Self::Settings => "Settings",
            Self::Chat => "Chat",
            Self::Sync => "Sync",
            Self::GroupCreate => "GroupCreate",
            Self::GroupUpdate => "GroupUpdate",
            Self::GroupSettings => "GroupConfigure",
            Self::GroupAdd | Self::GroupRemove | Self::GroupPromote | Self::GroupDemote => "GroupUsers",
            Self::GroupLeave | Self::GroupGet => "GroupNamed",
            Self::GroupInvite => "GroupInvite",
            Self::GroupJoin => "GroupJoin",
            Self::ContactAdd | Self::ContactRemove => "ContactUsers",
            Self::Block | Self::Unblock => "BlockUser",
            Self::Contacts => "ContactList",
            Self::Report => "Report",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }
}
