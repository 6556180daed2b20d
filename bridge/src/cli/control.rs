//! The control socket of a running server: `control.sock` in its data folder, for the operator on the same machine.
//!
//! Only the user the server runs as, and root, are heard: the socket has mode 0600, and who connects is checked besides. At most
//! [`CONVERSATIONS`] are served at a time, others wait; one that says nothing for [`PATIENCE`] is ended.

use super::protocol::{LINE_MAX_BYTES, Request, Response, SOCKET, USERS_PAGE, line};
use super::reports;
use crate::account::{AccountError, Accounts, Hash};
use crate::reload::{Reload, Reloaded};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Conversations at a time.
const CONVERSATIONS: usize = 8;
/// How long a conversation may take to say or hear a line.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before another connection is accepted when accepting failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Carries out requests. Called where blocking is allowed.
pub trait ControlHandler: Send + Sync + 'static {
    /// Carries out one request and answers when what it says is durable.
    fn handle(&self, request: Request) -> Response;
}

/// The control socket cannot be made.
#[derive(Debug, Error)]
#[error("the control socket {} cannot be made: {error}{}", path.display(), hint(error))]
pub struct ControlError {
    path: PathBuf,
    error: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidInput => {
            "; the path of a socket is 107 bytes at most: choose a shorter data folder"
        }
        _ => "",
    }
}

/// A control socket. Dropping it takes it away.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl ControlSocket {
    /// Makes the socket in the data folder, under a tokio runtime. The store must be open: then an old socket is nobody's.
    pub fn bind(data: &Path) -> Result<ControlSocket, ControlError> {
        let path = data.join(SOCKET);
        let made = || {
            match std::fs::symlink_metadata(&path) {
                Ok(old) if old.file_type().is_socket() => std::fs::remove_file(&path)?,
                _ => {}
            }
            let listener = UnixListener::bind(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            let owner = std::fs::metadata(&path)?.uid();
            Ok((listener, owner))
        };
        match made() {
            Ok((listener, owner)) => Ok(ControlSocket { listener, path, owner }),
            Err(error) => Err(ControlError { path, error }),
        }
    }

    /// Serves until it is dropped. What was begun by then is carried out; its answer may not be heard.
    pub async fn serve(self, handler: Arc<dyn ControlHandler>) {
        let mut conversations = JoinSet::new();
        loop {
            while conversations.len() >= CONVERSATIONS {
                conversations.join_next().await;
            }
            match self.listener.accept().await {
                Ok((stream, _)) if self.is_heard(&stream) => {
                    conversations.spawn(converse(stream, Arc::clone(&handler)));
                }
                Ok(_) => {
                    tracing::warn!(
                        "somebody other than the operator was turned away from the control socket"
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the control socket was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            while conversations.try_join_next().is_some() {}
        }
    }

    fn is_heard(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // It may be gone already, with its folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers line by line, until the other side has heard enough or takes too long.
async fn converse(stream: UnixStream, handler: Arc<dyn ControlHandler>) {
    let mut heard = Vec::new();
    loop {
        let request = tokio::time::timeout(PATIENCE, hear(&stream, &mut heard)).await;
        let Ok(Ok(Some(request))) = request else { return };
        let response = match serde_json::from_slice(&request) {
            Ok(request) => {
                let handler = Arc::clone(&handler);
                let answered = tokio::task::spawn_blocking(move || handler.handle(request)).await;
                answered
                    .unwrap_or_else(|_| Response::Refused("the server failed at it; see its log".to_owned()))
            }
            Err(error) => Response::Refused(format!("the server does not understand this: {error}")),
        };
        match tokio::time::timeout(PATIENCE, say(&stream, &line(&response))).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

/// The next line, without its end. `None` when the other side has ended, or says too much.
async fn hear(stream: &UnixStream, heard: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
            let rest = heard.split_off(end + 1);
            heard.pop();
            return Ok(Some(std::mem::replace(heard, rest)));
        }
        if heard.len() > LINE_MAX_BYTES {
            return Ok(None);
        }
        stream.readable().await?;
        let mut piece = [0; 4_096];
        match stream.try_read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(len) => heard.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn say(stream: &UnixStream, mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        stream.writable().await?;
        match stream.try_write(words) {
            Ok(len) => words = &words[len..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Requests about users, carried out on accounts.
pub struct UserControl(Arc<Accounts>);

impl UserControl {
    /// Carries requests out on these accounts.
    pub fn new(accounts: Arc<Accounts>) -> UserControl {
        UserControl(accounts)
    }

    fn carry_out(&self, request: Request) -> Result<Response, AccountError> {
        match request {
            Request::Ping {} => {}
            Request::AddUser { user, hash } => self.0.add(&user, Hash::parse(&hash)?)?,
            Request::SetPassword { user, hash } => self.0.set_password(&user, Hash::parse(&hash)?)?,
            Request::RemoveUser { user } => self.0.remove(&user)?,
            Request::Reload {} => {
                return Ok(Response::Refused("there is no server here to reload its settings".to_owned()));
            }
            Request::ListReports { after } => return reports::page(&self.0, after.as_deref()),
            Request::ShowReport { id, part } => return reports::part(&self.0, &id, part),
            Request::RemoveReport { id } => return reports::remove(&self.0, &id),
            Request::ListUsers { after } => {
                let page = self.0.list(after.as_deref(), USERS_PAGE)?;
                return Ok(Response::Users(page.into_iter().map(|(user, _)| user.to_string()).collect()));
            }
        }
        Ok(Response::Done)
    }
}

impl ControlHandler for UserControl {
    fn handle(&self, request: Request) -> Response {
        self.carry_out(request).unwrap_or_else(|error| Response::Refused(error.to_string()))
    }
}

/// All that a running server is asked: about users, and to read its settings again.
pub struct ServerControl {
    users: UserControl,
    reload: Arc<Reload>,
    /// Where the reload runs, while the thread that asked for it waits.
    runtime: tokio::runtime::Handle,
}

impl ServerControl {
    /// Carries requests out on these. To be called under the runtime of the server.
    pub fn new(accounts: Arc<Accounts>, reload: Arc<Reload>) -> ServerControl {
        let runtime = tokio::runtime::Handle::current();
        ServerControl { users: UserControl::new(accounts), reload, runtime }
    }
}

impl ControlHandler for ServerControl {
    fn handle(&self, request: Request) -> Response {
        if request != (Request::Reload {}) {
            return self.users.handle(request);
        }
        match self.runtime.block_on(self.reload.now()) {
            Ok(Reloaded { rules, revoked, at_next_start }) => {
                let at_next_start = at_next_start.into_iter().map(str::to_owned).collect();
                Response::Reloaded { rules, revoked, at_next_start }
            }
            Err(error) => Response::Refused(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::Client;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as Blocking;

    /// Answers with what it was asked.
    struct Echo;

    impl ControlHandler for Echo {
        fn handle(&self, request: Request) -> Response {
            match request {
                Request::RemoveUser { user } if user == "panic" => panic!("as asked"),
                request => Response::Refused(format!("{request:?}")),
            }
        }
    }

    /// Serves `Echo` in a folder of its own while `with` runs.
    fn serving(with: impl FnOnce(&Path)) {
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = {
            let _entered = runtime.enter();
            // A crash leaves its socket behind.
            drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap());
            ControlSocket::bind(dir.path()).unwrap()
        };
        let serving = runtime.spawn(socket.serve(Arc::new(Echo)));
        with(dir.path());
        serving.abort();
        drop(runtime.block_on(serving));
        assert!(!dir.path().join(SOCKET).exists(), "it is taken away in the end");
    }

    #[test]
    fn requests_are_answered_one_by_one() {
        serving(|dir| {
            let mode = std::fs::metadata(dir.join(SOCKET)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let mut client = Client::connect(dir).unwrap().expect("somebody listens");
            for user in ["a", "b"] {
                let request = Request::RemoveUser { user: user.into() };
                let Response::Refused(echo) = client.ask(&request).unwrap() else { panic!("an echo") };
                assert_eq!(echo, format!("{request:?}"));
            }
            // More than may talk at a time: the last ones are heard when the first have ended.
            drop(client);
            let clients: Vec<_> =
                (0..CONVERSATIONS).map(|_| Client::connect(dir).unwrap().unwrap()).collect();
            let mut late = Client::connect(dir).unwrap().unwrap();
            drop(clients);
            assert!(matches!(late.ask(&Request::Ping {}).unwrap(), Response::Refused(_)));
        });
    }

    #[test]
    fn nonsense_is_refused_and_too_much_of_it_ends_the_conversation() {
        serving(|dir| {
            let mut stream = Blocking::connect(dir.join(SOCKET)).unwrap();
            stream.write_all(b"nonsense\n{\"do\":\"ping\"}\n").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).unwrap();
            let answers: Vec<_> = answers.lines().collect();
            assert_eq!(answers.len(), 2);
            assert!(answers[0].contains("does not understand"), "{}", answers[0]);
            assert!(answers[1].contains("Ping"), "{}", answers[1]);

            let mut stream = Blocking::connect(dir.join(SOCKET)).unwrap();
            // The other side may hang up while this is written.
            let _ = stream.write_all(&vec![b'x'; LINE_MAX_BYTES + 8_192]);
            let mut answer = Vec::new();
            assert!(!matches!(stream.read_to_end(&mut answer), Ok(len) if len > 0), "nothing is answered");
        });
    }

    #[test]
    fn a_request_that_fails_the_server_is_answered() {
        serving(|dir| {
            let mut client = Client::connect(dir).unwrap().unwrap();
            let response = client.ask(&Request::RemoveUser { user: "panic".into() }).unwrap();
            assert_eq!(response, Response::Refused("the server failed at it; see its log".to_owned()));
            assert!(matches!(client.ask(&Request::Ping {}).unwrap(), Response::Refused(_)), "and it goes on");
        });
    }

    #[test]
    fn a_socket_that_cannot_be_made_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let sentence = ControlSocket::bind(&deep).unwrap_err().to_string();
        assert!(sentence.ends_with("choose a shorter data folder"), "{sentence}");
        std::fs::write(dir.path().join(SOCKET), "not a socket").unwrap();
        let sentence = ControlSocket::bind(dir.path()).unwrap_err().to_string();
        assert!(sentence.contains("control.sock cannot be made: "), "{sentence}");
        assert!(dir.path().join(SOCKET).exists(), "what is not ours is left alone");
    }
}
