//! Fingerprints compare and name tokens, logins and configurations without showing them: SHA-256 in hex. The secrets have
//! enough entropy of their own; fingerprints stay in the state Secret, beside the tokens.

use agent_creds_core::grant::Grant;
use aws_lc_rs::digest::{Context, SHA256, digest};
use secrecy::ExposeSecret;

use super::document::Token;

/// SHA-256 of one token, in hex.
pub fn of_token(token: &Token) -> String {
    hash(&[token.expose()])
}

/// Fingerprint of what a redemption of this grant presents: the refresh token, or the client's credentials where the flow has
/// no refresh token. A new value is a new login.
pub fn of_login(grant: &Grant) -> String {
    match (&grant.refresh_token, &grant.client_secret) {
        (Some(token), _) => hash(&[token.expose_secret()]),
        (None, Some(secret)) => hash(&[&grant.client_id, secret.expose_secret()]),
        (None, None) => hash(&[&grant.client_id]),
    }
}

/// Fingerprint of provider, token endpoint and client, to which a lineage is bound. A token of another binding is never
/// presented: an account that may write the grant Secret must not be able to steer a live token to a server of its choice.
pub fn of_binding(grant: &Grant) -> String {
    hash(&[&grant.provider.name, grant.token_url.as_str(), &grant.client_id])
}

/// Fingerprint of the client secret; `None` for a public client.
pub fn of_secret(grant: &Grant) -> Option<String> {
    grant.client_secret.as_ref().map(|secret| hash(&[secret.expose_secret()]))
}

/// Fingerprint of provider and token endpoint, to which a client secret is bound once it was accepted there.
pub fn of_endpoint(grant: &Grant) -> String {
    hash(&[&grant.provider.name, grant.token_url.as_str()])
}

/// Fingerprint of everything else that a token depends on. A change clears backoff and verdict and causes a refresh.
pub fn of_config(grant: &Grant) -> String {
    let secret = grant.client_secret.as_ref().map_or("", ExposeSecret::expose_secret);
    let parameter = grant.scope_parameter.as_deref().unwrap_or_default();
    let auth = format!("{:?} {}", grant.client_auth, grant.allow_private);
    hash(&[secret, parameter, &grant.scopes.join(" "), grant.flow.as_str(), &auth])
}

/// Fingerprint of the cluster that a state belongs to: of the keys of its API server's CA (SubjectPublicKeyInfo in DER).
pub fn of_cluster(keys: &[Vec<u8>]) -> String {
    let mut keys: Vec<_> = keys.iter().map(|key| hex(digest(&SHA256, key).as_ref())).collect();
    keys.sort_unstable();
    hash(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Parts are separated by a byte that none of them can hold.
fn hash(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            context.update(&[0]);
        }
        context.update(part.as_bytes());
    }
    hex(context.finish().as_ref())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sha256_in_hex() {
        let token = Token::from("abc".to_owned());
        assert_eq!(of_token(&token), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a", ""]), hash(&["a"]));
    }
}
