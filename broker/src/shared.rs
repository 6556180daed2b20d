//! A message that many sessions get: encoded once for each form, then copied and patched for each of them.

use crate::codec::{EncodeError, EncodedPublish, PublishOut, QoS, Version};
use crate::message::Message;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A message with its encoded forms. A form is made when the first session asks for it.
#[derive(Debug)]
pub struct SharedMessage {
    message: Message,
    forms: [OnceLock<Result<EncodedPublish, EncodeError>>; 6],
}

impl SharedMessage {
    /// Wraps a message.
    pub fn new(message: Message) -> Arc<SharedMessage> {
        Arc::new(SharedMessage { message, forms: Default::default() })
    }

    /// The PUBLISH for a client of this version at this QoS, RETAIN 0, without identifiers or alias. Only for messages that do not
    /// expire: what is left of an interval differs from client to client.
    pub fn form(&self, version: Version, qos: QoS) -> Result<&EncodedPublish, EncodeError> {
        let slot = match version {
            Version::V311 => 0,
            Version::V5 => 3,
        } + usize::from(qos.as_u8());
        self.forms[slot]
            .get_or_init(|| {
                let out = PublishOut {
                    qos,
                    properties: self.message.properties.as_deref(),
                    ..PublishOut::new(&self.message.topic, &self.message.payload)
                };
                EncodedPublish::new(version, &out)
            })
            .as_ref()
            .map_err(Clone::clone)
    }
}

impl Deref for SharedMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}
