//! From the first byte to CONNACK: who is it, may it come in, and which session is its own.
//!
//! Everything that CONNACK promises is stored before it is sent. A connection that says nothing, or too slowly, or too much, is closed
//! when its time is up, and costs one small buffer until then.

use super::connection::{Accepted, Connection, GOODBYE};
use super::input::Input;
use super::login::{self, Admitted, login_of};
use super::under_way::GivenUp;
use super::{Origin, Stream};
use crate::broker::Inner;
use crate::codec::packet::{connack, connect};
use crate::codec::{
    ByteStr, Connack, ConnackProperties, Connect, Limits, Packet, Peer, ReasonCode, RetainHandling, Version,
};
use crate::hook::{Ask, Client, Grant, Occasion};
use crate::quota::{Place, Publisher, Refusal};
use crate::registry::Claim;
use crate::session::{Close, PACKET_ID_DISTANCE, Session, Terms, Turn};
use crate::sharing::Leaving;
use crate::store::{Due, DueKind, SessionKey, StoreError, StoreOp, StoredSession, StoredWill};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// A CONNECT that is turned away, with what the client is told.
pub(super) struct Refused(pub(super) ReasonCode, pub(super) String);

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        tracing::error!("a session could not be opened: {error}");
        Refused(ReasonCode::ServerUnavailable, "the server cannot use its store now".to_owned())
    }
}

/// Takes a connection through its CONNECT. `None` when it was turned away, or never said anything.
pub(super) async fn welcome<S: Stream>(accepted: Box<Accepted<S>>) -> Option<Box<Connection<S>>> {
    let Accepted { inner, mut stream, origin, mut newcomer, places } = *accepted;
    let inner = &inner;
    let mut input = Input::default();
    let read = newcomer
        .wait_for(&mut inner.stopping(), read_connect(inner, &mut stream, &mut input))
        .await
        .inspect_err(|given_up| inner.stats.connect_timeouts.add(u64::from(*given_up == GivenUp::Late)));
    drop(newcomer);
    let connect = read.ok()??;
    let peer = origin.peer;
    let to = Peer::of(&connect);
    // Boxed: a connection's memory is then that of its busy life, not of its first moment.
    match Box::pin(admit(inner, &mut stream, &mut input, &connect, &origin)).await {
        Ok(Some((session, claim, answer))) => {
            let mut connection = Connection::new(Arc::clone(inner), stream, input, session, claim, places);
            // CONNACK comes first [MQTT-3.2.0-1]; behind it, what was in flight is sent again.
            let resent = std::mem::take(connection.out());
            if let Err(error) = connack::encode(connection.out(), &to, &answer) {
                // What it says is no option: a client that takes no such packet cannot be served [MQTT-3.1.2-24].
                tracing::debug!(%peer, client_id = &*connect.client_id, "CONNACK cannot be sent: {error}");
                Box::pin(connection.finish(Close::Network)).await;
                return None;
            }
            connection.out().extend_from_slice(&resent);
            Some(connection)
        }
        Ok(None) => None,
        Err(Refused(code, sentence)) => {
            tracing::debug!(%peer, client_id = &*connect.client_id, "CONNECT refused: {sentence}");
            let mut answer = Connack::refused(code);
            answer.properties.reason_string = ByteStr::try_from(sentence).ok();
            refuse(inner, &mut stream, &to, &answer).await;
            None
        }
    }
}

async fn refuse<S: Stream>(inner: &Arc<Inner>, stream: &mut S, to: &Peer, answer: &Connack) {
    let mut out = Vec::new();
    if connack::encode(&mut out, to, answer).is_ok() {
        inner.stats.packets_sent.count();
        inner.stats.bytes_sent.add(out.len() as u64);
        // The client may be gone already, or take nothing; it goes without then.
        let _ = tokio::time::timeout(GOODBYE, async {
            let _ = stream.write_all(&out).await;
            let _ = stream.shutdown().await;
        })
        .await;
    }
}

async fn read_connect<S: Stream>(
    inner: &Arc<Inner>,
    stream: &mut S,
    input: &mut Input,
) -> Option<Box<Connect>> {
    let limits = Limits {
        max_packet_size: inner.config.max_connect_size,
        max_topic_levels: inner.config.max_topic_levels,
    };
    // Most CONNECTs are shorter; a longer one takes a few reads.
    let mut bytes = [0; 512];
    loop {
        let count = stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
        inner.stats.bytes_received.add(count as u64);
        input.take(&bytes[..count]);
        match input.next(None, &limits) {
            Ok(None) => {}
            Ok(Some(Packet::Connect(connect))) => {
                inner.stats.packets_received.count();
                inner.stats.connects_received.count();
                return Some(connect);
            }
            Ok(Some(_)) => return None, // The codec gives nothing but CONNECT before the version is known.
            Err(error) => {
                inner.stats.protocol_errors.count();
                if let Some((version, code)) = connect::refusal(input.rest(), &error) {
                    let mut answer = Connack::refused(code);
                    answer.properties.reason_string = ByteStr::try_from(error.to_string()).ok();
                    refuse(inner, stream, &Peer::unlimited(version), &answer).await;
                }
                return None;
            }
        }
    }
}

/// What a user is told for whom there is no place.
fn no_place(refusal: Refusal) -> Refused {
    let (code, sentence) = match refusal {
        Refusal::Full => (ReasonCode::QuotaExceeded, "this user has as many connections as it may"),
        Refusal::TooFast => {
            (ReasonCode::ConnectionRateExceeded, "this user connects too often; try again in a second")
        }
    };
    Refused(code, sentence.to_owned())
}

/// `None` when a later connection of the same session is there already, or the client has gone.
async fn admit<S: Stream>(
    inner: &Arc<Inner>,
    stream: &mut S,
    input: &mut Input,
    connect: &Connect,
    origin: &Origin,
) -> Result<Option<(Session, Claim, Connack)>, Refused> {
    let assigned = connect.client_id.is_empty().then(assigned_client_id);
    let client_id = assigned.as_deref().unwrap_or(&connect.client_id);
    let login = login_of(inner, connect, client_id, origin)?;
    let Some(Admitted { owner, roles, authentication, data }) =
        login::admit(inner, stream, input, connect, login).await?
    else {
        return Ok(None);
    };
    let asked_expiry_s = match connect.version {
        Version::V5 => connect.properties.session_expiry_interval.unwrap_or(0),
        Version::V311 => {
            if connect.clean_start {
                0
            } else {
                u32::MAX
            }
        }
    };
    let expiry_s = asked_expiry_s.min(inner.config.max_session_expiry_s);
    let keep_alive_s = match inner.config.max_keep_alive_s {
        0 => connect.keep_alive,
        max if connect.version == Version::V5 && (connect.keep_alive == 0 || connect.keep_alive > max) => max,
        _ => connect.keep_alive,
    };

    let key = SessionKey { owner, client_id: Arc::from(client_id) };
    let Some(mut claim) = inner.registry.claim(key.clone()).await else { return Ok(None) };
    // Whose place this takes over has left it by now.
    if !key.owner.is_empty() {
        let place = inner.owners.enter(&key.owner, inner.config.clock.now_ms()).map_err(|refusal| {
            let stats = &inner.stats;
            refusal.count(&stats.connections_refused_owner, &stats.connections_refused_owner_rate);
            no_place(refusal)
        })?;
        claim.place = place.map(Box::new);
    }
    if claim.took_over {
        inner.stats.take_overs.count();
    }
    let stored = inner.store.session(&key)?;
    // A session that goes on is a stored one to its end, even where that is to be the end of this connection.
    // One that has outgrown its queue is no more, whoever comes for it.
    let clean = connect.clean_start || claim.link.is_outgrown();
    let goes_on = stored.is_some() && !clean;
    let to = Peer::of(connect);
    let client = Arc::new(Client {
        session: key,
        version: connect.version,
        persistent: expiry_s > 0 || goes_on,
        connection: inner.next_connection(),
        roles,
        problem_information: to.problem_information,
        link: Arc::clone(&claim.link),
    });
    let window = match connect.version {
        Version::V311 => inner.config.window_v311,
        Version::V5 => connect.properties.receive_maximum.unwrap_or(u16::MAX).min(inner.config.window_v5),
    };
    let aliases = connect.properties.topic_alias_maximum.unwrap_or(0).min(inner.config.topic_aliases_sent);
    let terms = Terms {
        peer: to,
        window: usize::from(window),
        expiry_s,
        keep_alive_s,
        bounds: inner.config.mailbox,
        aliases,
    };
    inner.hook.connected(&client);
    let opened = open(inner, connect, &client, &claim, terms, Found { stored, clean }).await;
    if opened.is_err() {
        inner.hook.disconnected(&client);
    }
    let (mut session, session_present) = opened?;
    let of_owner = claim.place.as_deref().and_then(Place::rates);
    let shared = origin.rates.iter().flatten().cloned().chain(of_owner);
    session.publishes_as(Publisher::new(inner.config.publish_rates, shared));
    if let Some(authentication) = authentication {
        session.authenticated_by(authentication);
    }
    let asks_for_response = connect.properties.request_response_information == Some(true);
    let answer = Connack {
        session_present,
        reason: ReasonCode::Success,
        properties: ConnackProperties {
            session_expiry_interval: (expiry_s != asked_expiry_s).then_some(expiry_s),
            receive_maximum: Some(inner.config.receive_maximum),
            maximum_packet_size: Some(inner.config.max_packet_size),
            assigned_client_id: assigned.and_then(|id| ByteStr::try_from(id).ok()),
            topic_alias_maximum: Some(inner.config.topic_alias_maximum).filter(|maximum| *maximum > 0),
            response_information: asks_for_response
                .then(|| inner.hook.response_information(&client))
                .flatten()
                .and_then(|topic| ByteStr::try_from(topic).ok()),
            authentication_method: connect.properties.authentication_method.clone(),
            authentication_data: data,
            server_keep_alive: (keep_alive_s != connect.keep_alive).then_some(keep_alive_s),
            ..ConnackProperties::default()
        },
    };
    Ok(Some((session, claim, answer)))
}

/// What is stored of a session, and whether it is to end.
struct Found {
    stored: Option<StoredSession>,
    clean: bool,
}

/// Opens the session: ends or takes up what is stored of it, and stores that it is connected. Also says whether there was one.
async fn open(
    inner: &Arc<Inner>,
    connect: &Connect,
    client: &Arc<Client>,
    claim: &Claim,
    terms: Terms,
    Found { stored, clean }: Found,
) -> Result<(Session, bool), Refused> {
    let key = client.session.clone();
    let will = check_will(inner, client, connect)?;
    let mut ops = Vec::new();
    if let Some(will) = stored.as_ref().and_then(|stored| stored.record.will.clone())
        && clean
    {
        // The session ends before the delay of its will is over [MQTT-3.1.3-9].
        inner.publish_will(&inner.absent(&key, will.connection), will.message).await;
    }
    if let Some(stored) = stored.as_ref().filter(|_| clean) {
        inner.leave_index(&key, &stored.record);
        inner.hand_on_left(Leaving::session(key.clone(), &stored.record, &stored.cursors), || false).await?;
    }
    let stored =
        stored.and_then(|stored| take_stored(inner, (clean, connect.clean_start), client, stored, &mut ops));
    if claim.link.is_outgrown() {
        ops.push(StoreOp::RemoveDue(Due::outgrown(key.clone())));
        claim.link.forget_outgrown();
    }
    if client.persistent {
        let known = claim.link.queue_end();
        let end = known.map_or_else(|| inner.store.queue_end(&key), Ok)?;
        let done = stored.as_ref().and_then(|stored| stored.cursors.queue());
        claim.link.begin_queue(end, done.unwrap_or(end));
    }
    let last_packet_id = match &stored {
        None => 0,
        Some(stored) if stored.record.clean_stop => stored.record.last_packet_id,
        Some(stored) => stored.cursors.last_packet_id.wrapping_add(PACKET_ID_DISTANCE),
    };
    let mut session =
        Session::new(Arc::clone(client), terms, will, last_packet_id, inner.config.clock.now_ms());
    if let Some(stored) = &stored {
        resume(inner, &mut session, stored, claim).await?;
    }
    if client.persistent {
        ops.push(StoreOp::PutSession(key.clone(), Box::new(session.record(0))));
        ops.push(StoreOp::PutCursors(key.clone(), session.cursors()));
        ops.push(StoreOp::PutDue(Due { at_ms: 0, kind: DueKind::Connected, session: key }));
    }
    if !ops.is_empty() {
        commit(inner, ops).await?;
    }
    Ok((session, stored.is_some()))
}

fn check_will(inner: &Arc<Inner>, client: &Client, connect: &Connect) -> Result<Option<StoredWill>, Refused> {
    let Some(will) = &connect.will else { return Ok(None) };
    inner
        .hook
        .accepts_will(client, will)
        .map_err(|code| Refused(code, format!("a will for the topic {} is not allowed", &*will.topic)))?;
    Ok(Some(StoredWill::new(will, client.connection)))
}

/// The stored session that is to go on; one that is to end, as its client asks or not, is ended [MQTT-3.1.2-4].
fn take_stored(
    inner: &Arc<Inner>,
    (clean, asked): (bool, bool),
    client: &Arc<Client>,
    stored: StoredSession,
    ops: &mut Vec<StoreOp>,
) -> Option<StoredSession> {
    let key = &client.session;
    if !clean {
        // It is back in time: neither will nor expiry is due any more [MQTT-3.1.3-9].
        ops.extend(Inner::due_entries(key, &stored.record).into_iter().map(StoreOp::RemoveDue));
        return Some(stored);
    }
    ops.extend(Inner::removal(key, &stored.record));
    if asked {
        inner.hook.ended(key);
    } else {
        inner.hook.lost(key);
    }
    None
}

/// Gives a stored session back what it had, as far as the application still grants it.
async fn resume(
    inner: &Arc<Inner>,
    session: &mut Session,
    stored: &StoredSession,
    claim: &Claim,
) -> Result<(), Refused> {
    let subscriptions = &stored.record.subscriptions;
    let asks: Vec<Ask> = subscriptions
        .iter()
        .map(|subscription| Ask {
            filter: Arc::clone(&subscription.filter),
            qos: subscription.qos,
            retain_handling: RetainHandling::Send,
        })
        .collect();
    let grants: Vec<Grant> = if asks.is_empty() {
        Vec::new()
    } else {
        let (sender, receiver) = oneshot::channel();
        let granted = Box::new(move |grants| {
            // Nobody waits any more when the client has gone meanwhile.
            let _ = sender.send(grants);
        });
        inner.hook.subscribe(&session.client, Occasion::Resume, asks, granted);
        receiver.await.map_err(|_| StoreError::new("the application dropped the question"))??
    };
    let mut turn = Turn::default();
    let resumed = inner.with_context(|cx| session.resume(stored, grants, cx, &mut turn));
    // Put in again before what is not granted any more is taken out, so that nothing passes by in between.
    inner.change_index(&claim.link, &turn, session);
    let mut granted = session.subscriptions().iter().filter(|subscription| subscription.plain).peekable();
    for before in subscriptions.iter().filter(|subscription| subscription.plain) {
        // In the same order, less those that are gone.
        if granted.next_if(|now| now.filter == before.filter).is_none() {
            inner.unroute_one(&claim.link, &before.filter);
        }
    }
    resumed.map_err(|_| {
        Refused(ReasonCode::ServerUnavailable, "the server cannot read its store now".to_owned())
    })
}

/// Commits and waits.
pub(crate) async fn commit(inner: &Arc<Inner>, ops: Vec<StoreOp>) -> Result<(), StoreError> {
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |result| {
        // Nobody waits any more when the connection was given up.
        let _ = sender.send(result);
    });
    inner.store.commit(ops, Some(done));
    receiver.await.map_err(|_| StoreError::new("the store gave no answer"))?
}

/// An id for a client that left the choice to the server [MQTT-3.1.3-6]: random, so that nobody can take it over.
fn assigned_client_id() -> String {
    let random = || std::hash::RandomState::new().build_hasher().finish();
    format!("auto-{:016x}{:016x}", random(), random())
}
