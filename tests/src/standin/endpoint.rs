//! The token endpoint without network: it takes a request, returns a reply, and writes a log entry.
//!
//! All decisions are behind one lock, so simultaneous requests are processed one after the other, as in a provider's
//! database.

use super::answer::{Granted, Reply};
use super::authenticate::authenticate;
use super::families::{Families, FamilyId, Owner, Worthless};
use super::fault::{Fault, Faults};
use super::form::Form;
use super::mint::{Kind, token};
use super::refusal::Refusal;
use super::request::Asked;
use super::{Client, Provider};
use crate::event::{Event, Presentation, fingerprint};

/// The state of a stand-in.
#[derive(Default)]
pub(super) struct Endpoint {
    pub(super) clients: Vec<Client>,
    pub(super) families: Families,
    pub(super) faults: Faults,
    pub(super) log: Vec<Event>,
    /// Lifetime of access tokens in seconds, if not the provider's own.
    pub(super) life: Option<u64>,
    /// Offset of its clock from the wall clock, in milliseconds.
    pub(super) ahead_ms: u64,
}

impl Endpoint {
    /// Answers a request that arrived at `wall_ms`.
    pub(super) fn answer(&mut self, asked: &Asked, wall_ms: u64) -> Reply {
        let mut seen = Presentation {
            at_ms: wall_ms,
            peer: asked.peer,
            host: asked.host().to_owned(),
            path: asked.uri.path().to_owned(),
            ..Presentation::default()
        };
        let mut fault = None;
        let result = self.consider(asked, wall_ms, &mut seen, &mut fault);
        match &result {
            Ok(granted) => {
                "granted".clone_into(&mut seen.outcome);
                seen.child_sha256 = granted.refresh_token.as_deref().map(fingerprint);
            }
            Err(refusal) => {
                refusal.error.clone_into(&mut seen.outcome);
                seen.reason = Some(refusal.reason.clone());
            }
        }
        seen.fault = fault.as_ref().map(Fault::name);
        self.log.push(Event::Presented(Box::new(seen)));
        Reply::to(&result, fault.as_ref())
    }

    fn consider(
        &mut self,
        asked: &Asked,
        wall_ms: u64,
        seen: &mut Presentation,
        spoilt: &mut Option<Fault>,
    ) -> Result<Granted, Refusal> {
        let provider = asked.provider()?;
        let form = asked.form();
        if let Ok(form) = &form {
            self.note(asked, form, seen);
        }
        *spoilt = self.faults.take(seen.client_id.as_deref());
        if spoilt.as_ref().is_some_and(|fault| !fault.processes()) {
            return Err(Refusal::unprocessed());
        }
        let form = form?;
        let client = authenticate(&self.clients, provider, asked, &form)?.clone();
        let rotates = spoilt.as_ref().is_none_or(Fault::rotates);
        match form.get("grant_type") {
            None => Err(Refusal::invalid_request("no grant_type")),
            Some("refresh_token") => self.refresh(&client, &form, wall_ms, rotates),
            Some("client_credentials") if !matches!(provider, Provider::Datadog(_)) => {
                self.client_credentials(&client, &form, wall_ms)
            }
            Some(other) => Err(Refusal::unsupported_grant_type(format!("grant_type {other:?}"))),
        }
    }

    /// Records the client and the token before the request is checked.
    fn note(&self, asked: &Asked, form: &Form, seen: &mut Presentation) {
        let by_header = || asked.basic().ok().flatten().map(|(id, _)| id);
        seen.client_id = form.get("client_id").map(str::to_owned).or_else(by_header);
        seen.grant_type = form.get("grant_type").map(str::to_owned);
        seen.token_sha256 = form.get("refresh_token").map(fingerprint);
        let family = form.get("refresh_token").and_then(|token| self.families.of(token));
        seen.family = family.map(|family| family.to_string());
    }

    fn refresh(
        &mut self,
        client: &Client,
        form: &Form,
        wall_ms: u64,
        rotates: bool,
    ) -> Result<Granted, Refusal> {
        let parent = form.get("refresh_token").ok_or_else(|| Refusal::invalid_request("no refresh_token"))?;
        let owner = Owner { provider: client.provider, client_id: client.id.clone() };
        let family = match self.families.present(&owner, parent) {
            Ok(family) => family,
            Err(worthless) => return Err(self.worthless(worthless, parent, wall_ms)),
        };
        let granted = self.families.scopes(family);
        let scope = match (client.provider, form.get("scope")) {
            (Provider::PagerDuty, _) => pagerduty_scope(client, granted),
            (_, None) => granted.join(" "),
            (_, Some(asked)) => narrowed(asked, granted)?,
        };
        let child = token(client.provider, Kind::Refresh);
        if rotates {
            self.families.rotate(family, parent, Some(&child));
        }
        Ok(self.grant(client, Some(family), Some(child), scope, wall_ms))
    }

    fn client_credentials(&mut self, client: &Client, form: &Form, wall_ms: u64) -> Result<Granted, Refusal> {
        if client.secret.is_none() {
            return Err(Refusal::unauthorized_client("client credentials of a public client"));
        }
        let asked = form.get("scope");
        let scope = if client.provider == Provider::PagerDuty {
            let asked = asked.ok_or_else(|| Refusal::pagerduty_scope("no scope"))?;
            let accounts = asked.split(' ').filter(|scope| scope.starts_with("as_account-")).count();
            if accounts != 1 || asked.split(' ').count() < 2 {
                return Err(Refusal::pagerduty_scope(
                    "expected one as_account-REGION.SUBDOMAIN and at least one other scope",
                ));
            }
            narrowed(asked, &client.scopes).map_err(|refusal| Refusal::pagerduty_scope(refusal.reason))?
        } else {
            asked.map_or_else(|| Ok(client.scopes.join(" ")), |asked| narrowed(asked, &client.scopes))?
        };
        Ok(self.grant(client, None, None, scope, wall_ms))
    }

    fn grant(
        &mut self,
        client: &Client,
        family: Option<FamilyId>,
        refresh_token: Option<String>,
        scope: String,
        wall_ms: u64,
    ) -> Granted {
        let provider = client.provider;
        let life = self.life.unwrap_or_else(|| provider.token_life());
        let access_token = token(provider, Kind::Access);
        self.families.issue(family, &access_token, wall_ms + self.ahead_ms + life * 1_000);
        Granted { provider, access_token, refresh_token, scope, life }
    }

    fn worthless(&mut self, worthless: Worthless, presented: &str, wall_ms: u64) -> Refusal {
        Refusal::invalid_grant(match worthless {
            Worthless::Unknown if self.families.of(&presented.replace(' ', "+")).is_some() => {
                "the + of the refresh token was not encoded, so it means a space"
            }
            Worthless::Unknown => "the refresh token is unknown",
            Worthless::OfAnotherClient => "the refresh token is another client's",
            Worthless::Revoked => "the family of the refresh token is revoked",
            Worthless::Reused => {
                if let Some(family) = self.families.of(presented) {
                    self.log.push(Event::Revoked { at_ms: wall_ms, family: family.to_string() });
                }
                "the refresh token was used before: its family is revoked now"
            }
        })
    }

    /// Creates a login of a client and returns the first refresh token of its family.
    pub(super) fn seed(
        &mut self,
        provider: Provider,
        client_id: &str,
        scopes: Option<&str>,
    ) -> Result<String, String> {
        let client = self.clients.iter().find(|client| client.provider == provider && client.id == client_id);
        let client = client.ok_or_else(|| format!("no client {client_id:?} at {provider}"))?;
        let scopes = match scopes {
            Some(scopes) => scopes.split(' ').map(str::to_owned).collect(),
            // A user cannot grant the account of an app token.
            None => client.scopes.iter().filter(|scope| !scope.starts_with("as_account-")).cloned().collect(),
        };
        let first = token(provider, Kind::Refresh);
        self.families.open(Owner { provider, client_id: client_id.to_owned() }, scopes, &first);
        Ok(first)
    }

    /// Revokes the family of a refresh token, as a person would on the provider's web page.
    pub(super) fn revoke(&mut self, refresh_token: &str, wall_ms: u64) -> bool {
        let family = self.families.of(refresh_token);
        let Some(family) = family.filter(|family| self.families.revoke(*family)) else {
            return false;
        };
        self.log.push(Event::Revoked { at_ms: wall_ms, family: family.to_string() });
        true
    }
}

/// Returns the scopes of a user token at PagerDuty. Every token has `openid`. If the login has a scope that the app
/// does not have, the token has only `openid`, without an error.
fn pagerduty_scope(client: &Client, granted: &[String]) -> String {
    let allowed = granted.iter().all(|scope| client.scopes.contains(scope));
    let rest = granted.iter().filter(|scope| allowed && *scope != "openid").map(String::as_str);
    std::iter::once("openid").chain(rest).collect::<Vec<_>>().join(" ")
}

/// Returns `asked` if it is a subset of `granted` (RFC 6749 §6).
fn narrowed(asked: &str, granted: &[String]) -> Result<String, Refusal> {
    match asked.split(' ').find(|scope| !granted.iter().any(|known| known == scope)) {
        Some(scope) => Err(Refusal::invalid_scope(format!("{scope:?} was not granted"))),
        None => Ok(asked.to_owned()),
    }
}
