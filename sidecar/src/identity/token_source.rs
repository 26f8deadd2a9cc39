//! The token of the credential ServiceAccount, in memory alone: the renewer replaces it, requests to the API server use it. It is
//! never printed and never written to a file.

use std::sync::Arc;

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use super::condition::{Failure, Parties};
use agent_creds_core::names::ObjectName;
use agent_creds_refresh::condition::Condition;

/// How long before its end a token is no longer used: a request takes time to arrive.
const MARGIN: SignedDuration = SignedDuration::from_secs(2);

/// The current token. Cloning shares it.
#[derive(Clone, Debug)]
pub struct TokenSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    credential: ObjectName,
    standing: watch::Sender<Standing>,
    /// Number of the last token that the API server rejected.
    rejected: watch::Sender<u64>,
}

/// The current token and the last failure to renew it.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    held: Option<Held>,
    /// Why the last request brought no token.
    condition: Option<Condition>,
}

#[derive(Clone, Debug)]
struct Held {
    bearer: Bearer,
    expires_at: Timestamp,
}

/// A token for one request, marked as sensitive.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The header `Authorization`.
    pub header: HeaderValue,
    /// Number of the token, counted from the start of the process.
    pub number: u64,
}

impl TokenSource {
    /// A source without a token yet, for tokens of this ServiceAccount.
    pub fn new(credential: ObjectName) -> Self {
        let (standing, rejected) = (watch::Sender::default(), watch::Sender::default());
        Self(Arc::new(Inner { credential, standing, rejected }))
    }

    /// The ServiceAccount.
    pub fn credential(&self) -> &ObjectName {
        &self.0.credential
    }

    /// Replaces the token.
    pub fn put(&self, header: HeaderValue, expires_at: Timestamp) {
        self.0.standing.send_modify(|standing| {
            let number = standing.held.as_ref().map_or(0, |held| held.bearer.number) + 1;
            let held = Held { bearer: Bearer { header, number }, expires_at };
            *standing = Standing { held: Some(held), condition: None };
        });
    }

    /// Records why a request brought no token. The current token is used until its end.
    pub fn miss(&self, condition: Condition) {
        self.0.standing.send_modify(|standing| standing.condition = Some(condition));
    }

    /// Returns a token for a request that is made now, or why there is none. Waits for the first answer of the identity server.
    pub async fn bearer(&self, now: impl Fn() -> Timestamp) -> Result<Bearer, Condition> {
        let mut standing = self.0.standing.subscribe();
        let tried = |standing: &Standing| standing.held.is_some() || standing.condition.is_some();
        // The sender lives as long as this source.
        let _ = standing.wait_for(tried).await;
        let standing = self.0.standing.borrow();
        match &standing.held {
            Some(held) if now() + MARGIN < held.expires_at => Ok(held.bearer.clone()),
            _ => Err(standing.condition.clone().unwrap_or_else(|| self.failed(&Failure::Ended))),
        }
    }

    /// Whether the token is valid until `then`, or why it will not be renewed.
    pub fn lasts(&self, then: Timestamp) -> Result<(), Condition> {
        let standing = self.0.standing.borrow();
        let lasts = standing.held.as_ref().is_some_and(|held| then < held.expires_at);
        if lasts {
            Ok(())
        } else {
            Err(standing.condition.clone().unwrap_or_else(|| self.failed(&Failure::Ended)))
        }
    }

    /// The condition that a person has to correct, also while the current token is valid.
    pub fn objection(&self) -> Option<Condition> {
        self.0.standing.borrow().condition.clone().filter(|condition| !condition.reason.is_outage())
    }

    /// Reports each renewal and each failure from now on.
    pub fn changes(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Records that the API server rejected the token with this number.
    pub fn reject(&self, number: u64) -> Condition {
        if self.holds(number) {
            self.0.rejected.send_if_modified(|last| std::mem::replace(last, number) != number);
        }
        self.failed(&Failure::Rejected)
    }

    /// Whether the token with this number is the current one.
    pub fn holds(&self, number: u64) -> bool {
        self.0.standing.borrow().held.as_ref().is_some_and(|held| held.bearer.number == number)
    }

    /// The condition while the first answer takes long.
    pub fn late(&self) -> Condition {
        self.failed(&Failure::Unanswered)
    }

    /// Reports tokens that the API server rejected.
    pub fn rejections(&self) -> watch::Receiver<u64> {
        self.0.rejected.subscribe()
    }

    fn failed(&self, failure: &Failure) -> Condition {
        let credential = self.0.credential.clone();
        Parties { agent: None, credential, release: String::new() }.failed(failure)
    }
}

impl Collector for TokenSource {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help =
            "Unix time at which the token ends that the Secrets are read with, in identity mode exchange.";
        let name = "identity_expiry_timestamp_seconds";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let end = self.0.standing.borrow().held.as_ref().map(|held| held.expires_at.as_second());
        end.map_or(Ok(()), |end| ConstGauge::new(end).encode(metric))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::condition::IdentityReason;

    const TOKEN: &str = "Bearer eyJhbGciOi";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn token_source() -> TokenSource {
        TokenSource::new(ObjectName { namespace: "vault".to_owned(), name: "creds".to_owned() })
    }

    fn header() -> HeaderValue {
        let mut header = HeaderValue::from_static(TOKEN);
        header.set_sensitive(true);
        header
    }

    fn condition(reason: IdentityReason) -> Condition {
        Condition { reason: reason.into(), message: "ServiceAccount vault/creds: x".to_owned() }
    }

    #[tokio::test]
    async fn a_token_is_used_until_shortly_before_its_end() {
        let tokens = token_source();
        tokens.put(header(), at(100));
        assert_eq!(tokens.bearer(|| at(97)).await.unwrap().header, TOKEN);
        tokens.miss(condition(IdentityReason::IdentityUnavailable));
        assert_eq!(tokens.bearer(|| at(97)).await.unwrap().number, 1, "while it lives an outage is none");
        let ended = tokens.bearer(|| at(98)).await.unwrap_err();
        assert_eq!(ended, condition(IdentityReason::IdentityUnavailable));
        tokens.put(header(), at(200));
        assert_eq!(tokens.bearer(|| at(98)).await.unwrap().number, 2);
    }

    #[tokio::test]
    async fn a_token_that_has_ended_is_not_used() {
        let tokens = token_source();
        tokens.put(header(), at(100));
        assert_eq!(
            tokens.bearer(|| at(5000)).await.unwrap_err().reason,
            IdentityReason::IdentityUnavailable.into()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_waits_for_the_first_answer() {
        let tokens = token_source();
        let mut waiting = tokio::spawn({
            let tokens = tokens.clone();
            async move { tokens.bearer(|| at(0)).await }
        });
        let hour = std::time::Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, &mut waiting).await.is_err());
        tokens.miss(condition(IdentityReason::AssumeMissing));
        assert_eq!(waiting.await.unwrap().unwrap_err().reason, IdentityReason::AssumeMissing.into());
    }

    #[test]
    fn a_claim_needs_a_token_that_lasts() {
        let tokens = token_source();
        assert!(tokens.lasts(at(0)).is_err());
        tokens.put(header(), at(100));
        assert_eq!(tokens.lasts(at(99)), Ok(()));
        assert_eq!(tokens.lasts(at(100)).unwrap_err().reason, IdentityReason::IdentityUnavailable.into());
    }

    #[test]
    fn a_refusal_is_reported_at_once_and_an_outage_once_it_matters() {
        let tokens = token_source();
        tokens.put(header(), at(100));
        tokens.miss(condition(IdentityReason::IdentityUnavailable));
        assert_eq!(tokens.objection(), None);
        tokens.miss(condition(IdentityReason::AssumeMissing));
        assert_eq!(tokens.objection(), Some(condition(IdentityReason::AssumeMissing)));
        tokens.put(header(), at(200));
        assert_eq!(tokens.objection(), None);
    }

    #[test]
    fn a_rejection_is_reported_once_and_only_for_the_current_token() {
        let tokens = token_source();
        let mut rejections = tokens.rejections();
        tokens.put(header(), at(100));
        tokens.put(header(), at(200));
        tokens.reject(1);
        assert!(!rejections.has_changed().unwrap());
        tokens.reject(2);
        assert!(rejections.has_changed().unwrap());
        rejections.mark_unchanged();
        tokens.reject(2);
        assert!(!rejections.has_changed().unwrap());
    }

    #[test]
    fn never_prints_a_token() {
        let tokens = token_source();
        tokens.put(header(), at(100));
        assert!(!format!("{tokens:?}").contains("eyJ"));
    }
}
