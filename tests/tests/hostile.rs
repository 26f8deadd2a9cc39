//! What a compromised agent can try, each attempt a test of its own: from inside a real agent container, with its token,
//! environment, files and network, and with the stock roles that a careless platform may give to people near it. Each says
//! how it was stopped, and shows by a control that the same attempt succeeds where it is allowed. `make hostile` runs them
//! alone and prints their table; `target/results/hostile.json` has the rows.

#[path = "hostile/agent.rs"]
mod agent;
#[path = "hostile/attempt.rs"]
mod attempt;
#[path = "hostile/secrets.rs"]
mod secrets;
