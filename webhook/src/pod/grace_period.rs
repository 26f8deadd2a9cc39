//! The pod's termination grace period: the sidecar needs time to finish a refresh, so a shorter period is raised.

use agent_creds_core::pod::GRACE_PERIOD_SECONDS;
use serde_json::Value;

use super::view;
use crate::outcome::{Reason, Refusal};

/// What Kubernetes takes where a pod says nothing.
const DEFAULT: i64 = 30;

/// Whether the pod's grace period is too short for a refresh.
pub(super) fn is_short(pod: &Value) -> bool {
    found(pod) < GRACE_PERIOD_SECONDS
}

/// Refuses a final pod whose grace period is too short for a refresh.
///
/// # Errors
/// The refusal.
pub(super) fn check(pod: &Value) -> Result<(), Refusal> {
    if !is_short(pod) {
        return Ok(());
    }
    let sentence = format_args!(
        "found {}; a refresh needs up to {GRACE_PERIOD_SECONDS} seconds, and another admission webhook lowered the value \
         that agent-creds set; make an exception in it",
        found(pod)
    );
    Err(Refusal::new(Reason::GracePeriod, "spec.terminationGracePeriodSeconds", sentence))
}

/// Returns the pod's grace period in seconds. A value that is no integer counts as none: an API server does not accept it.
fn found(pod: &Value) -> i64 {
    view::field(&pod["spec"], "terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod::decide::{confirm, decide};
    use crate::pod::sample::{NOW, injected, keys, pod, policy, with};

    const POINTER: &str = "/spec/terminationGracePeriodSeconds";

    #[test]
    fn raises_a_short_grace_period_and_keeps_a_long_one() {
        assert_eq!(injected(&pod()).pointer(POINTER), Some(&json!(35)), "the default is 30");
        for short in [json!(0), json!(1), json!(-1), json!(30), json!(34), json!(null)] {
            assert_eq!(
                injected(&with(pod(), POINTER, short.clone())).pointer(POINTER),
                Some(&json!(35)),
                "{short}"
            );
        }
        for long in [35, 36, 3600] {
            assert_eq!(injected(&with(pod(), POINTER, json!(long))).pointer(POINTER), Some(&json!(long)));
        }
    }

    #[test]
    fn a_later_call_raises_what_another_webhook_lowered() {
        let lowered = with(injected(&pod()), POINTER, json!(5));
        let decision = decide(&lowered, &policy(), &keys(), "ops", NOW);
        assert_eq!(decision.reason(), Reason::Completed);
        let again = injected(&lowered);
        assert_eq!(again.pointer(POINTER), Some(&json!(35)));
        assert_eq!(decide(&again, &policy(), &keys(), "ops", NOW).reason(), Reason::AlreadyInjected);
    }

    #[test]
    fn refuses_a_final_pod_with_a_short_grace_period() {
        let confirmed = |seconds: Value| {
            confirm(&with(injected(&pod()), POINTER, seconds), &policy(), &keys(), "ops", NOW)
        };
        for long in [35, 36] {
            assert_eq!(confirmed(json!(long)).reason(), Reason::Verified);
        }
        for short in [json!(34), json!(0), json!(null)] {
            assert_eq!(confirmed(short.clone()).reason(), Reason::GracePeriod, "{short}");
        }
        let message = check(&with(pod(), POINTER, json!(5))).expect_err("refused").to_string();
        assert!(
            message.starts_with("spec.terminationGracePeriodSeconds: found 5; a refresh needs up to 35"),
            "{message}"
        );
    }
}
