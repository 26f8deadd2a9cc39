//! What may become of the CAs and the serving certificate, one thing at a time.

/// The one thing to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Have what the holdings trust trusted in the cluster.
    Publish,
    /// Make a CA that is trusted and does not sign yet.
    Announce,
    /// Let it sign, beginning with a new serving certificate.
    Promote,
    /// A new serving certificate by the CA that signs.
    Renew,
    /// Trust those that signed before no more.
    Forget,
}
