//! The server as a program that a test can kill: `served [--forget] ADDRESS FOLDER`. With `--forget` it begins with nothing.
//!
//! It writes to the folder and flushes; what is not flushed outlives it too, as it does any process that is killed.

use chasqui_bridge::server::{self, Server};
use chasqui_bridge::settings::{ByteSize, Settings};
use chasqui_storage::Storage;
use chasqui_storage::clock::SystemClock;
use std::path::Path;
use std::sync::Arc;

#[tokio::main]
async fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let forget = arguments.first().is_some_and(|first| first == "--forget");
    if forget {
        arguments.remove(0);
    }
    let [address, folder] = &arguments[..] else { panic!("served [--forget] ADDRESS FOLDER") };
    let folder = Path::new(folder).join(if forget { "new" } else { "kept" });
    let mut settings = Settings { dev: true, ..Settings::default() };
    settings.storage.segment_bytes = ByteSize(16 << 20);
    let storage = Storage::open(&folder, server::options(&settings)).expect("the store opens");
    let listener = tokio::net::TcpListener::bind(address).await.expect("the address is free");
    let server = Server::start_on(&settings, storage, Arc::new(SystemClock), vec![listener]).await;
    let _server = server.expect("the server starts");
    std::future::pending::<()>().await;
}
