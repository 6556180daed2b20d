//! How a connection ends, and the server: in good order, or not.

use super::{ROUNDS, Stored, Verdict, World, start};
use crate::broker::Inner;
use crate::codec::packet::disconnect;
use crate::codec::{Disconnect, DisconnectProperties, ReasonCode, Version};
use crate::fuzzing::client::Connection;
use crate::fuzzing::operation::{Expiry, Hello};
use crate::fuzzing::store::HeldStore;
use std::sync::Arc;
use std::time::Duration;

impl World {
    pub(super) fn outlives(&self, hello: Hello) -> bool {
        match self.version {
            Version::V311 => !hello.clean,
            Version::V5 => hello.expiry != Expiry::Never,
        }
    }

    /// A connection is over.
    pub(super) fn leave(&mut self, connection: &Connection) {
        let hello = connection.hello;
        if !connection.open {
            let was_sure = match self.stored {
                Stored::Yes(at_ms) => at_ms.is_none_or(|at_ms| self.now_ms() < at_ms),
                Stored::No | Stored::Unsure => false,
            };
            self.stored = Stored::Unsure;
            if hello.clean || hello.expiry != Expiry::Kept || !was_sure {
                // What it asked for may have happened, the end of the session included.
                self.client.forget_session();
                self.forgot = true;
            }
            return;
        }
        self.client.leave(connection);
        if !self.outlives(hello) {
            self.stored = Stored::No;
            self.client.forget_session();
            self.forgot = true;
        } else if self.version == Version::V5 && hello.expiry == Expiry::Soon {
            self.stored = Stored::Yes(Some(self.now_ms() + 2_000));
        }
    }

    pub(super) fn disconnect(&mut self, expiry: Option<Expiry>) -> Verdict {
        let version = self.version;
        let Some(connection) = self.up() else { return Ok(()) };
        let mut packet = Disconnect::new(ReasonCode::Success);
        let expiry = expiry.filter(|_| version == Version::V5 && connection.hello.expiry != Expiry::Never);
        if let Some(expiry) = expiry {
            connection.hello.expiry = expiry;
            let seconds = match expiry {
                Expiry::Never => 0,
                Expiry::Soon => 2,
                Expiry::Kept => u32::MAX,
            };
            let properties = DisconnectProperties {
                session_expiry_interval: Some(seconds),
                ..DisconnectProperties::default()
            };
            packet.properties = Some(Box::new(properties));
        }
        connection.over = true;
        let mut out = Vec::new();
        disconnect::encode_from_client(&mut out, &self.peer(), &packet).map_err(|error| error.to_string())?;
        self.say(&out);
        if let Some((pipe, connection)) = self.connection.take() {
            self.settle()?;
            pipe.break_off();
            self.leave(&connection);
            if expiry.is_some() {
                // Where the server does not read at present, or dies, it never hears of another expiry.
                self.stored = Stored::Unsure;
            }
        }
        Ok(())
    }

    /// The server stops in good order, and another process starts.
    pub(super) async fn restart(&mut self) -> Verdict {
        for link in self.inner().registry.connected() {
            Inner::tell_to_go(&link);
        }
        self.settle()?;
        if let Some((pipe, connection)) = self.connection.take() {
            pipe.break_off();
            self.leave(&connection);
        }
        for _ in 0..ROUNDS {
            self.settle()?;
            if self.tasks.is_empty() && self.store.is_idle() {
                break;
            }
            self.store.carry_out(usize::MAX);
            self.application.grant();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        if !self.tasks.is_empty() {
            return Err("a connection, or the removal of what has expired, does not end".to_owned());
        }
        self.start_again();
        Ok(())
    }

    /// The server dies, and another process starts.
    pub(super) fn crash(&mut self) {
        self.tasks.clear();
        let ending = self.stored == Stored::No && !self.store.is_idle();
        if let Some((_, connection)) = self.connection.take() {
            self.leave(&connection);
        }
        if ending || self.stored == Stored::No {
            self.stored = Stored::Unsure;
        }
        self.client.server_died();
        self.carried_out.clear();
        self.start_again();
    }

    pub(super) fn start_again(&mut self) {
        self.application.forget_questions();
        self.store.lose();
        self.store = Arc::new(HeldStore::on(self.store.durable()));
        self.broker = start(&self.clock, &self.application, &self.store);
        if let Stored::Yes(Some(at_ms)) = self.stored {
            // A session that was connected counts as disconnected now.
            self.stored = if self.now_ms() < at_ms { Stored::Yes(Some(at_ms)) } else { Stored::Unsure };
        }
    }
}
