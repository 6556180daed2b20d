//! A network connection with both ends in hand: what the client sends, how much the socket takes, and when it breaks.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Default)]
struct Both {
    to_server: VecDeque<u8>,
    from_server: Vec<u8>,
    /// How many bytes the socket takes before it is full.
    room: usize,
    broken: bool,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The client's end.
#[derive(Clone)]
pub(super) struct Pipe(Arc<Mutex<Both>>);

impl Pipe {
    /// Both ends of a connection whose socket takes whatever comes.
    pub(super) fn new() -> (Pipe, ServerEnd) {
        let both = Arc::new(Mutex::new(Both { room: usize::MAX, ..Both::default() }));
        (Pipe(Arc::clone(&both)), ServerEnd(both))
    }

    pub(super) fn send(&self, bytes: &[u8]) {
        let mut both = self.0.lock();
        both.to_server.extend(bytes);
        wake(both.reader.take());
    }

    /// From now on the socket takes so many bytes.
    pub(super) fn set_room(&self, room: usize) {
        let mut both = self.0.lock();
        both.room = room;
        wake(both.writer.take());
    }

    /// The network is gone: the server reads what has arrived, then the end.
    pub(super) fn break_off(&self) {
        let mut both = self.0.lock();
        both.broken = true;
        wake(both.reader.take());
        wake(both.writer.take());
    }

    /// What the server wrote since this was last asked.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().from_server)
    }

    /// Whether the server has closed its end.
    pub(super) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl crate::net::Stream for ServerEnd {}

/// The server's end.
pub(super) struct ServerEnd(Arc<Mutex<Both>>);

impl AsyncRead for ServerEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut both = self.0.lock();
        let count = both.to_server.len().min(into.remaining());
        if count == 0 && !both.broken {
            both.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes: Vec<u8> = both.to_server.drain(..count).collect();
        into.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut both = self.0.lock();
        if both.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(both.room);
        if count == 0 {
            both.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        both.room = both.room.saturating_sub(count);
        both.from_server.extend_from_slice(&bytes[..count]);
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
