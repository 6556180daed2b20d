//! The operator's side of the control socket.

use super::protocol::{LINE_MAX_BYTES, Request, Response, SOCKET, line};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running server could not be asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Its socket cannot be used.
    #[error("the server's control socket {} cannot be used: {error}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It does not answer in words we know.
    #[error("the server answered on {} what this program does not understand; is it another version?", path.display())]
    Strange {
        /// The socket.
        path: PathBuf,
    },
}

/// A conversation with a running server.
#[derive(Debug)]
pub(super) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the server that uses this data folder; `None` if none does.
    pub(super) fn connect(data: &Path) -> Result<Option<Client>, ClientError> {
        let path = data.join(SOCKET);
        let connected = UnixStream::connect(&path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(Some(Client { path, stream: BufReader::new(stream) })),
            // A path that is too long for a socket has none.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::InvalidInput
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(ClientError::Socket { path, error }),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        let mut answer = Vec::new();
        let asked =
            self.stream.get_mut().write_all(&line(request)).and_then(|()| {
                self.stream.by_ref().take(LINE_MAX_BYTES as u64).read_until(b'\n', &mut answer)
            });
        match asked {
            Ok(0) => Err(ClientError::Socket {
                path: self.path.clone(),
                error: io::ErrorKind::UnexpectedEof.into(),
            }),
            Ok(_) => {
                serde_json::from_slice(&answer).map_err(|_| ClientError::Strange { path: self.path.clone() })
            }
            Err(error) => Err(ClientError::Socket { path: self.path.clone(), error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn where_nobody_listens_there_is_no_server() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Client::connect(dir.path()).unwrap().is_none(), "no socket");
        assert!(Client::connect(&dir.path().join("no/folder")).unwrap().is_none(), "no folder");
        drop(UnixListener::bind(dir.path().join(SOCKET)).unwrap());
        assert!(Client::connect(dir.path()).unwrap().is_none(), "left behind by a crash");
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        for (said, expected) in [("", "unexpected end of file"), ("what?\n", "is it another version?")] {
            let dir = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
            let mut client = Client::connect(dir.path()).unwrap().unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.write_all(said.as_bytes()).unwrap();
            server.shutdown(std::net::Shutdown::Write).unwrap();
            let sentence = client.ask(&Request::Ping {}).unwrap_err().to_string();
            assert!(sentence.contains(expected), "{sentence}");
        }
    }
}
