//! The stream against the library's own client, over a pipe that takes little at a time.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

/// Both ends, with so many bytes between them.
async fn pair(bytes: usize) -> (WebSocket<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (server, client) = duplex(bytes);
    (WebSocket::new(server), WebSocketStream::from_raw_socket(client, Role::Client, None).await)
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 31 + n / 251) as u8).collect()
}

#[tokio::test]
async fn what_is_said_arrives_both_ways_through_a_narrow_pipe() {
    use futures_util::{SinkExt, StreamExt};
    for width in [1, 3, 16, 70_000] {
        let (mut server, mut client) = pair(width).await;
        let sizes = [0, 1, 125, 126, 300, 65_535, 65_536, 70_000];
        let total: usize = sizes.iter().sum();
        let there = async {
            for size in sizes {
                server.write_all(&noise(size)).await.expect("the pipe is open");
            }
            server.flush().await.expect("the pipe is open");
            let mut back = vec![0; total];
            server.read_exact(&mut back).await.expect("all comes back");
            back
        };
        let echo = async {
            let mut frames = Vec::new();
            while frames.iter().map(Vec::len).sum::<usize>() < total {
                match client.next().await.expect("the pipe is open").expect("frames in order") {
                    Message::Binary(bytes) => frames.push(bytes.to_vec()),
                    other => panic!("binary frames expected: {other:?}"),
                }
            }
            // Back in one message, with a ping in front.
            client.send(Message::Ping(vec![7; 3].into())).await.expect("the pipe is open");
            let all: Vec<u8> = frames.concat();
            client.send(Message::Binary(all.clone().into())).await.expect("the pipe is open");
            (frames.len(), all)
        };
        let (back, (frames, all)) = tokio::join!(there, echo);
        let expected: Vec<u8> = sizes.into_iter().flat_map(noise).collect();
        assert!(all == expected && back == expected, "{width}");
        assert_eq!(frames, sizes.len() - 1, "what is written at once is one frame");
        // The ping was answered while the server only read.
        let (flushed, answer) = tokio::join!(server.flush(), client.next());
        flushed.expect("the pipe is open");
        match answer.expect("the pipe is open").expect("frames in order") {
            Message::Pong(said) => assert_eq!(&said[..], [7; 3]),
            other => panic!("a pong expected: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_close_is_answered_and_is_the_end() {
    use futures_util::{SinkExt, StreamExt};
    let (mut server, mut client) = pair(64).await;
    client.send(Message::Binary(b"last"[..].into())).await.expect("the pipe is open");
    client.close(None).await.expect("the pipe is open");
    let mut said = Vec::new();
    server.read_to_end(&mut said).await.expect("an end in order");
    assert_eq!(said, b"last");
    assert!(matches!(client.next().await, Some(Ok(Message::Close(Some(_))))));
    assert!(server.write_all(b"more").await.is_err(), "nothing is said after the end");
}

#[tokio::test]
async fn a_text_frame_ends_it_with_the_code_for_that() {
    use futures_util::{SinkExt, StreamExt};
    let (mut server, mut client) = pair(64).await;
    client.send(Message::Binary(b"before"[..].into())).await.expect("the pipe is open");
    client.send(Message::Text("text".into())).await.expect("the pipe is open");
    let mut said = [0; 6];
    server.read_exact(&mut said).await.expect("what came before counts");
    let error = server.read(&mut [0; 8]).await.expect_err("a violation");
    assert_eq!((error.kind(), &said), (ErrorKind::InvalidData, b"before"));
    assert!(error.to_string().contains("[MQTT-6.0.0-1]"), "{error}");
    let Some(Ok(Message::Close(Some(close)))) = client.next().await else { panic!("a close frame expected") };
    assert_eq!(u16::from(close.code), 1003);
}

#[tokio::test]
async fn the_end_of_the_server_is_said() {
    use futures_util::StreamExt;
    let (mut server, mut client) = pair(64).await;
    server.write_all(b"bye").await.expect("the pipe is open");
    server.shutdown().await.expect("the pipe is open");
    assert!(matches!(client.next().await, Some(Ok(Message::Binary(_)))));
    let Some(Ok(Message::Close(Some(close)))) = client.next().await else { panic!("a close frame expected") };
    assert_eq!(u16::from(close.code), 1000);
}
