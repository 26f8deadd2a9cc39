//! The outcomes of identity exchanges and the reasons for them.

use agent_creds_core::words::Word as _;
use agent_creds_webhook::token_exchange::outcome::Reason;
use strum::VariantArray as _;

use crate::markdown::{code, table};

pub(super) fn identity_reasons() -> String {
    let rows = Reason::VARIANTS
        .iter()
        .map(|reason| [code(reason.outcome().as_str()), code(reason.as_str()), reason.meaning().to_owned()]);
    table(["outcome", "reason", "meaning"], rows)
}
