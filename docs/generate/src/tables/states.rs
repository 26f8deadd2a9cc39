//! The states of a grant.

use agent_creds_core::words::Word as _;
use agent_creds_refresh::status::State;
use strum::VariantArray as _;

use crate::markdown::{code, table};

pub(super) fn states() -> String {
    let rows = State::VARIANTS
        .iter()
        .map(|state| [code(state.as_str()), state.sentence().to_owned(), state.who_acts().to_owned()]);
    table(["state", "meaning", "who acts"], rows)
}
