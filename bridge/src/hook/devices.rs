//! `do/devices` and `do/device.remove`: which devices a user has, and the end of one.

use super::commands::Asked;
use super::replies::ReplyTo;
use super::{ChatHook, done_at_once};
use crate::machine::Outcome;
use crate::machine::command::{Caller, Reject};
use crate::sequencer::fetch::{self, FetchError};
use chasqui_broker::Broker;
use chasqui_broker::codec::ReasonCode;
use chasqui_broker::hook::Client;
use chasqui_broker::store::{SessionKey, StoreError};
use chasqui_proto::{DeviceId, ErrorCode, Refusal, UserId, v1};
use chasqui_storage::Reader;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How often a connection that was told to go is looked for, and how many times.
const PAUSE: Duration = Duration::from_millis(10);
const TRIES: usize = 1_000;
/// Devices that are taken out at once, each on a thread of its own; one more is refused.
const MOST_AT_ONCE: usize = 16;

/// Devices that are being taken out.
#[derive(Default)]
pub(super) struct Removals(AtomicUsize);

/// A device that is to go.
pub(super) struct Removal {
    pub(super) caller: Caller,
    pub(super) device: DeviceId,
    pub(super) token: u64,
    pub(super) reply_to: Option<ReplyTo>,
}

/// The devices of a user, each an encoded `Device`; `is_there` says who is connected.
pub(super) fn read(
    reader: &Reader,
    user: &UserId,
    is_there: impl Fn(&DeviceId) -> bool,
) -> Result<Vec<v1::Device>, FetchError> {
    let me = fetch::user(reader, user)?;
    let device = |device: &crate::machine::Device| v1::Device {
        device: device.id.as_str().to_owned(),
        connected: is_there(&device.id),
        waiting: me.inbox_head.saturating_sub(device.acked),
    };
    Ok(me.devices.iter().map(device).collect())
}

/// Why a device of a user cannot be taken out.
pub(super) fn refusal(reader: &Reader, user: &UserId, device: &DeviceId) -> Option<Refusal> {
    match fetch::user(reader, user) {
        Ok(user) if user.device(device).is_some() => None,
        Ok(_) => Some(Refusal::because(ErrorCode::InvalidDevice, "this user has no such device")),
        Err(error) => {
            tracing::error!("the devices of a user could not be read: {error}");
            Some(ErrorCode::Internal.into())
        }
    }
}

impl ChatHook {
    /// Whether a device of a user is connected.
    pub(super) fn is_connected(&self, user: &UserId, device: &DeviceId) -> bool {
        let live = self.connections.of(user.as_str());
        live.iter().any(|client| *client.session.client_id == *device.as_str())
    }

    /// Ends the session of a device, and answers once it has ended. What cannot be done is refused.
    pub(super) fn remove_device(&self, client: &Arc<Client>, removal: Removal) -> Option<Asked> {
        let refusal = refusal(&self.reader, &removal.caller.user, &removal.device).or_else(|| {
            let most = self.removals.0.fetch_add(1, Ordering::AcqRel) >= MOST_AT_ONCE;
            most.then(|| {
                self.removals.0.fetch_sub(1, Ordering::AcqRel);
                Refusal::retry_after(ErrorCode::Unavailable, 1_000)
            })
        });
        let Removal { caller, device, token, reply_to } = removal;
        let broker = self.broker();
        let (Some(broker), None) = (broker, &refusal) else {
            let refusal = refusal.unwrap_or_else(|| ErrorCode::Unavailable.into());
            return Some(Asked {
                command: Reject { caller, client_msg_id: None, refusal }.into(),
                token,
                reply_to,
            });
        };
        let key =
            SessionKey { owner: Arc::from(caller.user.as_str()), client_id: Arc::from(device.as_str()) };
        let (asker, removals) = (Arc::clone(client), Arc::clone(&self.removals));
        let (reader, user) = (self.reader.clone(), caller.user);
        // It waits for the device's connection to go, which no connection may.
        let named = std::thread::Builder::new().name("remove-device".to_owned());
        let started = named.spawn(move || {
            let ended = end(&broker, &key).and_then(|()| forgotten(&reader, &user, &device));
            removals.0.fetch_sub(1, Ordering::AcqRel);
            let client = asker;
            if let Err(error) = ended {
                tracing::error!("a device could not be removed: {error}");
                client.close(
                    ReasonCode::ImplementationSpecificError,
                    "a device could not be removed: try again",
                );
                return;
            }
            if let Some(reply_to) = reply_to {
                reply_to.send(&client, &Outcome::Done);
            }
            done_at_once(&client, token);
        });
        if let Err(error) = started {
            self.removals.0.fetch_sub(1, Ordering::AcqRel);
            tracing::error!("the system has no thread to remove a device on: {error}");
            client.close(ReasonCode::ServerBusy, "a device could not be removed: try again");
        }
        None
    }
}

/// Waits until nothing of a device is left: that follows the end of its session, a batch or two later.
fn forgotten(reader: &Reader, user: &UserId, device: &DeviceId) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let me = fetch::user(reader, user).map_err(|error| StoreError::new(error.to_string()))?;
        if me.device(device).is_none() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(StoreError::new("its cursor is not forgotten"))
}

/// Ends a session; one that is connected is told to go, and waited for.
fn end(broker: &Broker, key: &SessionKey) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        broker.disconnect(key, ReasonCode::AdministrativeAction, "this device was removed by its user");
        if broker.end_session(key)? {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(StoreError::new("its session does not end"))
}
