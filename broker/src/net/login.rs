//! Who is it: from a CONNECT to an owner, by user name and password, by certificate, or in several steps by a method (4.12).

use super::handshake::Refused;
use super::input::Input;
use super::{Origin, Stream};
use crate::broker::Inner;
use crate::codec::packet::auth;
use crate::codec::{ByteStr, Connect, Limits, Packet, Peer, ReasonCode, Version};
use crate::hook::{Admission, AuthStep, Exchange, Login, Roles};
use crate::mutation::{Mutation, mutated};
use crate::session::{Authentication, step_packet};
use bytes::Bytes;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client that is let in.
pub(super) struct Admitted {
    pub(super) owner: Arc<str>,
    pub(super) roles: Roles,
    /// How it came in, where that was by a method.
    pub(super) authentication: Option<Authentication>,
    /// The last data of that method, for CONNACK.
    pub(super) data: Option<Bytes>,
}

/// Lets a client in or turns it away; `None` when it went by itself, or took too long.
pub(super) async fn admit<S: Stream>(
    inner: &Arc<Inner>,
    stream: &mut S,
    input: &mut Input,
    connect: &Connect,
    login: Login,
) -> Result<Option<Admitted>, Refused> {
    let Some(method) = &connect.properties.authentication_method else {
        return match authenticate(inner, login).await? {
            Admission::Admitted { owner, roles } => {
                Ok(Some(Admitted { owner, roles, authentication: None, data: None }))
            }
            Admission::Refused(code, sentence) => refuse(inner, code, sentence),
        };
    };
    let deadline = inner.config.connect_timeout;
    let steps = by_method(inner, stream, input, connect, method, login);
    if let Ok(admitted) = tokio::time::timeout(deadline, steps).await {
        return admitted;
    }
    inner.stats.connect_timeouts.count();
    Ok(None)
}

fn refuse<T>(inner: &Arc<Inner>, code: ReasonCode, sentence: String) -> Result<T, Refused> {
    inner.stats.logins_refused.count();
    Err(Refused(code, sentence))
}

async fn authenticate(inner: &Arc<Inner>, login: Login) -> Result<Admission, Refused> {
    if inner.hook.is_quick(&login) {
        return Ok(inner.hook.authenticate(&login));
    }
    let hook = Arc::clone(&inner.hook);
    tokio::task::spawn_blocking(move || hook.authenticate(&login)).await.map_err(|error| {
        tracing::error!("a login could not be checked: {error}");
        Refused(ReasonCode::UnspecifiedError, "the login could not be checked".to_owned())
    })
}

async fn by_method<S: Stream>(
    inner: &Arc<Inner>,
    stream: &mut S,
    input: &mut Input,
    connect: &Connect,
    method: &ByteStr,
    login: Login,
) -> Result<Option<Admitted>, Refused> {
    let mut exchange = None;
    let mut data = connect.properties.authentication_data.clone();
    loop {
        let (next, step) = take_step(inner, exchange, method, login.clone(), data).await;
        exchange = next;
        match step {
            AuthStep::Continue(answer) => {
                let packet = step_packet(ReasonCode::ContinueAuthentication, method, answer);
                let mut out = Vec::new();
                if auth::encode(&mut out, &Peer::of(connect), &packet).is_err() {
                    // It takes no packet so large: it cannot be asked [MQTT-3.1.2-24].
                    return Ok(None);
                }
                inner.stats.packets_sent.count();
                inner.stats.bytes_sent.add(out.len() as u64);
                if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
                    return Ok(None);
                }
                match next_step(inner, stream, input, method).await {
                    Answer::Data(answer) => data = answer,
                    Answer::Gone => return Ok(None),
                    Answer::Wrong(code, sentence) => return refuse(inner, code, sentence.to_owned()),
                }
            }
            AuthStep::Admitted { owner, roles, data } => {
                let login = Login { password: None, ..login };
                let authentication =
                    Authentication { method: method.clone(), login, exchange: None, is_busy: false };
                return Ok(Some(Admitted { owner, roles, authentication: Some(authentication), data }));
            }
            AuthStep::Refused(code, sentence) => return refuse(inner, code, sentence),
        }
    }
}

/// One step, where blocking is allowed. Without an exchange it begins one.
pub(super) async fn take_step(
    inner: &Arc<Inner>,
    exchange: Option<Box<dyn Exchange>>,
    method: &ByteStr,
    login: Login,
    data: Option<Bytes>,
) -> (Option<Box<dyn Exchange>>, AuthStep) {
    let (hook, method) = (Arc::clone(&inner.hook), method.clone());
    let step = tokio::task::spawn_blocking(move || {
        match exchange.or_else(|| hook.begin_authentication(&method, &login)) {
            None => {
                let sentence = "this server does not know the authentication method";
                (None, AuthStep::Refused(ReasonCode::BadAuthenticationMethod, sentence.to_owned()))
            }
            Some(mut exchange) => {
                let step = exchange.step(data.as_deref());
                (Some(exchange), step)
            }
        }
    });
    step.await.unwrap_or_else(|error| {
        tracing::error!("a step of an authentication failed: {error}");
        let sentence = "the login could not be checked".to_owned();
        (None, AuthStep::Refused(ReasonCode::UnspecifiedError, sentence))
    })
}

enum Answer {
    Data(Option<Bytes>),
    Gone,
    Wrong(ReasonCode, &'static str),
}

/// The client's next AUTH. Nothing else may come before CONNACK but DISCONNECT [MQTT-3.1.2-30].
async fn next_step<S: Stream>(
    inner: &Arc<Inner>,
    stream: &mut S,
    input: &mut Input,
    method: &ByteStr,
) -> Answer {
    let limits = Limits {
        max_packet_size: inner.config.max_connect_size,
        max_topic_levels: inner.config.max_topic_levels,
    };
    let mut bytes = [0; 512];
    loop {
        match input.next(Some(Version::V5), &limits) {
            Ok(Some(Packet::Auth(packet))) => {
                inner.stats.packets_received.count();
                let properties = packet.properties;
                let is_its_own = properties.authentication_method.as_ref() == Some(method);
                if !is_its_own && !mutated(Mutation::TakesAnotherMethod) {
                    let sentence = "AUTH with another method than CONNECT [MQTT-4.12.0-5]";
                    return Answer::Wrong(ReasonCode::ProtocolError, sentence);
                }
                if packet.reason != ReasonCode::ContinueAuthentication {
                    let sentence = "AUTH before CONNACK continues the authentication [MQTT-4.12.0-3]";
                    return Answer::Wrong(ReasonCode::ProtocolError, sentence);
                }
                return Answer::Data(properties.authentication_data);
            }
            Ok(Some(Packet::Disconnect(_))) => return Answer::Gone,
            Ok(Some(_)) => {
                let sentence = "nothing but AUTH or DISCONNECT may come before CONNACK [MQTT-3.1.2-30]";
                return Answer::Wrong(ReasonCode::ProtocolError, sentence);
            }
            Err(error) => {
                inner.stats.protocol_errors.count();
                return Answer::Wrong(error.reason_code(), "a packet before CONNACK is malformed");
            }
            Ok(None) => {}
        }
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return Answer::Gone,
            Ok(count) => {
                inner.stats.bytes_received.add(count as u64);
                input.take(&bytes[..count]);
            }
        }
    }
}

/// What a CONNECT says about who sends it.
pub(super) fn login_of(
    inner: &Arc<Inner>,
    connect: &Connect,
    client_id: &str,
    origin: &Origin,
) -> Result<Login, Refused> {
    let certificate_user = match &origin.certificate {
        None => None,
        Some(Ok(certificate))
            if certificate.not_after_s >= (inner.config.clock.now_ms() / 1_000).cast_signed() =>
        {
            Some(certificate.user.clone())
        }
        Some(shown) => {
            inner.stats.certificates_refused.count();
            let why = shown
                .as_ref()
                .err()
                .map_or_else(|| "the client certificate has expired".to_owned(), ToString::to_string);
            return Err(Refused(ReasonCode::NotAuthorized, why));
        }
    };
    Ok(Login {
        user: connect.username.as_deref().map(str::to_owned),
        password: connect.password.clone(),
        client_id: client_id.to_owned(),
        version: connect.version,
        peer: origin.peer,
        listener: Arc::clone(&origin.listener.name),
        certificate_user,
    })
}
