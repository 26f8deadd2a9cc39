//! Reconciles certificates and their CAs: reads all inputs of the CA rotation and carries out the step that is due.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use super::api::ApiError;
use super::ca_bundle_targets::CaBundleTargets;
use super::candidate::{Candidate, Reconciled};
use super::objects::{self, CERTIFICATES, SERVICE};
use crate::rotation::ca_rotation::{View, next};
use crate::rotation::certificate_set::CertificateSet;
use crate::rotation::stable_since::StableSince;
use crate::rotation::step::Step;
use crate::rotation::{ASK, Certificate, DONE, Pair};
use agent_creds_runtime::random;

/// For how long the inputs have been unchanged.
#[derive(Default)]
pub(super) struct Memory(StableSince<Vec<String>>);

impl Memory {
    pub(super) fn forget(&mut self) {
        self.0.forget();
    }
}

/// Returns the DNS names of our servers in `namespace`, as the API server and sidecars use them.
pub fn names(namespace: &str) -> BTreeSet<String> {
    let ends = ["svc", "svc.cluster.local"];
    let servers = [SERVICE, "agent-creds-identity"];
    servers.iter().flat_map(|server| ends.map(|end| format!("{server}.{namespace}.{end}"))).collect()
}

/// Reads, decides, and writes at most one object.
pub(super) async fn reconcile(candidate: &Candidate, memory: &mut Memory) -> Result<Reconciled, ApiError> {
    let targets = CaBundleTargets::read(candidate).await?;
    let Some(names) = candidate.duties.names.clone() else {
        // Another party issues the certificate; the metric still tells whether it is trusted.
        let wanted = Certificate::parse(targets.published().as_bytes());
        candidate.metrics.ca_bundle_mismatch(targets.mismatch(&wanted));
        return Ok(Reconciled::Done);
    };
    let path = objects::path(&candidate.duties, "secrets", CERTIFICATES);
    let Some((mut secret, date)) = objects::read(&candidate.api, &path).await? else {
        return Err(ApiError::NotFound(path));
    };
    // API servers judge certificates by their own clock.
    let now = date.unwrap_or_else(wall);
    let mut data = secret.secret();
    let set = CertificateSet::read(&data);
    let bundle = set.bundle();
    let signing: Vec<_> = set.signing.iter().map(|pair| pair.certificate.clone()).collect();
    candidate.metrics.ca_bundle_mismatch(targets.mismatch(&signing));
    candidate.metrics.certificates_end(&set);

    let mut annotations = secret.annotations();
    let versions = targets.versions().chain([secret.version()]).collect();
    let view = View {
        set: &set,
        names: &names,
        published: bundle.is_empty() || targets.trust(&bundle),
        asked: annotations.contains_key(ASK) && annotations.get(ASK) != annotations.get(DONE),
        stable_for: memory.0.observe(versions, candidate.now()),
    };
    let timing = candidate.duties.timing;
    let step = next(&view, now, &timing);
    if step == Step::Rest {
        return Ok(Reconciled::Done);
    }
    let after = set.after(step, &names, &random::hex::<8>(), now, &timing)?;
    candidate.may_write()?;
    if step == Step::Publish {
        targets.publish(candidate, &bundle).await?;
        tracing::info!("trusted CAs published");
        return Ok(Reconciled::Again);
    }
    after.write(&mut data);
    secret.set_secret(&data);
    if step == Step::Promote
        && let Some(asked) = annotations.get(ASK).cloned()
    {
        annotations.insert(DONE.to_owned(), asked);
        secret.annotate(&annotations);
    }
    candidate.api.put(&path, &secret.0).await?;
    let (reason, note) = event(step, &after);
    candidate.record(&secret, reason, &note).await;
    Ok(Reconciled::Again)
}

fn event(step: Step, after: &CertificateSet) -> (&'static str, String) {
    let name =
        |pair: &Option<Pair>| pair.as_ref().map(|pair| pair.certificate.name.clone()).unwrap_or_default();
    let (signing, next) = (name(&after.signing), name(&after.next));
    match step {
        Step::Announce => {
            ("CaAnnounced", format!("{next} will sign once it has been trusted everywhere for a while"))
        }
        Step::Promote if after.retired.is_empty() => ("CaRotated", format!("{signing} signs")),
        Step::Promote => ("CaRotated", format!("{signing} signs; the replaced CA stays trusted for a while")),
        Step::Forget => ("CaRetired", format!("only {signing} is trusted")),
        Step::Renew => ("CertificateRenewed", format!("a serving certificate signed by {signing}")),
        Step::Rest | Step::Publish => ("", String::new()),
    }
}

fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
