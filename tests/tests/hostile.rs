//! What a compromised agent can try, each attempt a test of its own: from inside a real agent container, with its token,
//! environment, files and network, and with the stock roles that a careless platform may give to people near it. Each says
//! how it was stopped, and shows by a control that the same attempt succeeds where it is allowed. `make hostile` runs them
//! alone and prints their table; `target/results/hostile.json` has the rows.

#[path = "hostile/agent.rs"]
mod agent;
#[path = "hostile/attempt.rs"]
mod attempt;
#[path = "hostile/caller_key.rs"]
mod caller_key;
#[path = "hostile/given_away.rs"]
mod given_away;
#[path = "hostile/local.rs"]
mod local;
#[path = "hostile/network.rs"]
mod network;
#[path = "hostile/overload.rs"]
mod overload;
#[path = "hostile/pods.rs"]
mod pods;
#[path = "hostile/ports.rs"]
mod ports;
#[path = "hostile/privileged.rs"]
mod privileged;
#[path = "hostile/processes.rs"]
mod processes;
#[path = "hostile/redirected.rs"]
mod redirected;
#[path = "hostile/requests.rs"]
mod requests;
#[path = "hostile/scan.rs"]
mod scan;
#[path = "hostile/secrets.rs"]
mod secrets;
#[path = "hostile/volumes.rs"]
mod volumes;
