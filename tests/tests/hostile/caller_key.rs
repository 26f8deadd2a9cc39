//! Requests to the local API without the pod's caller key.

use crate::hostile::agent::in_pod;
use crate::hostile::attempt::{all, attempts, control, stopped};
use crate::hostile::local::{KEY, asked, bearer, good, token_with};
use crate::hostile::pods::NEIGHBOUR;

const REFUSED: &str = "\"error\":\"invalid_client\"";

attempts! {
    /// The agent calls the local API on loopback without a caller key
    key_absent {
        control(asked(&good()));
        all(vec![
            stopped(asked(&token_with(&["Host: localhost"])), REFUSED),
            stopped(asked(&token_with(&["Host: localhost", "Authorization: Bearer "])), REFUSED),
        ])
    }
    /// The agent calls the local API with a wrong key: zeros, upper case, one character less, one more, quotes, a
    /// leading space
    key_wrong {
        control(asked(&good()));
        let key = &*KEY;
        let wrong = [
            "0".repeat(64), key.to_uppercase(), key[..63].to_owned(), format!("{key}0"), format!("\"{key}\""), format!(" {key}"),
        ];
        let tried = |wrong: &String| stopped(asked(&token_with(&["Host: localhost", &format!("Authorization: Bearer {wrong}")])), REFUSED);
        all(wrong.iter().map(tried).collect())
    }
    /// The agent calls the local API with a key of 12 KB that begins with the right one
    key_long {
        control(asked(&good()));
        let long = format!("{}{}", bearer(), "0".repeat(12 * 1024));
        stopped(asked(&token_with(&["Host: localhost", &long])), REFUSED)
    }
    /// The agent sends the right key twice, or the right and a wrong one in either order
    key_doubled {
        control(asked(&good()));
        let (right, wrong) = (bearer(), "Authorization: Bearer 0".to_owned());
        let joined = format!("{right}, Bearer {}", *KEY);
        let tries = [vec![&right, &right], vec![&right, &wrong], vec![&wrong, &right], vec![&joined]];
        all(tries
            .into_iter()
            .map(|lines| {
                let lines: Vec<&str> = std::iter::once("Host: localhost").chain(lines.into_iter().map(String::as_str)).collect();
                stopped(asked(&token_with(&lines)), REFUSED)
            })
            .collect())
    }
    /// The agent sends the right key in a wrong place: another scheme, another header, the query, a cookie
    key_elsewhere {
        control(asked(&good()));
        let key = &*KEY;
        let lines = [
            format!("Authorization: Basic {key}"), format!("Authorization: {key}"), format!("Proxy-Authorization: Bearer {key}"),
            format!("Cookie: key={key}"), format!("X-Api-Key: {key}"),
        ];
        let mut outcomes: Vec<_> = lines.iter().map(|line| stopped(asked(&token_with(&["Host: localhost", line])), REFUSED)).collect();
        let query = good().replace(&bearer(), "X: y").replace("/pagerduty ", &format!("/pagerduty?access_token={key} "));
        outcomes.push(stopped(asked(&query), REFUSED));
        all(outcomes)
    }
    /// The agent uses the caller key of another pod with the same account and the same grant
    key_of_another_pod {
        let script = "cat $AGENT_CREDS_KEY_FILE";
        let key = control(in_pod(&NEIGHBOUR, "agent", script));
        assert_ne!(key, *KEY, "each pod has its own key");
        let request = token_with(&["Host: localhost", &format!("Authorization: Bearer {key}")]);
        control(in_pod(&NEIGHBOUR, "agent", &format!("{} | wire send 127.0.0.1:9911 3 | grep '200 OK'", crate::hostile::local::written(&request))));
        stopped(asked(&request), REFUSED)
    }
}
