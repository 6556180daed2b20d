//! Enhanced authentication of a connected client (4.12.1): it may authenticate again, with the method it came in with.
//!
//! The application takes the steps, aside, one at a time. Everything else goes on meanwhile as who the client was let in as, and
//! who it turns out to be must be the same.

use super::{Close, Session, Turn};
use crate::codec::packet::auth;
use crate::codec::{Auth, AuthProperties, ByteStr, ReasonCode};
use crate::hook::{AuthStep, Exchange, Login};
use crate::mutation::{Mutation, mutated};
use bytes::Bytes;

/// How the client came in, where that was by a method.
pub(crate) struct Authentication {
    /// The method.
    pub(crate) method: ByteStr,
    /// What it came in with, without the password.
    pub(crate) login: Login,
    /// The exchange that is under way, when no step of it is being taken.
    pub(crate) exchange: Option<Box<dyn Exchange>>,
    /// A step is being taken.
    pub(crate) is_busy: bool,
}

/// A step to be taken by the application.
pub(crate) struct AuthWork {
    /// Goes on with this exchange, or begins one.
    pub(crate) exchange: Option<Box<dyn Exchange>>,
    pub(crate) method: ByteStr,
    pub(crate) login: Login,
    pub(crate) data: Option<Bytes>,
}

/// An AUTH with the data of a step.
pub(crate) fn step_packet(reason: ReasonCode, method: &ByteStr, data: Option<Bytes>) -> Auth {
    let properties = AuthProperties {
        authentication_method: Some(method.clone()),
        authentication_data: data,
        ..AuthProperties::default()
    };
    let asks = reason == ReasonCode::ContinueAuthentication;
    let other = asks && mutated(Mutation::AsksWithAnotherCode);
    Auth { reason: if other { ReasonCode::ReAuthenticate } else { reason }, properties }
}

impl Session {
    /// The client came in by a method.
    pub(crate) fn authenticated_by(&mut self, authentication: Authentication) {
        self.authentication = Some(Box::new(authentication));
    }

    /// AUTH.
    pub(super) fn authenticate(&mut self, packet: Auth, turn: &mut Turn) -> Result<(), Close> {
        let refuse = |sentence| Err(Close::server(ReasonCode::ProtocolError, sentence));
        let Some(authentication) = &mut self.authentication else {
            return refuse("AUTH without an authentication method in CONNECT [MQTT-4.12.0-6]");
        };
        let is_its_own = packet.properties.authentication_method.as_ref() == Some(&authentication.method);
        if !is_its_own && !mutated(Mutation::TakesAnotherMethod) {
            return refuse("AUTH with another method than CONNECT [MQTT-4.12.0-5]");
        }
        let begins = packet.reason == ReasonCode::ReAuthenticate;
        if authentication.is_busy || (begins == authentication.exchange.is_some()) {
            return refuse("AUTH out of turn: one step of one authentication at a time");
        }
        authentication.is_busy = true;
        turn.authenticate = Some(AuthWork {
            exchange: authentication.exchange.take(),
            method: authentication.method.clone(),
            login: authentication.login.clone(),
            data: packet.properties.authentication_data,
        });
        Ok(())
    }

    /// The application took a step.
    pub(super) fn stepped(
        &mut self,
        exchange: Option<Box<dyn Exchange>>,
        step: AuthStep,
    ) -> Result<(), Close> {
        let Some(authentication) = &mut self.authentication else { return Ok(()) };
        authentication.is_busy = false;
        let (reason, data) = match step {
            AuthStep::Continue(data) => {
                authentication.exchange = exchange;
                (ReasonCode::ContinueAuthentication, data)
            }
            AuthStep::Admitted { owner, data, .. } if owner == self.client.session.owner => {
                (ReasonCode::Success, data)
            }
            AuthStep::Admitted { .. } => {
                let sentence = "a client authenticates again as who it is, and as nobody else";
                return Err(Close::server(ReasonCode::NotAuthorized, sentence));
            }
            AuthStep::Refused(code, sentence) => {
                tracing::info!(
                    owner = &*self.client.session.owner,
                    client_id = &*self.client.session.client_id,
                    "a client could not authenticate again: {sentence}"
                );
                return Err(Close::server(code, "this client could not authenticate again"));
            }
        };
        let answer = step_packet(reason, &authentication.method, data);
        let written = auth::encode(&mut self.out, &self.terms.peer, &answer);
        written.map(|_| ()).map_err(|_| {
            let sentence =
                "the next step of the authentication is larger than the client takes [MQTT-3.1.2-24]";
            Close::server(ReasonCode::ImplementationSpecificError, sentence)
        })
    }
}
