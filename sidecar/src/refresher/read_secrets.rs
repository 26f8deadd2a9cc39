//! Reads both Secrets, and names the condition for one that cannot be read.

use agent_creds_core::grant::Grant;
use agent_creds_core::names::{ISSUED_AT_ANNOTATION, ObjectName, PROVIDER_LABEL, STATE_LABEL, STATE_SUFFIX};
use agent_creds_core::words::Word as _;
use tokio::time::Instant;

use super::{Refresher, Tools};
use crate::identity::commands;
use crate::store::reason::SecretReason;
use crate::store::{STATE_KEY, Store, StoreError};
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::{Document, DocumentError, Home, is_countable};
use agent_creds_refresh::login::Login;
use agent_creds_refresh::reason::{Outlook, Reason};
use agent_creds_refresh::replica::{Found, Seen, Unusable};
use agent_creds_refresh::seed::is_stale;

impl<S: Store> Refresher<S> {
    /// Reads both Secrets; the state Secret last, since a claim replaces what was read. The grant Secret is read again only where
    /// there is a reason to.
    pub(super) async fn read_secrets(&mut self) -> Seen {
        let login = match &self.login {
            Some(login) if !self.read_both => Ok(login.clone()),
            _ => self.read_grant().await,
        };
        self.login = login.as_ref().ok().cloned();
        let login = self.locate(login.and_then(|login| self.has_time().map(|()| login)));
        let state = match self.share_clients(login.as_ref().ok()).await {
            Err(condition) => Err(condition),
            Ok(()) => match self.local_state() {
                Some(local) => Ok(local),
                None => self.read_state().await,
            },
        };
        self.has_read_both = self.read_both;
        // The grant Secret is left out only after a change of the state Secret alone.
        self.read_both = true;
        let readable = login.is_ok() && state.is_ok();
        self.readable.send_if_modified(|before| std::mem::replace(before, readable) != readable);
        if let (Ok(login), Ok(Found { document: Ok(document), .. })) = (&login, &state) {
            self.warn(login, document);
        }
        Seen { login, state }
    }

    /// Checks that the API token is valid for two terms of a claim: the outcome of a claim has to be stored.
    fn has_time(&self) -> Result<(), Condition> {
        let Tools { store, clock, timing, .. } = &self.tools;
        store.token_source().map_or(Ok(()), |tokens| tokens.lasts(clock.now() + timing.term * 2))
    }

    async fn read_grant(&mut self) -> Result<Login, Condition> {
        let name = &self.cache.secret;
        let found = self.tools.store.read(name).await.map_err(|error| self.store_condition(name, &error))?;
        let Some(object) = found else {
            self.tools.logins.gone(name, Instant::now());
            return Err(condition(name, SecretReason::GrantMissing, SecretReason::GrantMissing.sentence()));
        };
        self.grant_uid.clone_from(&object.uid);
        let provider = object.labels.get(PROVIDER_LABEL).map(String::as_str);
        let invalid = |problem: &str| condition(name, SecretReason::GrantInvalid, problem);
        let grant = Grant::read(provider, &object.data).map_err(|error| invalid(&error.to_string()))?;
        let rotates = grant.rules.rotates();
        let mut login = Login::new(grant);
        login.created_at = object.created_at;
        if let Some(text) = object.annotations.get(ISSUED_AT_ANNOTATION) {
            let at = text.parse().ok().filter(|at| is_countable(*at)).ok_or_else(|| {
                invalid(&format!(
                    "annotation {ISSUED_AT_ANNOTATION}: not a time; write RFC 3339, such as 2026-01-31T12:00:00Z"
                ))
            })?;
            login.issued_at = Some(at);
        }
        let other = self.tools.logins.note(name, &login.token_fp, Instant::now()).filter(|_| rotates);
        if let Some(other) = other {
            let sentence = SecretReason::SharedLogin.sentence();
            return Err(condition(
                name,
                SecretReason::SharedLogin,
                &format!("key refresh_token: the same as in Secret {other}; {sentence}"),
            ));
        }
        Ok(login)
    }

    pub(super) async fn read_state(&mut self) -> Result<Found, Condition> {
        let name = &self.state_name;
        let found = self.tools.store.read(name).await.map_err(|error| self.store_condition(name, &error))?;
        let object = found.ok_or_else(|| {
            let (secret, state) = (&self.cache.secret.name, &name.name);
            let namespace = if name.namespace.is_empty() { "" } else { &format!(" -n {}", name.namespace) };
            let command = format!(
                "does not exist; run: kubectl create secret generic {state}{namespace} && \
                 kubectl label secret {state}{namespace} {STATE_LABEL}={secret}"
            );
            condition(name, SecretReason::StateMissing, &command)
        })?;
        let label = object.labels.get(STATE_LABEL);
        if label != Some(&self.cache.secret.name) {
            let problem = format!(
                "label {STATE_LABEL}: found {}; write {}",
                if label.is_some() { "another value" } else { "no such label" },
                self.cache.secret.name
            );
            return Err(condition(name, SecretReason::StateInvalid, &problem));
        }
        let document = Document::parse(object.data.get(STATE_KEY).map(Vec::as_slice)).map_err(|error| {
            let newer = error == DocumentError::Newer;
            let reason: Reason =
                if newer { Outlook::StateNewer.into() } else { SecretReason::StateInvalid.into() };
            let remedy =
                if newer { "upgrade this sidecar" } else { "restore it, or remove the key and log in again" };
            Unusable {
                error,
                condition: condition(name, reason, &format!("key {STATE_KEY}: {error}; {remedy}")),
            }
        });
        let cluster = self.tools.cluster.clone();
        let home =
            cluster.zip(object.uid.clone()).map(|(cluster, uid)| Home { cluster, uid, ..Home::default() });
        let version = object.version.to_string();
        self.state = Some(object);
        Ok(Found { document, version, home })
    }

    /// Returns the condition for an error of the store.
    pub(super) fn store_condition(&self, name: &ObjectName, error: &StoreError) -> Condition {
        match error {
            StoreError::NoIdentity(condition) => condition.clone(),
            StoreError::Forbidden { .. } => {
                let remedy = self.tools.store.token_source().map_or_else(
                    || SecretReason::StoreForbidden.sentence().to_owned(),
                    |tokens| {
                        let credential = tokens.credential();
                        let rights = commands::secrets(credential, &self.cache.secret, &self.state_name);
                        format!("ServiceAccount {credential} lacks the right; run: {rights}")
                    },
                );
                condition(name, SecretReason::StoreForbidden, &format!("{error}; {remedy}"))
            }
            StoreError::Malformed(_) | StoreError::Unacceptable => {
                let state = name.name.ends_with(STATE_SUFFIX);
                let reason = if state { SecretReason::StateInvalid } else { SecretReason::GrantInvalid };
                condition(name, reason, &error.to_string())
            }
            StoreError::NotFound => {
                condition(name, SecretReason::StateMissing, SecretReason::StateMissing.sentence())
            }
            StoreError::Conflict | StoreError::Unavailable(_) => {
                condition(name, SecretReason::StoreUnavailable, &error.to_string())
            }
        }
    }

    /// Logs warnings about the settings, once for each version of them.
    fn warn(&mut self, login: &Login, document: &Document) {
        let settings = format!("{} {} {}", login.token_fp, login.config_fp, login.grant.warnings.join("; "));
        if self.warned == settings {
            return;
        }
        self.warned = settings;
        let secret = &self.cache.secret;
        if is_stale(document, login) {
            tracing::warn!(grant = %secret, detail = Outlook::StaleSeed.sentence(), "old login in the grant Secret");
        }
        if !login.grant.unknown_scopes.is_empty() {
            let scopes = login.grant.unknown_scopes.join(" ");
            tracing::warn!(grant = %secret, scopes, "unknown scopes; check their spelling");
        }
        for warning in &login.grant.warnings {
            tracing::warn!(grant = %secret, detail = warning, "unknown key in the grant Secret");
        }
    }
}

fn condition(name: &ObjectName, reason: impl Into<Reason>, problem: &str) -> Condition {
    Condition { reason: reason.into(), message: format!("Secret {name}: {problem}") }
}
