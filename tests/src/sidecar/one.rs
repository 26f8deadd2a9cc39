//! A provider with one client, a login there, and its grant Secret, for tests with one agent. Client and Secret are
//! called `one`.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::Secrets;
use crate::standin::{Client, ClientAuth, Config, Provider, Standin};

const CLIENT_SECRET: &str = "s3cr+t-of-the-client";

/// Starts the provider. `token_life` is the lifetime of access tokens in seconds; `None` is the usual one.
///
/// # Panics
/// If it does not start.
pub async fn provider(token_life: Option<u64>) -> Standin {
    let client = Client::generic("one", Some(CLIENT_SECRET), ClientAuth::Basic, &["read"]);
    let config = Config { clients: vec![client], token_life, ..Config::default() };
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Standin::start(listen, config).await.expect("starting the stand-in")
}

/// Returns a new login as a grant Secret in a namespace, and registers its credentials for the leak check.
pub fn grant_secret(provider: &Standin, namespace: &str, secrets: &Secrets) -> Value {
    let login = provider.seed(Provider::Generic, "one");
    secrets.guard(CLIENT_SECRET);
    secrets.guard(&login);
    let file = format!("token_url: {}\nallow_private: true\n", provider.token_url(Provider::Generic));
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "one", "namespace": namespace, "labels": {"agent-creds/provider": "oauth2"}},
        "stringData": {
            "client_id": "one", "client_secret": CLIENT_SECRET, "refresh_token": login, "grant.yaml": file,
        },
    })
}
