//! Identity mode `exchange`: the projected token of the pod buys a token of the credential ServiceAccount, and only that may
//! read the grant Secrets. [`renewal`], [`answer`], [`trouble`] and [`rights`] are pure; [`renewer`] acts on them; [`wallet`]
//! holds the token, in memory alone, for whoever asks the API server.

pub mod answer;
pub mod renewal;
pub mod renewer;
pub mod rights;
pub mod trouble;
pub mod wallet;
