//! Client secrets, and the token endpoints that accepted them. A client secret that one endpoint accepted is sent to no other: an
//! account that may write the grant Secret, and not read it, must not be able to steer the secret to a server of its choice. The
//! list is not part of a login, so a new login does not erase it.

use super::document::{Client, Document, MAX_CLIENTS};
use super::login::{Asked, Login};

/// Records that the endpoint of a request accepted its client secret.
pub fn accept(clients: &mut Vec<Client>, asked: &Asked) {
    if let Some(secret_fp) = &asked.secret_fp {
        add(clients, secret_fp, &asked.endpoint_fp);
    }
}

/// Whether another endpoint than that of the login accepted its client secret.
pub fn is_bound_elsewhere(clients: &[Client], login: &Login) -> bool {
    let of_this = || clients.iter().filter(|client| Some(&client.secret_fp) == login.secret_fp.as_ref());
    of_this().next().is_some() && !of_this().any(|client| client.endpoint_fp == login.endpoint_fp)
}

/// Adds the entries of another list.
pub fn merge(clients: &mut Vec<Client>, others: &[Client]) {
    for other in others {
        add(clients, &other.secret_fp, &other.endpoint_fp);
    }
}

/// Returns the document with the client secret of the login recorded, where its access token shows that the endpoint accepted the
/// secret and the list does not say so: a version without the list wrote the document.
pub fn recorded(document: &Document, login: &Login) -> Option<Document> {
    let accepted = document.seed.as_ref().is_some_and(|seed| seed.proven && seed.binding == login.binding)
        && document.access.as_ref().is_some_and(|access| access.config_fp == login.config_fp);
    let mut next = document.clone();
    accept(&mut next.clients, &login.asked());
    (accepted && next.clients != document.clients).then_some(next)
}

/// The oldest entry is dropped where there are too many.
fn add(clients: &mut Vec<Client>, secret_fp: &str, endpoint_fp: &str) {
    if clients.iter().any(|client| client.secret_fp == secret_fp && client.endpoint_fp == endpoint_fp) {
        return;
    }
    let (secret_fp, endpoint_fp) = (secret_fp.to_owned(), endpoint_fp.to_owned());
    clients.push(Client { secret_fp, endpoint_fp, ..Client::default() });
    let excess = clients.len().saturating_sub(MAX_CLIENTS);
    clients.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{living, login, login_with};

    fn accepted(login: &Login) -> Vec<Client> {
        let mut clients = Vec::new();
        accept(&mut clients, &login.asked());
        clients
    }

    #[test]
    fn a_secret_stays_where_it_was_accepted() {
        let here = login("r1");
        let clients = accepted(&here);
        assert_eq!(clients.len(), 1);
        assert!(!is_bound_elsewhere(&[], &here) && !is_bound_elsewhere(&clients, &here));
        let there = login_with("n1", "token_url: https://other.example.com/token");
        assert!(is_bound_elsewhere(&clients, &there), "another refresh token changes nothing");
        let path = login_with("n1", "token_url: https://id.example.com/other");
        assert!(is_bound_elsewhere(&clients, &path), "another path may be another tenant");
        let public = Login { secret_fp: None, ..there };
        assert!(!is_bound_elsewhere(&clients, &public), "a public client sends none");
    }

    #[test]
    fn the_list_is_bounded_and_has_each_pair_once() {
        let mut clients = accepted(&login("r1"));
        accept(&mut clients, &login("n1").asked());
        assert_eq!(clients.len(), 1);
        for n in 0..MAX_CLIENTS {
            let asked = Asked { secret_fp: Some(n.to_string()), ..login("r1").asked() };
            accept(&mut clients, &asked);
        }
        assert_eq!((clients.len(), clients[0].secret_fp.as_str()), (MAX_CLIENTS, "0"));
        let mut other = accepted(&login("r1"));
        merge(&mut other, &clients[..2]);
        merge(&mut other, &clients[..2]);
        assert_eq!(other.len(), 3);
    }

    #[test]
    fn a_document_of_the_version_before_gets_what_its_access_token_shows() {
        let login = login("r1");
        let document = Document { clients: Vec::new(), ..living(&login, "r4") };
        let next = recorded(&document, &login).expect("a record");
        assert_eq!(next.clients, accepted(&login));
        assert!(recorded(&next, &login).is_none());
        let other_secret = Login { config_fp: "another".to_owned(), ..login.clone() };
        assert!(recorded(&document, &other_secret).is_none(), "perhaps not yet accepted");
        let moved = login_with("r1", "token_url: https://other.example.com/token");
        assert!(recorded(&document, &moved).is_none());
    }
}
