//! Attempts on the sidecar's volumes, from the agent's containers.

use crate::hostile::agent::{NAMESPACE, in_pod, inside};
use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::pods::{Process, ROOTED};

const READ_ONLY: &str = "Read-only file system";

/// Runs a script as the agent, and as root in one of its containers.
fn both(script: &str, words: &str) -> Vec<Outcome> {
    vec![stopped(inside(script), words), stopped(in_pod(&ROOTED, "agent", script), words)]
}

attempts! {
    /// The agent opens the spool and the identity tokens by their paths
    volumes_by_path {
        let sidecar = Process::sidecar("agent", NAMESPACE);
        assert!(sidecar.inside("/run/agent-creds-spool/probe.sock").exists(), "the control: the sidecar has the files");
        assert!(sidecar.inside("/run/agent-creds-identity/identity-token").exists());
        let paths = ["/run/agent-creds-spool", "/run/agent-creds-identity/identity-token", "/run/agent-creds-identity/api-token", "/var/lib/kubelet/pods", "/proc/1/root/run/agent-creds-spool"];
        all(paths.iter().flat_map(|path| both(&format!("ls {path}"), "No such file or directory")).collect())
    }
    /// The agent moves, removes or replaces agent.sock
    socket_replaced {
        control(inside("cp $AGENT_CREDS_KEY_FILE /tmp/key && mv /tmp/key /tmp/moved && rm /tmp/moved"));
        let scripts = ["rm -f /run/agent-creds/agent.sock", "mv /run/agent-creds/agent.sock /run/agent-creds/x", "chmod 0 /run/agent-creds/agent.sock"];
        all(scripts.iter().flat_map(|script| both(script, READ_ONLY)).collect())
    }
    /// The agent writes the caller key, to choose its value
    key_written {
        control(inside("cat $AGENT_CREDS_KEY_FILE"));
        let scripts = ["echo 0 >/run/agent-creds/caller-key.x", "rm -f /run/agent-creds/caller-key", "touch /run/agent-creds/caller-key"];
        all(scripts.iter().flat_map(|script| both(script, READ_ONLY)).collect())
    }
    /// The agent creates symbolic and hard links in the shared volume, which the sidecar would follow after a restart
    links_planted {
        control(inside("ln -s /etc/passwd /tmp/link && rm /tmp/link"));
        let scripts = ["ln -s /run/agent-creds-spool /run/agent-creds/caller-key.new", "ln -s /tmp/x /run/agent-creds/tokens", "mkdir /run/agent-creds/tokens"];
        let mut outcomes: Vec<_> = scripts.iter().flat_map(|script| both(script, READ_ONLY)).collect();
        let hard = "ln /run/agent-creds/caller-key /tmp/key";
        outcomes.push(stopped(inside(hard), "Invalid cross-device link"));
        all(outcomes)
    }
    /// The agent fills the shared volume, so that the sidecar cannot write
    volume_flooded {
        control(inside("dd if=/dev/zero of=/tmp/flood bs=1024 count=4096 && rm /tmp/flood"));
        all(both("dd if=/dev/zero of=/run/agent-creds/flood bs=1024 count=4096", READ_ONLY))
    }
    /// Root in the container remounts the shared volume as writable
    volume_remounted {
        control(in_pod(&ROOTED, "agent", "grep -q ' /run/agent-creds ' /proc/mounts"));
        let scripts = ["mount -o remount,rw /run/agent-creds", "mount -t tmpfs none /run/agent-creds"];
        all(scripts.map(|script| stopped(in_pod(&ROOTED, "agent", script), "mount: permission denied")).into())
    }
    /// The agent creates a user namespace with all capabilities in it, to change the volume and the pod's network
    namespace_of_its_own {
        let script = |work: &str| format!("unshare -U -r -m -n sh -c '{work}' || unshare -U -r sh -c '{work}'");
        control(inside("id -u"));
        let met = inside(&script("mount -o remount,rw /run/agent-creds && touch /run/agent-creds/x"));
        let outcome = match &met {
            Err(said) if said.contains("Permission denied") => stopped(met, "Permission denied"),
            Err(said) if said.contains(READ_ONLY) => stopped(met, READ_ONLY),
            _ => stopped(met, "mount: permission denied"),
        };
        control(inside("ls /run/agent-creds/agent.sock"));
        outcome
    }
}
