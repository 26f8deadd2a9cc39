//! The outcomes of admission requests and the reasons for them.

use agent_creds_core::words::Word as _;
use agent_creds_webhook::outcome::Reason;
use strum::VariantArray as _;

use crate::markdown::{code, table};

pub(super) fn admission_reasons() -> String {
    let rows = Reason::VARIANTS
        .iter()
        .map(|reason| [code(reason.outcome().as_str()), code(reason.as_str()), reason.meaning().to_owned()]);
    table(["outcome", "reason", "meaning"], rows)
}
