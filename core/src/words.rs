//! Closed sets of words: label values of metrics, fields of log lines, reasons in Events and in the local API. Only
//! a word of a set can become a label value, so text from a peer never does.

use strum::{EnumMessage, VariantArray};

/// An enum without data whose variants have one word each.
///
/// Every enum that derives `strum`'s `IntoStaticStr`, `VariantArray` and `EnumMessage` has it. The words are set by
/// `#[strum(serialize_all = "snake_case")]` or `#[strum(serialize = "…")]`, the sentences by `#[strum(message = "…")]`.
pub trait Word: Copy + Into<&'static str> + VariantArray + EnumMessage + 'static {
    /// Returns the word.
    fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the sentence for a person; empty if the set has none.
    fn sentence(self) -> &'static str {
        self.get_message().unwrap_or_default()
    }

    /// Returns the meaning of the word for tables: the variant's doc comment.
    fn meaning(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }

    /// Returns the variant of a word; `None` for a word of another version.
    fn from_word(word: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|known| known.as_str() == word)
    }
}

impl<T: Copy + Into<&'static str> + VariantArray + EnumMessage + 'static> Word for T {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange_api::Missing;

    #[test]
    fn a_word_leads_back_to_its_variant() {
        for missing in Missing::VARIANTS {
            assert_eq!(Missing::from_word(missing.as_str()), Some(*missing));
        }
        assert_eq!(Missing::from_word("made_up"), None);
    }
}
