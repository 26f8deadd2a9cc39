//! A closed set of reasons, each with its label, its line in the table that users read, and the outcome that it belongs to.

/// Declares `Reason`, beside an `Outcome` of the caller's.
macro_rules! reasons {
    ($($outcome:ident { $($reason:ident = $label:literal: $meaning:literal,)* })*) => {
        /// Why a request ended as it did.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $meaning] $reason,)*)*
        }

        impl Reason {
            /// All reasons, in the order of the table.
            pub const ALL: &[Self] = &[$($(Self::$reason,)*)*];

            /// The label value.
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$reason => $label,)*)* }
            }

            /// What it means, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $($(Self::$reason => $meaning,)*)* }
            }

            /// The outcome that it belongs to.
            pub fn outcome(self) -> Outcome {
                match self { $($(Self::$reason => Outcome::$outcome,)*)* }
            }
        }
    };
}

pub(crate) use reasons;
