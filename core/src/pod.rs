//! What an injected pod contains: names, paths and ports that webhook, sidecar and agents agree on.
//! They are public: agents, dashboards and policies depend on them.

/// The injected native sidecar container.
pub const CONTAINER: &str = "agent-creds";

/// Memory volume with what the agent may read: the caller key and the socket. Read-only in the agent's containers.
pub const SHARED_VOLUME: &str = "agent-creds-shared";
/// Memory volume of the sidecar alone: answers that are not stored yet, and the probe socket.
pub const SPOOL_VOLUME: &str = "agent-creds-spool";
/// Projected ServiceAccount tokens of the sidecar alone.
pub const IDENTITY_VOLUME: &str = "agent-creds-identity";
/// All our volumes. A reference to one of them outside our own fragment is an attempt to reach what lasts.
pub const VOLUMES: [&str; 3] = [SHARED_VOLUME, SPOOL_VOLUME, IDENTITY_VOLUME];

/// Mount path of [`SHARED_VOLUME`].
pub const SHARED_DIR: &str = "/run/agent-creds";
/// Mount path of [`SPOOL_VOLUME`].
pub const SPOOL_DIR: &str = "/run/agent-creds-spool";
/// Mount path of [`IDENTITY_VOLUME`].
pub const IDENTITY_DIR: &str = "/run/agent-creds-identity";

/// File in [`SHARED_DIR`]: 64 hex characters, no newline.
pub const CALLER_KEY_FILE: &str = "caller-key";
/// Unix socket in [`SHARED_DIR`]: the local API, where the mount itself is the proof.
pub const AGENT_SOCKET: &str = "agent.sock";
/// Unix socket in [`SPOOL_DIR`] that answers the kubelet's exec probes.
pub const PROBE_SOCKET: &str = "probe.sock";
/// File in [`IDENTITY_DIR`]: the pod's ServiceAccount token for the API server.
pub const API_TOKEN_FILE: &str = "api-token";
/// File in [`IDENTITY_DIR`]: the pod's token with the audience [`AUDIENCE`] (identity mode `exchange`).
pub const IDENTITY_TOKEN_FILE: &str = "identity-token";

/// Audience of the token that proves a pod to the identity server.
pub const AUDIENCE: &str = "agent-creds";

/// Environment of the agent's containers: base URL of the local API.
pub const ENV_URL: &str = "AGENT_CREDS_URL";
/// Environment of the agent's containers: path of the caller key.
pub const ENV_KEY_FILE: &str = "AGENT_CREDS_KEY_FILE";
/// Environment of the agent's containers: path of the Unix socket.
pub const ENV_SOCKET: &str = "AGENT_CREDS_SOCKET";
/// What we set; a container that sets one itself is refused.
pub const ENVIRONMENT: [&str; 3] = [ENV_URL, ENV_KEY_FILE, ENV_SOCKET];

/// Default port of the local API on 127.0.0.1.
pub const DEFAULT_PORT: u16 = 9911;
/// Default port of the sidecar's metrics.
pub const DEFAULT_METRICS_PORT: u16 = 9912;
/// Name of the metrics port in the container, for a PodMonitor.
pub const METRICS_PORT_NAME: &str = "creds-metrics";

/// Shortest `terminationGracePeriodSeconds` of an injected pod. The sidecar needs up to 3 seconds until a refresh is sent, 15 for
/// the answer and 10 to store it; the rest is for the kubelet and for the hooks of other containers.
pub const GRACE_PERIOD_SECONDS: i64 = 35;

/// Label of an injected pod, value `"true"`.
pub const INJECTED_LABEL: &str = "agent-creds/injected";
/// Annotation of the EKS Pod Identity webhook: containers that it leaves alone, separated by commas. We append
/// ourselves, since a credential sidecar has no use for the agent's AWS role.
pub const EKS_SKIP_ANNOTATION: &str = "eks.amazonaws.com/skip-containers";
