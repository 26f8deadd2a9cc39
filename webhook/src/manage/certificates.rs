//! Looks at everything that succession is decided on, and carries out the one step that is due.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use super::api::ApiError;
use super::objects::{self, CERTIFICATES, SERVICE};
use super::places::Places;
use super::{Look, Manager};
use crate::authority::holdings::Holdings;
use crate::authority::settled::Settled;
use crate::authority::step::Step;
use crate::authority::succession::{View, next};
use crate::authority::{ASK, Certificate, DONE, Pair};
use crate::random;

/// How long things have been as they are.
#[derive(Default)]
pub(super) struct Memory(Settled<Vec<String>>);

impl Memory {
    pub(super) fn forget(&mut self) {
        self.0.forget();
    }
}

/// DNS names of our servers in `namespace`, as the API server and sidecars call them.
pub fn names(namespace: &str) -> BTreeSet<String> {
    let ends = ["svc", "svc.cluster.local"];
    let servers = [SERVICE, "agent-creds-identity"];
    servers.iter().flat_map(|server| ends.map(|end| format!("{server}.{namespace}.{end}"))).collect()
}

/// Looks, decides, and does one thing at most.
pub(super) async fn look(manager: &mut Manager) -> Result<Look, ApiError> {
    let places = Places::read(manager).await?;
    let Some(names) = manager.duties.names.clone() else {
        // The certificate is somebody else's; whether it is trusted is still worth telling.
        let wanted = Certificate::parse(places.published().as_bytes());
        manager.metrics.ca_bundle_mismatch(places.mismatch(&wanted));
        return Ok(Look::Done);
    };
    let path = objects::path(&manager.duties, "secrets", CERTIFICATES);
    let Some((mut secret, date)) = objects::read(&manager.api, &path).await? else {
        return Err(ApiError::NotFound(path));
    };
    // Certificates are judged by the clocks of API servers; this is one.
    let now = date.unwrap_or_else(wall);
    let mut data = secret.secret();
    let holdings = Holdings::read(&data);
    let bundle = holdings.bundle();
    let signing: Vec<_> = holdings.signing.iter().map(|pair| pair.certificate.clone()).collect();
    manager.metrics.ca_bundle_mismatch(places.mismatch(&signing));
    manager.metrics.certificates_end(&holdings);

    let mut annotations = secret.annotations();
    let versions = places.versions().chain([secret.version()]).collect();
    let view = View {
        holdings: &holdings,
        names: &names,
        published: bundle.is_empty() || places.trust(&bundle),
        asked: annotations.contains_key(ASK) && annotations.get(ASK) != annotations.get(DONE),
        settled: manager.certificates.0.seen(versions, manager.now()),
    };
    let timing = manager.duties.timing;
    let step = next(&view, now, &timing);
    if step == Step::Rest {
        return Ok(Look::Done);
    }
    let after = holdings.after(step, &names, &random::tag(), now, &timing)?;
    manager.may_write()?;
    if step == Step::Publish {
        places.publish(manager, &bundle).await?;
        tracing::info!("whom to trust was brought up to date");
        return Ok(Look::Again);
    }
    after.write(&mut data);
    secret.set_secret(&data);
    if step == Step::Promote
        && let Some(asked) = annotations.get(ASK).cloned()
    {
        annotations.insert(DONE.to_owned(), asked);
        secret.annotate(&annotations);
    }
    manager.api.put(&path, &secret.0).await?;
    let (reason, note) = news(step, &after);
    manager.tell(&secret, reason, &note).await;
    Ok(Look::Again)
}

fn news(step: Step, after: &Holdings) -> (&'static str, String) {
    let name =
        |pair: &Option<Pair>| pair.as_ref().map(|pair| pair.certificate.name.clone()).unwrap_or_default();
    let (signing, next) = (name(&after.signing), name(&after.next));
    match step {
        Step::Announce => {
            ("CaAnnounced", format!("{next} signs once it has been trusted everywhere for a while"))
        }
        Step::Promote if after.retired.is_empty() => ("CaRotated", format!("{signing} signs")),
        Step::Promote => ("CaRotated", format!("{signing} signs; the CA before it is trusted for a while")),
        Step::Forget => ("CaRetired", format!("only {signing} is trusted")),
        Step::Renew => ("CertificateRenewed", format!("a serving certificate signed by {signing}")),
        Step::Rest | Step::Publish => ("", String::new()),
    }
}

fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
