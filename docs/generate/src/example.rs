//! One grant as an example, to show what the code does with it: a login at a provider `oauth2`, and a state document in the
//! middle of an access token's life.

use agent_creds_core::grant::Grant;
use agent_creds_refresh::document::Document;
use agent_creds_refresh::login::Login;
use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// The time of the example; any would do.
pub(crate) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000)
}

/// A login, as a person wrote it into the grant Secret. It asks for the scope `read`.
pub(crate) fn login() -> anyhow::Result<Login> {
    let data = [
        ("client_id", "example"),
        ("client_secret", "example"),
        ("refresh_token", "first"),
        ("grant.yaml", "token_url: https://id.example.com/token\nscopes: [read]"),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into();
    Ok(Login::new(Grant::read(Some("oauth2"), &data).context("the example's grant")?))
}

/// The state of this login: an access token that is valid for ten more minutes, and a claim on the head.
pub(crate) fn document(login: &Login) -> anyhow::Result<Document> {
    let at = |seconds: i64| (now() + SignedDuration::from_secs(seconds)).to_string();
    let document = json!({
        "v": 1,
        "seed": {"seq": 1, "token_fp": login.token_fp, "binding": login.binding, "adopted_at": at(-7200), "proven": true},
        "gen": 3,
        "refresh": {"token": "fourth", "fp": "fp-of-fourth", "obtained_at": at(-3000), "presented": "never"},
        "access": {
            "token": "access", "fp": "fp-of-access", "issued_at": at(-3000), "expires_at": at(600), "lifetime_s": 3600,
            "scopes": ["read"], "config_fp": login.config_fp,
        },
        "claim": {
            "id": "claim", "holder": "pod/1", "parent_fp": "fp-of-fourth", "purpose": "refresh", "claimed_at": at(-1),
            "term_s": 60,
        },
        "reauth_at": {"at": at(86_400), "basis": "issued_at"},
    });
    Document::parse(Some(document.to_string().as_bytes())).context("the example's state document")
}
