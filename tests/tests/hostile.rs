//! What a compromised agent can try, each attempt a test of its own: from inside a real agent container, with its token,
//! environment, files and network, and with the stock roles that a careless platform may give to people near it. Each says
//! how it was stopped, and shows by a control that the same attempt succeeds where it is allowed. `make hostile` runs them
//! alone and prints their table; `target/results/hostile.json` has the rows.

#[path = "hostile/agent.rs"]
mod agent;
#[path = "hostile/apart.rs"]
mod apart;
#[path = "hostile/attempt.rs"]
mod attempt;
#[path = "hostile/caller_key.rs"]
mod caller_key;
#[path = "hostile/edit.rs"]
mod edit;
#[path = "hostile/exchange.rs"]
mod exchange;
#[path = "hostile/given_away.rs"]
mod given_away;
#[path = "hostile/imitation.rs"]
mod imitation;
#[path = "hostile/local.rs"]
mod local;
#[path = "hostile/mutator.rs"]
mod mutator;
#[path = "hostile/network.rs"]
mod network;
#[path = "hostile/overload.rs"]
mod overload;
#[path = "hostile/people.rs"]
mod people;
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
#[path = "hostile/rights.rs"]
mod rights;
#[path = "hostile/running.rs"]
mod running;
#[path = "hostile/scan.rs"]
mod scan;
#[path = "hostile/secrets.rs"]
mod secrets;
#[path = "hostile/servers.rs"]
mod servers;
#[path = "hostile/siblings.rs"]
mod siblings;
#[path = "hostile/steering.rs"]
mod steering;
#[path = "hostile/tokens.rs"]
mod tokens;
#[path = "hostile/tunnel.rs"]
mod tunnel;
#[path = "hostile/volumes.rs"]
mod volumes;
