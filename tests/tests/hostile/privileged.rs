//! Attempts as root with NET_RAW and NET_ADMIN.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hostile::agent::{OPEN, in_pod, in_pod_of};
use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::local::{token_with, written};
use crate::hostile::pods::{CAPABLE, ROOTED};
use crate::hostile::scan::{clean, lasting};

/// Runs a shell command as root with NET_RAW and NET_ADMIN.
pub(crate) fn capable(script: &str) -> crate::hostile::attempt::Met {
    in_pod_of(OPEN, CAPABLE.pod, "agent", script)
}

/// Returns the packets of some refreshes, while the agent requests a token on loopback with its key.
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
    /// A container asks for NET_RAW and NET_ADMIN, which the platform did not allow
    capabilities_not_allowed {
        // After the platform allowed them, the same pod runs.
        let capable = &*CAPABLE;
        control(in_pod_of(OPEN, capable.pod, "agent", "ip link show lo"));
        stopped(capable.refused.clone(), "allowCapabilities")
    }
    /// The agent sniffs all packets of the pod during refreshes, and searches them for long-lived credentials
    sniffing_what_lasts {
        let seen = sniffed(capable);
        assert!(seen.contains("GET /v1/token/pagerduty"), "the control: the sniffer sees plain requests");
        assert!(seen.contains("identity.pagerduty.com"), "the control: it sees the provider's name in the refreshes");
        clean(&seen, &lasting());
        Outcome::Stopped("connections to the provider, the API server and the identity server use TLS only".to_owned())
    }
    /// Root in the agent's container sniffs the local API on loopback, with the container runtime's default NET_RAW
    sniffing_the_local_api {
        let seen = sniffed(|script| in_pod(&ROOTED, "agent", script));
        assert!(seen.contains("GET /v1/token/pagerduty") && seen.contains("\"access_token\":\""), "the attempt succeeds");
        clean(&seen, &lasting());
        Outcome::Documented("a container with NET_RAW reads loopback: drop capabilities in containers that distrust each other, or use the Unix socket".to_owned())
    }
    /// The agent cuts the sidecar's network: the access token is served until it expires
    network_cut {
        let grants = format!("{} | wire send unix:/run/agent-creds/agent.sock 3", written(&token_with(&["Host: localhost"])));
        control(capable(&format!("{grants} | grep 'HTTP/1.1 200'")));
        control(capable("ip link set eth0 down"));
        let ended = agent_creds_tests::cluster::eventually(agent_creds_tests::platform::START, || {
            let answer = capable(&grants)?;
            if answer.starts_with("HTTP/1.1 503 ") { Ok(answer) } else { Err(answer) }
        });
        assert!(ended.contains("\"state\":\"expired\"") && !ended.contains("access_token"), "{ended}");
        // The address still exists; the route was removed with the link.
        control(capable("ip link set eth0 up && ip route add default via 10.244.0.1"));
        agent_creds_tests::cluster::eventually(agent_creds_tests::platform::START, || capable(&format!("{grants} | grep 'HTTP/1.1 200'")).map(drop));
        Outcome::Documented("a container that can change the pod's network can deny service to it: do not allow NET_ADMIN. An expired token is not served".to_owned())
    }
    /// The agent enters other namespaces and changes mounts with these capabilities
    capabilities_for_more {
        control(capable("ip addr show lo"));
        all(vec![
            stopped(capable("nsenter -t 1 -m ls /"), "Operation not permitted"),
            stopped(capable("mount -o remount,rw /run/agent-creds"), "mount: permission denied"),
        ])
    }
}
