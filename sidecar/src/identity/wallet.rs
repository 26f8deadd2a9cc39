//! The token of the credential ServiceAccount, in memory: put in by the renewer, taken out for each request of the API server.
//! It is never printed and never written anywhere.

use std::sync::Arc;

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use super::trouble::{Hitch, Parties};
use crate::grant::status::Trouble;
use crate::object_name::ObjectName;

/// A token is not used any more when it ends so soon: a request takes time to get there.
const MARGIN: SignedDuration = SignedDuration::from_secs(2);

/// Cloning shares it.
#[derive(Clone, Debug)]
pub struct Wallet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    credential: ObjectName,
    standing: watch::Sender<Standing>,
    /// The number of the last token that the API server did not take.
    rejected: watch::Sender<u64>,
}

/// How things stand; for those who wait for a change of it.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    held: Option<Held>,
    /// What became of the last try, where it brought no token.
    trouble: Option<Trouble>,
}

#[derive(Clone, Debug)]
struct Held {
    bearer: Bearer,
    expires_at: Timestamp,
}

/// A token as it goes into a request; it hides itself in every print.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The header `Authorization`.
    pub header: HeaderValue,
    /// Which of the tokens that were ever here.
    pub number: u64,
}

impl Wallet {
    /// An empty one, for tokens of this ServiceAccount.
    pub fn new(credential: ObjectName) -> Self {
        let (standing, rejected) = (watch::Sender::default(), watch::Sender::default());
        Self(Arc::new(Inner { credential, standing, rejected }))
    }

    /// Whose tokens these are.
    pub fn credential(&self) -> &ObjectName {
        &self.0.credential
    }

    /// A token came.
    pub fn put(&self, header: HeaderValue, expires_at: Timestamp) {
        self.0.standing.send_modify(|standing| {
            let number = standing.held.as_ref().map_or(0, |held| held.bearer.number) + 1;
            let held = Held { bearer: Bearer { header, number }, expires_at };
            *standing = Standing { held: Some(held), trouble: None };
        });
    }

    /// None came. The one before is good until its end.
    pub fn miss(&self, trouble: Trouble) {
        self.0.standing.send_modify(|standing| standing.trouble = Some(trouble));
    }

    /// A token for a request that is made now; or why there is none. Who has only just started waits for the first try.
    pub async fn bearer(&self, now: impl Fn() -> Timestamp) -> Result<Bearer, Trouble> {
        let mut standing = self.0.standing.subscribe();
        let tried = |standing: &Standing| standing.held.is_some() || standing.trouble.is_some();
        // The sender lives as long as the wallet.
        let _ = standing.wait_for(tried).await;
        let standing = self.0.standing.borrow();
        match &standing.held {
            Some(held) if now() + MARGIN < held.expires_at => Ok(held.bearer.clone()),
            _ => Err(standing.trouble.clone().unwrap_or_else(|| self.hitch(&Hitch::Ended))),
        }
    }

    /// Whether the token is good until `then`; or why it will not have been replaced by one that is.
    pub fn lasts(&self, then: Timestamp) -> Result<(), Trouble> {
        let standing = self.0.standing.borrow();
        let lasts = standing.held.as_ref().is_some_and(|held| then < held.expires_at);
        if lasts {
            Ok(())
        } else {
            Err(standing.trouble.clone().unwrap_or_else(|| self.hitch(&Hitch::Ended)))
        }
    }

    /// What a person has to mend, also while the token before is still good.
    pub fn objection(&self) -> Option<Trouble> {
        self.0.standing.borrow().trouble.clone().filter(|trouble| !trouble.reason.is_outage())
    }

    /// Tells, from now on, of each try that brought something new.
    pub fn news(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// The API server did not take this token.
    pub fn reject(&self, number: u64) -> Trouble {
        if self.holds(number) {
            self.0.rejected.send_if_modified(|last| std::mem::replace(last, number) != number);
        }
        self.hitch(&Hitch::Rejected)
    }

    /// Whether this token is the one at hand.
    pub fn holds(&self, number: u64) -> bool {
        self.0.standing.borrow().held.as_ref().is_some_and(|held| held.bearer.number == number)
    }

    /// The first try takes long.
    pub fn late(&self) -> Trouble {
        self.hitch(&Hitch::Unanswered)
    }

    /// Tells of tokens that the API server did not take.
    pub fn rejections(&self) -> watch::Receiver<u64> {
        self.0.rejected.subscribe()
    }

    fn hitch(&self, hitch: &Hitch) -> Trouble {
        let credential = self.0.credential.clone();
        Parties { agent: None, credential, release: String::new() }.hitch(hitch)
    }
}

impl Collector for Wallet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let standing = self.0.standing.borrow();
        let Some(held) = &standing.held else { return Ok(()) };
        let gauge = ConstGauge::new(held.expires_at.as_second());
        let help = "End of the token that the Secrets are read with";
        let name = "identity_expiry_timestamp_seconds";
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    const TOKEN: &str = "Bearer eyJhbGciOi";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn wallet() -> Wallet {
        Wallet::new(ObjectName { namespace: "vault".to_owned(), name: "creds".to_owned() })
    }

    fn header() -> HeaderValue {
        let mut header = HeaderValue::from_static(TOKEN);
        header.set_sensitive(true);
        header
    }

    fn trouble(reason: Reason) -> Trouble {
        Trouble { reason, message: "ServiceAccount vault/creds: x".to_owned() }
    }

    #[tokio::test]
    async fn a_token_is_used_until_shortly_before_its_end() {
        let wallet = wallet();
        wallet.put(header(), at(100));
        assert_eq!(wallet.bearer(|| at(97)).await.unwrap().header, TOKEN);
        wallet.miss(trouble(Reason::IdentityUnavailable));
        assert_eq!(wallet.bearer(|| at(97)).await.unwrap().number, 1, "while it lives an outage is none");
        let ended = wallet.bearer(|| at(98)).await.unwrap_err();
        assert_eq!(ended, trouble(Reason::IdentityUnavailable));
        wallet.put(header(), at(200));
        assert_eq!(wallet.bearer(|| at(98)).await.unwrap().number, 2);
    }

    #[tokio::test]
    async fn a_token_that_ended_unnoticed_is_not_used() {
        let wallet = wallet();
        wallet.put(header(), at(100));
        assert_eq!(wallet.bearer(|| at(5000)).await.unwrap_err().reason, Reason::IdentityUnavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn who_starts_waits_for_the_first_try() {
        let wallet = wallet();
        let mut waiting = tokio::spawn({
            let wallet = wallet.clone();
            async move { wallet.bearer(|| at(0)).await }
        });
        let hour = std::time::Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, &mut waiting).await.is_err());
        wallet.miss(trouble(Reason::AssumeMissing));
        assert_eq!(waiting.await.unwrap().unwrap_err().reason, Reason::AssumeMissing);
    }

    #[test]
    fn a_claim_needs_a_token_that_lasts() {
        let wallet = wallet();
        assert!(wallet.lasts(at(0)).is_err());
        wallet.put(header(), at(100));
        assert_eq!(wallet.lasts(at(99)), Ok(()));
        assert_eq!(wallet.lasts(at(100)).unwrap_err().reason, Reason::IdentityUnavailable);
    }

    #[test]
    fn a_refusal_is_told_at_once_and_an_outage_when_it_matters() {
        let wallet = wallet();
        wallet.put(header(), at(100));
        wallet.miss(trouble(Reason::IdentityUnavailable));
        assert_eq!(wallet.objection(), None);
        wallet.miss(trouble(Reason::AssumeMissing));
        assert_eq!(wallet.objection(), Some(trouble(Reason::AssumeMissing)));
        wallet.put(header(), at(200));
        assert_eq!(wallet.objection(), None);
    }

    #[test]
    fn a_rejection_is_told_once_and_only_of_the_token_at_hand() {
        let wallet = wallet();
        let mut rejections = wallet.rejections();
        wallet.put(header(), at(100));
        wallet.put(header(), at(200));
        wallet.reject(1);
        assert!(!rejections.has_changed().unwrap());
        wallet.reject(2);
        assert!(rejections.has_changed().unwrap());
        rejections.mark_unchanged();
        wallet.reject(2);
        assert!(!rejections.has_changed().unwrap());
    }

    #[test]
    fn it_shows_no_token() {
        let wallet = wallet();
        wallet.put(header(), at(100));
        assert!(!format!("{wallet:?}").contains("eyJ"));
    }
}
