//! MQTT over WebSocket: a stream of bytes made of binary frames, both ways.
//!
//! What is written at once becomes one frame, and goes out with its header in one call, uncopied. The caller must come back
//! with the same bytes after a write that took only a part of them, as with TLS: their frame has been announced.

mod frames;
mod upgrade;

pub(super) use upgrade::{Refusal, upgrade};

use super::Stream;
use frames::{ControlPayload, End, Frames, put_header};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The code of a close that is in order (RFC 6455, 7.4.1).
const NORMAL: u16 = 1000;

/// A WebSocket after its handshake.
#[derive(Debug)]
pub(crate) struct WebSocket<S> {
    stream: S,
    frames: Frames,
    /// A header or a control frame on its way out, and how much of it is.
    pending: Vec<u8>,
    sent: usize,
    /// Payload bytes that the last header has announced and that are not out.
    announced: usize,
    close_sent: bool,
}

impl<S: Stream> WebSocket<S> {
    fn new(stream: S) -> WebSocket<S> {
        let (frames, pending) = (Frames::new(), Vec::new());
        WebSocket { stream, frames, pending, sent: 0, announced: 0, close_sent: false }
    }

    /// Writes what is pending; only between frames is there nothing else to be written first.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.pending.len() {
            let rest = &self.pending[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.pending.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Between frames: writes a pong that is due, and what is pending.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        if let Some(said) = self.frames.pong.take() {
            self.put_control(Control::Pong, &said);
            ready!(self.poll_pending(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn put_control(&mut self, control: Control, payload: &[u8]) {
        put_header(&mut self.pending, OpCode::Control(control), payload.len());
        self.pending.extend_from_slice(payload);
    }

    /// Says that it is over, once. Not in the middle of a frame: then there is no way to say it.
    fn poll_close(&mut self, cx: &mut Context<'_>, code: u16) -> Poll<io::Result<()>> {
        if self.announced > 0 {
            return Poll::Ready(Ok(()));
        }
        if !self.close_sent {
            self.close_sent = true;
            self.frames.pong = None;
            self.put_control(Control::Close, &code.to_be_bytes());
        }
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// No more payload comes. The peer is told as far as it takes it at once; the connection does not wait for that.
    fn end(&mut self, cx: &mut Context<'_>, end: End) -> io::Result<()> {
        match end {
            End::Closed => {
                let _ = self.poll_close(cx, NORMAL);
                Ok(())
            }
            End::Violated(violation) => {
                let _ = self.poll_close(cx, violation.close_code());
                Err(io::Error::new(ErrorKind::InvalidData, violation))
            }
        }
    }
}

impl<S: Stream> AsyncRead for WebSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        loop {
            if let Some(end) = this.frames.end {
                return Poll::Ready(this.end(cx, end));
            }
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let count = this.frames.take(&mut buffer.filled_mut()[before..]);
            buffer.set_filled(before + count);
            if this.frames.pong.is_some() && this.announced == 0 {
                // What the peer does not take now goes out with the next write.
                if let Poll::Ready(Err(error)) = this.poll_control(cx) {
                    return Poll::Ready(Err(error));
                }
            }
            if count > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: Stream> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.announced == 0 {
            if this.close_sent {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            ready!(this.poll_control(cx))?;
            put_header(&mut this.pending, OpCode::Data(Data::Binary), bytes.len());
            this.announced = bytes.len();
        }
        loop {
            let payload = &bytes[..this.announced.min(bytes.len())];
            let slices = [IoSlice::new(&this.pending[this.sent..]), IoSlice::new(payload)];
            let slices = if slices[0].is_empty() { &slices[1..] } else { &slices[..] };
            let count = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            let of_header = count.min(this.pending.len() - this.sent);
            this.sent += of_header;
            if this.sent == this.pending.len() {
                this.pending.clear();
                this.sent = 0;
            }
            let of_payload = count - of_header;
            if of_payload > 0 {
                this.announced -= of_payload;
                return Poll::Ready(Ok(of_payload));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.announced == 0 && !this.close_sent {
            ready!(this.poll_control(cx))?;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_close(cx, NORMAL))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// The payload of the newest ping is all that waits; here so that its size is thought of.
const _: () = assert!(size_of::<ControlPayload>() <= 32);

#[cfg(test)]
mod tests;
