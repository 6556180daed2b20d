//! The HTTP request that turns a connection into a WebSocket (RFC 6455, section 4.2).
//!
//! Everything but an upgrade to MQTT at [`PATH`] is answered with a status and a sentence, and closed.

use super::WebSocket;
use crate::mutation::{Mutation, mutated};
use crate::net::Stream;
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::error::ProtocolError;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::HeaderValue;

/// Where MQTT is served.
const PATH: &str = "/mqtt";
/// What a client must offer [MQTT-6.0.0-3], and is told [MQTT-6.0.0-4].
const SUBPROTOCOL: &str = "mqtt";
/// The longest request: a browser with its cookies needs a few KiB.
const MAX_REQUEST: usize = 16 * 1024;

/// A request that is not upgraded.
#[derive(Debug, thiserror::Error)]
pub(in crate::net) enum Refusal {
    #[error("this is the WebSocket listener of an MQTT server: ask for an upgrade to websocket")]
    NoUpgrade,
    #[error("this server speaks version 13 of WebSocket")]
    Version,
    #[error("MQTT is at {PATH}")]
    Path,
    #[error("offer the subprotocol {SUBPROTOCOL} in Sec-WebSocket-Protocol [MQTT-6.0.0-3]")]
    Subprotocol,
    #[error("only GET can be upgraded to websocket")]
    Method,
    #[error("this is not a request of HTTP/1.1 that can be upgraded to websocket")]
    Malformed,
    #[error("the request is larger than {MAX_REQUEST} bytes")]
    TooLarge,
    #[error("something came before the upgrade was done")]
    TooEarly,
    /// Nobody is left to be told.
    #[error("the connection ended in the middle of the request")]
    Gone,
}

impl Refusal {
    /// The status line and headers of its own; `None` where nobody is told.
    fn status(&self) -> Option<&'static str> {
        Some(match self {
            Refusal::NoUpgrade => "426 Upgrade Required\r\nUpgrade: websocket",
            Refusal::Version => "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
            Refusal::Path => "404 Not Found",
            Refusal::Method => "405 Method Not Allowed\r\nAllow: GET",
            Refusal::TooLarge => "431 Request Header Fields Too Large",
            Refusal::Subprotocol | Refusal::Malformed | Refusal::TooEarly => "400 Bad Request",
            Refusal::Gone => return None,
        })
    }

    fn response(&self) -> Option<String> {
        let (status, body) = (self.status()?, format!("{self}\n"));
        let length = body.len();
        Some(format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    }
}

/// Reads the request and answers it.
pub(in crate::net) async fn upgrade<S: Stream>(mut stream: S) -> Result<WebSocket<S>, Refusal> {
    let answered = match read_request(&mut stream).await {
        Ok(request) => answer(&request),
        Err(refusal) => Err(refusal),
    };
    let sent = match &answered {
        Ok(response) => stream.write_all(response).await,
        Err(refusal) => match refusal.response() {
            Some(response) => stream.write_all(response.as_bytes()).await,
            None => Ok(()),
        },
    };
    let flushed = match sent {
        Ok(()) => stream.flush().await,
        Err(error) => Err(error),
    };
    if let Err(refusal) = answered {
        // It may be gone already; there is nobody to tell.
        let _ = stream.shutdown().await;
        return Err(refusal);
    }
    flushed.map_err(|_| Refusal::Gone)?;
    Ok(WebSocket::new(stream))
}

/// The request, up to the empty line that ends it.
async fn read_request<S: Stream>(stream: &mut S) -> Result<Vec<u8>, Refusal> {
    let mut request = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let count = stream.read(&mut bytes).await.map_err(|_| Refusal::Gone)?;
        if count == 0 {
            return Err(Refusal::Gone);
        }
        // The end may have begun with what came before.
        let from = request.len().saturating_sub(3);
        request.extend_from_slice(&bytes[..count]);
        match memmem::find(&request[from..], b"\r\n\r\n").map(|at| from + at + 4) {
            Some(end) if end == request.len() => return Ok(request),
            // The client must wait for the answer (RFC 6455, 4.1).
            Some(_) => return Err(Refusal::TooEarly),
            None if request.len() >= MAX_REQUEST => return Err(Refusal::TooLarge),
            None => {}
        }
    }
}

/// The answer that upgrades.
fn answer(request: &[u8]) -> Result<Vec<u8>, Refusal> {
    let request = match Request::try_parse(request) {
        Ok(Some((_, request))) => request,
        Err(tungstenite::Error::Protocol(ProtocolError::WrongHttpMethod)) => return Err(Refusal::Method),
        Ok(None) | Err(_) => return Err(Refusal::Malformed),
    };
    if request.uri().path() != PATH {
        return Err(Refusal::Path);
    }
    let mut response = create_response(&request).map_err(|error| match error {
        tungstenite::Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader,
        ) => Refusal::NoUpgrade,
        tungstenite::Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => Refusal::Version,
        _ => Refusal::Malformed,
    })?;
    let offered = request.headers().get_all("Sec-WebSocket-Protocol");
    let mut offered =
        offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let is_offered = offered.any(|protocol| protocol.trim() == SUBPROTOCOL);
    if !is_offered && !mutated(Mutation::TakesAnySubprotocol) {
        return Err(Refusal::Subprotocol);
    }
    if !mutated(Mutation::ChoosesNoSubprotocol) {
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    }
    let mut out = Vec::new();
    write_response(&mut out, &response).map_err(|_| Refusal::Malformed)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(first: &str, headers: &[&str]) -> Vec<u8> {
        format!("{first}\r\nHost: localhost\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes()
    }

    const UPGRADE: [&str; 4] = [
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];

    fn with(more: &str) -> Vec<&str> {
        UPGRADE.iter().copied().chain([more]).collect()
    }

    #[test]
    fn an_upgrade_to_mqtt_is_answered_as_the_rfc_says() {
        for offer in ["mqtt", "mqttv3.1, mqtt", "x,mqtt ,y"] {
            for path in ["/mqtt", "/mqtt?token=1"] {
                let offer = format!("Sec-WebSocket-Protocol: {offer}");
                let answer = answer(&request(&format!("GET {path} HTTP/1.1"), &with(&offer))).expect(path);
                let answer = String::from_utf8(answer).expect("text").to_ascii_lowercase();
                assert!(answer.starts_with("http/1.1 101 "), "{answer}");
                assert!(answer.contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
                assert!(
                    answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
                    "{answer}"
                );
            }
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_status_and_a_sentence() {
        let get = "GET /mqtt HTTP/1.1";
        let mqtt = with("Sec-WebSocket-Protocol: mqtt");
        let without = |left_out: &str| -> Vec<&str> {
            mqtt.iter().copied().filter(|header| !header.starts_with(left_out)).collect()
        };
        for (request, status, sentence) in [
            (request("GET / HTTP/1.1", &mqtt), "404", "/mqtt"),
            (request("GET /mqtt/x HTTP/1.1", &mqtt), "404", "/mqtt"),
            (request("POST /mqtt HTTP/1.1", &mqtt), "405", "GET"),
            (request("GET /mqtt HTTP/1.0", &mqtt), "400", "HTTP/1.1"),
            (request(get, &without("Upgrade")), "426", "upgrade"),
            (request(get, &without("Connection")), "426", "upgrade"),
            (request(get, &without("Sec-WebSocket-Version")), "426", "13"),
            (request(get, &without("Sec-WebSocket-Key")), "400", "upgraded"),
            (request(get, &UPGRADE), "400", "subprotocol mqtt"),
            (request(get, &with("Sec-WebSocket-Protocol: mqttv3.1")), "400", "subprotocol mqtt"),
            (b"\x16\x03\x01\x02\x00\x01\r\n\r\n".to_vec(), "400", "HTTP/1.1"),
        ] {
            let refusal = answer(&request).expect_err("no upgrade");
            let response = refusal.response().expect("somebody is told");
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
            let (head, body) = response.split_once("\r\n\r\n").expect("a body");
            assert!(body.contains(sentence), "{response}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{response}");
        }
    }
}
