//! The steps of the rotation of CAs and serving certificate.

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Write the trusted CAs to every place in the cluster.
    Publish,
    /// Issue a CA that is trusted and does not sign yet.
    Announce,
    /// Let that CA sign, beginning with a new serving certificate.
    Promote,
    /// Issue a new serving certificate by the CA that signs.
    Renew,
    /// Stop trusting replaced CAs.
    Forget,
}
