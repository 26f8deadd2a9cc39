//! One look at both Secrets: what is read, and the sentence for what cannot be.

use agent_creds_core::grant::Grant;
use agent_creds_core::names::{ISSUED_AT_ANNOTATION, PROVIDER_LABEL, STATE_LABEL, STATE_SUFFIX};

use super::{Keeper, Tools};
use crate::grant::document::{Document, DocumentError, Home, is_countable};
use crate::grant::login::Login;
use crate::grant::replica::{Found, Seen, Unusable};
use crate::grant::seed::is_stale;
use crate::grant::status::Trouble;
use crate::identity::rights;
use crate::object_name::ObjectName;
use crate::outcome::Reason;
use crate::store::{STATE_KEY, Store, StoreError};

impl<S: Store> Keeper<S> {
    /// Reads both Secrets, the state's last: a claim goes on top of it. The grant Secret is read only where there is a
    /// reason to.
    pub(super) async fn look(&mut self) -> Seen {
        let login = match &self.login {
            Some(login) if !self.whole => Ok(login.clone()),
            _ => self.look_at_grant().await,
        };
        self.login = login.as_ref().ok().cloned();
        let login = self.place(login.and_then(|login| self.has_time().map(|()| login)));
        let state = match self.own_state() {
            Some(own) => Ok(own),
            None => self.look_at_state().await,
        };
        self.saw_whole = self.whole;
        // Only what follows a change of the state alone may do with less.
        self.whole = true;
        if let (Ok(login), Ok(Found { document: Ok(document), .. })) = (&login, &state) {
            self.notice(login, document);
        }
        Seen { login, state }
    }

    /// Who loses its identity within two terms claims nothing: what comes of a claim has to be stored.
    fn has_time(&self) -> Result<(), Trouble> {
        let Tools { store, clock, timing, .. } = &self.tools;
        store.wallet().map_or(Ok(()), |wallet| wallet.lasts(clock.now() + timing.term * 2))
    }

    async fn look_at_grant(&mut self) -> Result<Login, Trouble> {
        let name = &self.shelf.secret;
        let found = self.tools.store.read(name).await.map_err(|error| self.store_trouble(name, &error))?;
        let object =
            found.ok_or_else(|| trouble(name, Reason::GrantMissing, Reason::GrantMissing.sentence()))?;
        self.grant_uid.clone_from(&object.uid);
        let provider = object.labels.get(PROVIDER_LABEL).map(String::as_str);
        let invalid = |problem: &str| trouble(name, Reason::GrantInvalid, problem);
        let grant = Grant::read(provider, &object.data).map_err(|error| invalid(&error.to_string()))?;
        let rotates = grant.rules.rotates();
        let mut login = Login::new(grant);
        login.created_at = object.created_at;
        if let Some(text) = object.annotations.get(ISSUED_AT_ANNOTATION) {
            let at = text.parse().ok().filter(|at| is_countable(*at)).ok_or_else(|| {
                invalid(&format!(
                    "annotation {ISSUED_AT_ANNOTATION}: no time; write RFC 3339, such as 2026-01-31T12:00:00Z"
                ))
            })?;
            login.issued_at = Some(at);
        }
        let other = self.tools.logins.note(name, &login.token_fp).filter(|_| rotates);
        if let Some(other) = other {
            let sentence = Reason::SharedLogin.sentence();
            return Err(trouble(
                name,
                Reason::SharedLogin,
                &format!("key refresh_token: the same as in Secret {other}; {sentence}"),
            ));
        }
        Ok(login)
    }

    async fn look_at_state(&mut self) -> Result<Found, Trouble> {
        let name = &self.state_name;
        let found = self.tools.store.read(name).await.map_err(|error| self.store_trouble(name, &error))?;
        let object = found.ok_or_else(|| {
            let (secret, state) = (&self.shelf.secret.name, &name.name);
            let namespace = if name.namespace.is_empty() { "" } else { &format!(" -n {}", name.namespace) };
            let command = format!(
                "does not exist; run: kubectl create secret generic {state}{namespace} && \
                 kubectl label secret {state}{namespace} {STATE_LABEL}={secret}"
            );
            trouble(name, Reason::StateMissing, &command)
        })?;
        let label = object.labels.get(STATE_LABEL);
        if label != Some(&self.shelf.secret.name) {
            let problem = format!(
                "label {STATE_LABEL}: found {}; write {}",
                if label.is_some() { "another value" } else { "no such label" },
                self.shelf.secret.name
            );
            return Err(trouble(name, Reason::StateInvalid, &problem));
        }
        let document = Document::parse(object.data.get(STATE_KEY).map(Vec::as_slice)).map_err(|error| {
            let newer = error == DocumentError::Newer;
            let reason = if newer { Reason::StateNewer } else { Reason::StateInvalid };
            let mend =
                if newer { "upgrade this sidecar" } else { "restore it, or remove the key and log in again" };
            Unusable { error, trouble: trouble(name, reason, &format!("key {STATE_KEY}: {error}; {mend}")) }
        });
        let cluster = self.tools.cluster.clone();
        let home =
            cluster.zip(object.uid.clone()).map(|(cluster, uid)| Home { cluster, uid, ..Home::default() });
        let version = object.version.to_string();
        self.state = Some(object);
        Ok(Found { document, version, home })
    }

    /// The sentence for a store that did not do what was asked.
    pub(super) fn store_trouble(&self, name: &ObjectName, error: &StoreError) -> Trouble {
        match error {
            StoreError::NoIdentity(trouble) => trouble.clone(),
            StoreError::Forbidden { .. } => {
                let mend = self.tools.store.wallet().map_or_else(
                    || Reason::StoreForbidden.sentence().to_owned(),
                    |wallet| {
                        let credential = wallet.credential();
                        let rights = rights::secrets(credential, &self.shelf.secret, &self.state_name);
                        format!("ServiceAccount {credential} lacks the right; run: {rights}")
                    },
                );
                trouble(name, Reason::StoreForbidden, &format!("{error}; {mend}"))
            }
            StoreError::Malformed(_) | StoreError::Unacceptable => {
                let state = name.name.ends_with(STATE_SUFFIX);
                let reason = if state { Reason::StateInvalid } else { Reason::GrantInvalid };
                trouble(name, reason, &error.to_string())
            }
            StoreError::NotFound => trouble(name, Reason::StateMissing, Reason::StateMissing.sentence()),
            StoreError::Conflict | StoreError::Unavailable(_) => {
                trouble(name, Reason::StoreUnavailable, &error.to_string())
            }
        }
    }

    /// Logs what is odd about the settings, once.
    fn notice(&mut self, login: &Login, document: &Document) {
        let settings = format!("{} {}", login.token_fp, login.config_fp);
        if self.noticed == settings {
            return;
        }
        self.noticed = settings;
        let secret = &self.shelf.secret;
        if is_stale(document, login) {
            tracing::warn!(grant = %secret, "{}", Reason::StaleSeed.sentence());
        }
        if !login.grant.unknown_scopes.is_empty() {
            let scopes = login.grant.unknown_scopes.join(" ");
            tracing::warn!(grant = %secret, scopes, "scopes that this version does not know; check their spelling");
        }
    }
}

fn trouble(name: &ObjectName, reason: Reason, problem: &str) -> Trouble {
    Trouble { reason, message: format!("Secret {name}: {problem}") }
}
