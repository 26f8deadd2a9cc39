//! Root with NET_RAW and NET_ADMIN: what it can do to its own pod, and what that gives it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hostile::agent::{OPEN, in_pod, in_pod_of};
use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::local::{token_with, written};
use crate::hostile::pods::{CAPABLE, ROOTED};
use crate::hostile::scan::{clean, lasting};

/// A shell command as root with NET_RAW and NET_ADMIN.
pub(crate) fn capable(script: &str) -> crate::hostile::attempt::Met {
    in_pod_of(OPEN, CAPABLE.pod, "agent", script)
}

/// What a sniffer sees while the agent asks for a token on loopback with its key, during some refreshes.
fn sniffed(run: impl Fn(&str) -> crate::hostile::attempt::Met) -> String {
    let asked = "for i in 1 2 3; do wget -q -O /dev/null --header \"Authorization: Bearer $(cat $AGENT_CREDS_KEY_FILE)\" $AGENT_CREDS_URL/v1/token/pagerduty; sleep 3; done";
    let text = control(run(&format!(
        "wire sniff 12 >/tmp/packets & sleep 1; {asked}; wait; base64 </tmp/packets | tr -d '\\n'"
    )));
    let bytes = STANDARD
        .decode(text.trim())
        .unwrap_or_else(|error| panic!("{error}: {}", &text[..text.len().min(300)]));
    String::from_utf8_lossy(&bytes).into_owned()
}

attempts! {
    /// NET_RAW and NET_ADMIN asked for where the platform did not allow them
    capabilities_not_allowed {
        // Once the platform allowed them the same pod runs.
        let capable = &*CAPABLE;
        control(in_pod_of(OPEN, capable.pod, "agent", "ip link show lo"));
        stopped(capable.refused.clone(), "allowCapabilities")
    }
    /// Every packet of the pod sniffed during refreshes, for what lasts
    sniffing_what_lasts {
        let seen = sniffed(capable);
        assert!(seen.contains("GET /v1/token/pagerduty"), "the control: the sniffer sees plain requests");
        assert!(seen.contains("identity.pagerduty.com"), "the control: it sees the refreshes, at least their names");
        clean(&seen, &lasting());
        Outcome::Stopped("towards the provider, the API server and the identity server there is TLS alone".to_owned())
    }
    /// The local API sniffed on loopback, by root that kept the runtime's default NET_RAW
    sniffing_the_local_api {
        let seen = sniffed(|script| in_pod(&ROOTED, "agent", script));
        assert!(seen.contains("GET /v1/token/pagerduty") && seen.contains("\"access_token\":\""), "it happens");
        clean(&seen, &lasting());
        Outcome::Documented("a container with NET_RAW reads loopback: drop capabilities in containers that distrust each other, or use the Unix socket".to_owned())
    }
    /// The network cut under the sidecar: what it serves ends with the token
    network_cut {
        let grants = format!("{} | wire send unix:/run/agent-creds/agent.sock 3", written(&token_with(&["Host: localhost"])));
        control(capable(&format!("{grants} | grep 'HTTP/1.1 200'")));
        control(capable("ip link set eth0 down"));
        let ended = agent_creds_tests::cluster::eventually(agent_creds_tests::platform::START, || {
            let answer = capable(&grants)?;
            if answer.starts_with("HTTP/1.1 503 ") { Ok(answer) } else { Err(answer) }
        });
        assert!(ended.contains("\"state\":\"expired\"") && !ended.contains("access_token"), "{ended}");
        // The address is still there; the route went with the link.
        control(capable("ip link set eth0 up && ip route add default via 10.244.0.1"));
        agent_creds_tests::cluster::eventually(agent_creds_tests::platform::START, || capable(&format!("{grants} | grep 'HTTP/1.1 200'")).map(drop));
        Outcome::Documented("who runs in the pod's network can deny service to it: do not allow NET_ADMIN. An expired token is not served".to_owned())
    }
    /// Other namespaces and mounts with these capabilities
    capabilities_for_more {
        control(capable("ip addr show lo"));
        all(vec![
            stopped(capable("nsenter -t 1 -m ls /"), "Operation not permitted"),
            stopped(capable("mount -o remount,rw /run/agent-creds"), "mount: permission denied"),
        ])
    }
}
