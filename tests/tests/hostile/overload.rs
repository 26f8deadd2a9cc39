//! Attempts to use up the sidecar's memory, connections or time. It continues to serve, and its memory stays bounded.

use crate::hostile::agent::{NAMESPACE, inside};
use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::local::{LOOPBACK, SOCKET, asked, asked_at, bearer, count, good, token_with, written};
use crate::hostile::pods::Process;

/// Allowed growth of the sidecar's memory during an attempt, in KiB.
const GROWTH: u64 = 12 * 1024;

/// Runs `work` and checks that the sidecar's memory stays bounded.
#[track_caller]
fn stays_small<T>(work: impl FnOnce() -> T) -> T {
    let sidecar = Process::sidecar("agent", NAMESPACE);
    let before = sidecar.resident();
    let result = work();
    let after = sidecar.resident();
    assert!(after < before + GROWTH, "from {before} to {after} KiB");
    result
}

attempts! {
    /// The agent sends oversized heads: a value of 64 KB, 300 headers, a path of 40 KB
    header_bombs {
        control(asked(&good()));
        let many: Vec<_> = (0..300).map(|i| format!("X-{i}: y")).collect();
        let many: String = many.join("\r\n");
        let bombs = [token_with(&["Host: localhost", &bearer(), &format!("X: {}", "y".repeat(64 * 1024))]), token_with(&["Host: localhost", &bearer(), &many])];
        let mut outcomes: Vec<_> = stays_small(|| bombs.iter().map(|bomb| stopped(asked(bomb), "HTTP/1.1 431 Request Header Fields Too Large")).collect());
        let long = good().replace("/pagerduty", &format!("/{}", "p".repeat(40 * 1024)));
        outcomes.push(stopped(asked(&long), "HTTP/1.1 431 Request Header Fields Too Large"));
        all(outcomes)
    }
    /// The agent sends a head with one byte a second that never ends
    slow_heads {
        control(asked(&good()));
        let slow = inside(&format!("{} | wire trickle {LOOPBACK} 30", written(&good())));
        let said = control(slow);
        let after = said.split("closed after ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        let after = after.unwrap_or_else(|| panic!("the connection was not closed: {said}"));
        // The limit, with time for a busy machine.
        assert!((4..=20).contains(&after), "{said}");
        Outcome::Stopped("a request head must arrive within 5 s".to_owned())
    }
    /// The agent sends endless bodies, with Content-Length and chunked
    huge_bodies {
        control(asked(&good()));
        let counted = token_with(&["Host: localhost", &bearer(), "Content-Length: 1000000000000"]);
        let chunked = token_with(&["Host: localhost", &bearer(), "Transfer-Encoding: chunked"]);
        stays_small(|| {
            for (head, piece) in [(counted, "head -c 200000000 /dev/zero"), (chunked, "yes \"$(printf '400\\r\\n%01024d\\r' 0)\" | head -c 200000000")] {
                let script = format!("({}; {piece}) | wire send {LOOPBACK} 3 | head -c 2000", written(&head));
                let answer = control(inside(&script));
                assert_eq!(count(&answer, 200), 1, "answered without the body: {answer}");
            }
        });
        Outcome::Stopped("no body is read: the answer follows the head, and the connection closes".to_owned())
    }
    /// The agent holds 300 connections without a request: loopback and the socket are served meanwhile
    connections_held {
        control(asked(&good()));
        let script = format!(
            "printf GET | wire hold {LOOPBACK} 300 8 >/tmp/held & sleep 2
             {good} | wire send {LOOPBACK} 3 | head -n 1 | sed 's/^/on loopback: /'
             {free} | wire send {SOCKET} 3 | head -n 1 | sed 's/^/on the socket: /'
             wait; cat /tmp/held",
            good = written(&good()), free = written(&token_with(&["Host: localhost"])),
        );
        let said = stays_small(|| control(inside(&script)));
        assert!(said.contains("on loopback: HTTP/1.1 200"), "{said}");
        assert!(said.contains("on the socket: HTTP/1.1 200"), "{said}");
        assert!(said.contains("holding 300") && said.contains("open 0"), "{said}");
        Outcome::Stopped("the oldest connection without a request makes room, and each has 5 s for its first one".to_owned())
    }
    /// The agent sends thousands of requests on 60 connections and reads no answers
    answers_unread {
        let one = good().replace("Connection: close\r\n", "");
        let some = format!("{}{}", one.repeat(20), good());
        let answers = control(asked(&some));
        assert_eq!(count(&answers, 200), 21, "the control: requests are answered if the answers are read");
        let script = format!(
            "for i in $(seq 200); do {}; done >/tmp/many
             wire hold {LOOPBACK} 60 6 </tmp/many & sleep 3; {} | wire send {LOOPBACK} 3 | head -n 1; wait",
            written(&one.repeat(20)), written(&good()),
        );
        let said = stays_small(|| control(inside(&script)));
        assert!(said.contains("HTTP/1.1 200 OK"), "other connections are served meanwhile: {said}");
        Outcome::Stopped("the sidecar reads no requests from a connection with unread answers".to_owned())
    }
    /// The agent reports each token as rejected, again and again, so that many refresh tokens are spent
    refreshes_forced {
        let standin = &crate::hostile::agent::PLATFORM.standin;
        let presented = || agent_creds_tests::event::presentations(&standin.log()).filter(|p| p.client_id.as_deref() == Some(NAMESPACE)).count();
        let script = format!(
            "i=0; while [ $i -lt 8 ]; do i=$((i+1))
               t=$({one} | wire send {SOCKET} 1 | sed -n 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/p')
               fp=$(printf %s \"$t\" | sha256sum | cut -d ' ' -f 1)
               printf 'GET /v1/token/pagerduty?rejected=%s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' $fp | wire send {SOCKET} 20 | head -n 1
             done",
            one = written(&token_with(&["Host: localhost"])),
        );
        let (before, start) = (presented(), std::time::Instant::now());
        let said = control(inside(&script));
        let (times, seconds) = (presented() - before, start.elapsed().as_secs());
        assert_eq!(said.matches("HTTP/1.1 ").count(), 8, "all were answered: {said}");
        // A token of 5 s is renewed every few seconds anyway; 8 refreshes need more time.
        assert!(times as u64 <= seconds / 2 + 3, "{times} presentations in {seconds} s");
        Outcome::Stopped("forced refreshes are limited; beyond the limit the current token is served".to_owned())
    }
    /// The agent floods the metrics port with idle connections: the local API is served meanwhile
    metrics_flooded {
        let metrics = token_with(&["Host: x"]).replace("/v1/token/pagerduty", "/metrics");
        control(asked_at("127.0.0.1:9912", &metrics));
        let script = format!(
            "printf GET | wire hold 127.0.0.1:9912 300 14 >/tmp/held & sleep 2; {} | wire send {LOOPBACK} 3 | head -n 1; wait; cat /tmp/held",
            written(&good()),
        );
        let said = control(inside(&script));
        assert!(said.contains("HTTP/1.1 200 OK") && said.contains("open 0"), "{said}");
        control(asked_at("127.0.0.1:9912", &metrics));
        Outcome::Stopped("each listener has its own connections, with 5 s for a request head".to_owned())
    }
}
