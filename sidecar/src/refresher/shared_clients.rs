//! The client secrets of a grant with `sharing: pod`. Its state is local, but which token endpoint accepted its client secret has
//! to outlive the process: it is in the state Secret, where there is one.

use agent_creds_refresh::clients::merge;
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::{Client, Document};
use agent_creds_refresh::login::Login;
use agent_creds_refresh::reason::Reason;

use super::Refresher;
use crate::store::reason::SecretReason;
use crate::store::{Store, StoreError};

impl<S: Store> Refresher<S> {
    /// Takes over the client secrets that the state Secret knows, and adds those that it lacks. Only for a grant with
    /// `sharing: pod`, and only where the two may differ.
    ///
    /// # Errors
    /// Where there is a state Secret that has never been read: nothing may be sent before.
    pub(super) async fn share_clients(&mut self, login: Option<&Login>) -> Result<(), Condition> {
        let per_pod = login.is_some_and(|login| login.grant.per_pod);
        let known = self.location.local.as_ref().map(|local| local.clients().to_vec()).unwrap_or_default();
        if !per_pod || !self.location.is_local || self.location.shared_clients.as_ref() == Some(&known) {
            return Ok(());
        }
        let found = match self.read_state().await {
            Ok(found) => found.document.map_err(|unusable| unusable.condition),
            Err(condition) => Err(condition),
        };
        // A grant that is shared with no other pod needs no state Secret.
        let needless = [SecretReason::StateMissing, SecretReason::StoreForbidden].map(Reason::from);
        let document = match found {
            Ok(document) => Some(document),
            Err(condition) if needless.contains(&condition.reason) => None,
            Err(_) if self.location.shared_clients.is_some() => None,
            Err(condition) => return Err(condition),
        };
        let mut is_shared = true;
        if let Some(document) = document {
            if let Some(local) = &mut self.location.local {
                local.learn(&document.clients);
            }
            is_shared = self.add_clients(document, &known).await != Err(StoreError::Conflict);
        }
        let all = self.location.local.as_ref().map(|local| local.clients().to_vec());
        self.location.shared_clients = all.filter(|_| is_shared);
        Ok(())
    }

    /// Writes client secrets that the state Secret lacks into it.
    async fn add_clients(&mut self, document: Document, clients: &[Client]) -> Result<(), StoreError> {
        let mut next = Document { rev: document.rev + 1, ..document.clone() };
        merge(&mut next.clients, clients);
        let Some(state) = self.state.as_ref().filter(|_| next.clients != document.clients) else {
            return Ok(());
        };
        if !document.may_write() {
            return Ok(());
        }
        match self.tools.store.write(&self.state_name, &state.version, next.to_json()).await {
            Ok(object) => self.state = Some(object),
            Err(error) => {
                tracing::warn!(grant = %self.cache.secret, %error, "client secret not recorded in the state Secret");
                return Err(error);
            }
        }
        Ok(())
    }
}
