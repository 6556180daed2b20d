//! Reading the settings and the certificate again while the server serves: of the settings the access rules take effect at once,
//! everything else at the next start.
//!
//! A settings file that will not do leaves the rules as they were, and a certificate that will not do leaves the certificate. When a reload says that it is done, the new rules hold for everyone: for what is
//! published from then on, and for the subscriptions that were there.

use crate::hook::ChatHook;
use crate::settings::{Settings, SettingsError, Sources};
use chasqui_broker::store::StoreError;
use chasqui_broker::{Broker, Tls};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::Mutex;

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Rules that are in effect now.
    pub rules: usize,
    /// Subscriptions that ended.
    pub revoked: usize,
    /// Settings that are other than those the server was started with.
    pub at_next_start: Vec<&'static str>,
}

/// Why a reload did not do all it should.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The settings cannot be used.
    #[error("{0}; the server goes on with the access rules it had")]
    Settings(#[from] SettingsError),
    /// Some offline sessions could not be looked at.
    #[error("the new access rules are in effect, but not every offline session could be looked at: {0}")]
    Sessions(#[from] StoreError),
}

/// Reads the settings again, one time after the other.
pub struct Reload {
    sources: Sources,
    /// What the server was started with.
    started: Settings,
    hook: Arc<ChatHook>,
    broker: Broker,
    tls: Option<Tls>,
    turn: Mutex<()>,
}

impl Reload {
    /// For a server that was started with these settings, which came from there.
    pub fn new(
        sources: Sources,
        started: Settings,
        hook: Arc<ChatHook>,
        broker: Broker,
        tls: Option<Tls>,
    ) -> Reload {
        Reload { sources, started, hook, broker, tls, turn: Mutex::default() }
    }

    /// Reloads; returns when the new rules hold for everyone.
    ///
    /// # Errors
    /// When the settings cannot be used, or some offline session's filters could not be looked at.
    pub async fn now(&self) -> Result<Reloaded, ReloadError> {
        let _turn = self.turn.lock().await;
        self.reload_certificate().await;
        let result = self.reload().await;
        match &result {
            Ok(Reloaded { rules, revoked, at_next_start }) => {
                tracing::info!(
                    "the settings were read again: {rules} access rules, {revoked} subscriptions ended"
                );
                if !at_next_start.is_empty() {
                    tracing::warn!(
                        "these settings take effect at the next start: {}",
                        at_next_start.join(", ")
                    );
                }
            }
            Err(error) => tracing::error!("{error}"),
        }
        result
    }

    /// Whatever the settings say by now: files that are there already were only replaced. It says in the log how that went.
    async fn reload_certificate(&self) {
        let Some(tls) = self.tls.clone() else { return };
        // It reads files; a thread that may block does that.
        if let Err(error) = tokio::task::spawn_blocking(move || tls.reload_and_log()).await {
            tracing::error!("the certificate could not be looked at: {error}");
        }
    }

    async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let settings = Settings::load(&self.sources)?;
        let (rules, at_next_start) = (settings.access.0.len(), settings.others_than(&self.started));
        self.hook.access().replace(settings.access);
        let revoked = self.broker.recheck(None).await?;
        Ok(Reloaded { rules, revoked, at_next_start })
    }
}
