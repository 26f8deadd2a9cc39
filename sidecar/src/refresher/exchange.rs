//! The exchange with a token endpoint: connects and sends, as the protocol says, and receives the reply.

use std::time::Duration;

use agent_creds_refresh::document::Token;
use agent_creds_refresh::login::Login;
use agent_creds_refresh::reason::NotSent;
use agent_creds_refresh::replica::Input;
use agent_creds_refresh::reply::Reply;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::Refresher;
use crate::http_client::send::send;
use crate::oauth_request;
use crate::store::Store;

/// Shortest credential that is looked for in what a message shows: a shorter one is part of ordinary words.
const SHORTEST: usize = 6;

impl<S: Store> Refresher<S> {
    /// Connects to the token endpoint of a login.
    pub(super) async fn connect(&mut self, login: &Login) -> Result<(), NotSent> {
        self.started = Instant::now();
        let grant = &login.grant;
        let budget = Duration::try_from(self.tools.timing.budget).unwrap_or_default();
        let connection = self.tools.connector.connect(&grant.token_url, grant.allow_private, budget).await;
        self.connection = Some(connection?);
        Ok(())
    }

    /// Sends the request on the connection, without waiting for the reply.
    pub(super) fn send(&mut self, login: &Login, token: &Token) -> Input {
        let (Some(connection), Ok(request)) =
            (self.connection.take(), oauth_request::build(&login.grant, token))
        else {
            return Input::Replied(Reply::NotSent(NotSent::GrantInvalid));
        };
        let budget = Duration::try_from(self.tools.timing.budget).unwrap_or_default();
        let (login, token) = (login.clone(), token.clone());
        self.sending = Some(tokio::spawn(async move {
            without_echo(send(connection, request, budget).await, &login, &token)
        }));
        Input::Sent
    }
}

/// Removes the place of a redirect that holds a credential of the request: messages show that place.
fn without_echo(reply: Reply, login: &Login, token: &Token) -> Reply {
    let Reply::Http(mut reply) = reply else { return reply };
    let secret = login.grant.client_secret.as_ref().map_or("", |secret| secret.expose_secret());
    let credentials = [token.expose(), secret].map(plain);
    let shows = |place: &String| {
        let place = plain(place);
        credentials.iter().any(|credential| credential.len() >= SHORTEST && place.contains(credential))
    };
    reply.location = reply.location.filter(|place| !shows(place));
    Reply::Http(reply)
}

/// Returns the letters and digits of a text in lower case: they are the same in every way of escaping it.
fn plain(text: &str) -> String {
    let decoded: String =
        url::form_urlencoded::parse(text.replace('+', "%2B").replace(['&', '='], "").as_bytes())
            .map(|(text, _)| text.into_owned())
            .collect();
    decoded.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agent_creds_core::grant::Grant;
    use agent_creds_refresh::reply::HttpReply;

    use super::*;

    #[test]
    fn a_redirect_to_a_place_that_holds_a_credential_is_not_shown() {
        let data = [
            ("client_id", "id"),
            ("client_secret", "s3cr%t+/=of-the-client"),
            ("refresh_token", "pdus+_1/x"),
            ("grant.yaml", "token_url: https://id.example.com/t"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let login = Login::new(Grant::read(Some("oauth2"), &BTreeMap::from(data)).unwrap());
        let token = Token::from("pdus+_1/x".to_owned());
        let shown = |place: &str| {
            let reply = HttpReply { location: Some(place.to_owned()), ..HttpReply::default() };
            match without_echo(Reply::Http(reply), &login, &token) {
                Reply::Http(reply) => reply.location,
                _ => None,
            }
        };
        for place in [
            "id.example.com/pdus+_1/x",
            "id.example.com/e/pdus%2B_1%2fx/",
            "id.example.com/s3cr%25t%2B%2F%3Dof-the-client",
            "s3crtof-the-client.example.com/",
        ] {
            assert_eq!(shown(place), None, "{place}");
        }
        assert_eq!(shown("id.example.com/o/token/").as_deref(), Some("id.example.com/o/token/"));
    }
}
