//! The safeguards that the protocol's promises rest on. All are on, always; under the feature `model` each is a field, so
//! that the model can switch one off at a time and show which promise it carries.

macro_rules! safeguards {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The safeguards of the protocol.
        #[cfg(feature = "model")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct Safeguards {
            $($(#[$doc])* pub $name: bool,)+
        }

        /// The safeguards of the protocol. There is no way to switch one off.
        #[cfg(not(feature = "model"))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct Safeguards;

        #[cfg(feature = "model")]
        impl Safeguards {
            /// All of them.
            pub const ON: Self = Self { $($name: true,)+ };

            $(pub(crate) const fn $name(self) -> bool {
                self.$name
            })+
        }

        #[cfg(not(feature = "model"))]
        impl Safeguards {
            /// All of them.
            pub const ON: Self = Self;

            $(pub(crate) const fn $name(self) -> bool {
                true
            })+
        }
    };
}

safeguards! {
    /// A replica waits for another replica's claim.
    claim_is_awaited,
    /// A claim does not count as silent while the store does not answer.
    outage_is_no_silence,
    /// A claim that was silent for its term counts as perhaps sent.
    silence_is_doubt,
    /// A token in doubt is not presented before the provider's replay rule allows it.
    doubt_waits,
    /// A refusal of a token in doubt is no verdict before the last responsible moment.
    refusal_waits_for_doubt,
    /// A request is sent within the window of its claim, or not at all.
    window_is_checked,
    /// The spool says `sent` before anything is sent.
    sent_is_marked,
    /// The spool holds the answer before the store does.
    answer_is_spooled,
    /// No token is served that is not stored.
    stored_before_served,
    /// A child is filed where its parent is, whichever replica holds a claim.
    lineage_decides,
    /// A login that was replaced, or a token that was spent, is never adopted again.
    spent_stays_spent,
    /// The login before a new one stays in reserve until the new one has worked.
    login_keeps_spare,
    /// A state that was emptied or rolled back is repaired from memory.
    memory_repairs,
    /// A claim is made only on a state that did not change for the settle delay.
    changes_settle,
    /// All replicas keep to the backoff in the state.
    backoff_is_shared,
}
