//! Attempts of a compromised agent, one test for each: from inside a real agent container, with its token, environment,
//! files and network, and with the roles that a careless platform may grant to people near it. Each attempt reports how
//! it was stopped, and a control shows that the same attempt succeeds where it is allowed. `make hostile` runs only
//! these tests and prints their table; the rows are in `target/results/hostile.json`.

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
