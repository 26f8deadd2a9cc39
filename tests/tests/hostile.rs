//! What a compromised agent can try, each attempt a test of its own: from inside a real agent container, with its token,
//! environment, files and network, and with the stock roles that a careless platform may give to people near it. Each says
//! how it was stopped, and shows by a control that the same attempt succeeds where it is allowed. `make hostile` runs them
//! alone and prints their table; `target/results/hostile.json` has the rows.

mod agent;
mod apart;
mod attempt;
mod caller_key;
mod edit;
mod exchange;
mod given_away;
mod imitation;
mod local;
mod mutator;
mod network;
mod overload;
mod people;
mod pods;
mod ports;
mod privileged;
mod processes;
mod redirected;
mod requests;
mod rights;
mod running;
mod scan;
mod secrets;
mod servers;
mod siblings;
mod steering;
mod tokens;
mod tunnel;
mod volumes;
