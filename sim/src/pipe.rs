//! A network connection with both ends in hand: what is on its way in either direction, how much the sockets hold, and when it breaks.

use chasqui_broker::Stream;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Default)]
struct Both {
    /// Written by the client and not arrived.
    on_the_way: VecDeque<u8>,
    /// Arrived, and not read by the server.
    arrived: VecDeque<u8>,
    /// Written by the server, and not received by the client.
    written: VecDeque<u8>,
    /// How much `written` may hold: a socket's buffer.
    room: usize,
    broken: bool,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The client's end.
#[derive(Clone)]
pub(crate) struct Pipe(Arc<Mutex<Both>>);

impl Pipe {
    /// Both ends of a connection; the server's socket holds so many bytes that the client has not received.
    pub(crate) fn new(room: usize) -> (Pipe, ServerEnd) {
        let both = Arc::new(Mutex::new(Both { room: room.max(1), ..Both::default() }));
        (Pipe(Arc::clone(&both)), ServerEnd(both))
    }

    /// The client writes.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.0.lock().on_the_way.extend(bytes);
    }

    /// How many bytes of the client are on their way.
    pub(crate) fn on_the_way(&self) -> usize {
        self.0.lock().on_the_way.len()
    }

    /// So many bytes arrive.
    pub(crate) fn arrive(&self, count: usize) {
        let both = &mut *self.0.lock();
        let count = count.min(both.on_the_way.len());
        both.arrived.extend(both.on_the_way.drain(..count));
        if count > 0 {
            wake(&mut both.reader);
        }
    }

    /// How many bytes wait for the client.
    pub(crate) fn written(&self) -> usize {
        self.0.lock().written.len()
    }

    /// The client receives so many bytes.
    pub(crate) fn receive(&self, count: usize) -> Vec<u8> {
        let both = &mut *self.0.lock();
        let count = count.min(both.written.len());
        if count > 0 {
            wake(&mut both.writer);
        }
        both.written.drain(..count).collect()
    }

    /// The network is gone: the server reads what has arrived, then the end. What was on its way is lost.
    pub(crate) fn break_off(&self) {
        let both = &mut *self.0.lock();
        both.broken = true;
        both.on_the_way.clear();
        wake(&mut both.reader);
        wake(&mut both.writer);
    }

    /// Whether the server has read all that the client wrote. Where it closes and has not, the client's kernel is told so.
    pub(crate) fn is_all_read(&self) -> bool {
        let both = self.0.lock();
        both.on_the_way.is_empty() && both.arrived.is_empty()
    }

    /// Whether the server has closed its end.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl Stream for ServerEnd {}

/// The server's end.
pub(crate) struct ServerEnd(Arc<Mutex<Both>>);

impl AsyncRead for ServerEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let both = &mut *self.0.lock();
        let count = both.arrived.len().min(into.remaining());
        if count == 0 && !both.broken {
            both.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes: Vec<u8> = both.arrived.drain(..count).collect();
        into.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let both = &mut *self.0.lock();
        if both.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(both.room.saturating_sub(both.written.len()));
        if count == 0 {
            both.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        both.written.extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        self.0.lock().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(end: &mut ServerEnd, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(end).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
    }

    fn read(end: &mut ServerEnd) -> Poll<Vec<u8>> {
        let mut space = [0; 16];
        let mut buffer = ReadBuf::new(&mut space);
        let polled = Pin::new(end).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        polled.map(|read| read.map(|()| buffer.filled().to_vec()).unwrap())
    }

    #[test]
    fn bytes_come_when_they_arrive() {
        let (pipe, mut end) = Pipe::new(4);
        pipe.send(b"hello");
        assert!(read(&mut end).is_pending());
        pipe.arrive(2);
        assert_eq!(read(&mut end), Poll::Ready(b"he".to_vec()));
        pipe.arrive(1);
        assert!(!pipe.is_all_read());
        pipe.break_off();
        assert_eq!(read(&mut end), Poll::Ready(b"l".to_vec()));
        assert_eq!(read(&mut end), Poll::Ready(Vec::new()), "the rest was on its way and is lost");
        assert!(matches!(write(&mut end, b"x"), Poll::Ready(Err(_))));
        assert!(pipe.is_all_read());
    }

    #[test]
    fn a_socket_that_is_full_takes_no_more() {
        let (pipe, mut end) = Pipe::new(4);
        assert!(matches!(write(&mut end, b"hello"), Poll::Ready(Ok(4))));
        assert!(write(&mut end, b"o").is_pending());
        assert_eq!(pipe.receive(3), b"hel");
        assert!(matches!(write(&mut end, b"o"), Poll::Ready(Ok(1))));
        assert!(!pipe.is_closed());
        drop(end);
        assert!(pipe.is_closed());
        assert_eq!(pipe.receive(9), b"lo", "what was written before may still be received");
    }
}
