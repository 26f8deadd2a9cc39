//! kubectl commands that grant the missing rights, to be pasted into a shell. They are separated by `;`, so that the others
//! still apply where one object exists already. Names are validated where they are read, so they hold nothing that a shell acts
//! on.

use agent_creds_core::exchange_api::SERVER_ACCOUNT;

use agent_creds_core::names::ObjectName;

/// Lets `agent` obtain tokens of `credential`.
pub fn assume(agent: &ObjectName, credential: &ObjectName) -> String {
    let role = format!("assume-{}", credential.name);
    let rule = format!("--verb=assume --resource=serviceaccounts --resource-name={}", credential.name);
    let binding = format!("{}-{}-assumes-{}", agent.namespace, agent.name, credential.name);
    bound(&credential.namespace, &role, &rule, &binding, agent)
}

/// Lets the identity server in namespace `release` create tokens of `credential`.
pub fn mint(release: &str, credential: &ObjectName) -> String {
    let role = format!("mint-{}", credential.name);
    let rule = format!("--verb=create --resource=serviceaccounts/token --resource-name={}", credential.name);
    let server = ObjectName { namespace: release.to_owned(), name: SERVER_ACCOUNT.to_owned() };
    bound(&credential.namespace, &role, &rule, &role, &server)
}

/// Creates the account.
pub fn account(credential: &ObjectName) -> String {
    format!("kubectl create serviceaccount {} -n {}", credential.name, credential.namespace)
}

/// Lets `credential` use one grant: read its grant Secret, and read and write its state Secret.
pub fn secrets(credential: &ObjectName, grant: &ObjectName, state: &ObjectName) -> String {
    let of = |secret: &ObjectName, does: &str, verbs: &str| {
        let role = format!("{}-{does}-{}", credential.name, secret.name);
        let rule = format!("--verb={verbs} --resource=secrets --resource-name={}", secret.name);
        bound(&secret.namespace, &role, &rule, &role, credential)
    };
    format!("{}; {}", of(grant, "reads", "get,watch"), of(state, "writes", "get,watch,update"))
}

fn bound(namespace: &str, role: &str, rule: &str, binding: &str, account: &ObjectName) -> String {
    let ObjectName { namespace: of, name } = account;
    format!(
        "kubectl create role {role} -n {namespace} {rule}; \
         kubectl create rolebinding {binding} -n {namespace} --role={role} --serviceaccount={of}:{name}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, name: &str) -> ObjectName {
        ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn the_right_to_assume_is_the_agents() {
        assert_eq!(
            assume(&name("ops", "agent"), &name("vault", "agent-creds")),
            "kubectl create role assume-agent-creds -n vault --verb=assume --resource=serviceaccounts \
             --resource-name=agent-creds; kubectl create rolebinding ops-agent-assumes-agent-creds -n vault \
             --role=assume-agent-creds --serviceaccount=ops:agent"
        );
    }

    #[test]
    fn the_right_to_mint_is_the_identity_servers() {
        assert_eq!(
            mint("agent-creds-system", &name("vault", "agent-creds")),
            "kubectl create role mint-agent-creds -n vault --verb=create --resource=serviceaccounts/token \
             --resource-name=agent-creds; kubectl create rolebinding mint-agent-creds -n vault \
             --role=mint-agent-creds --serviceaccount=agent-creds-system:agent-creds-identity"
        );
    }

    #[test]
    fn each_secret_has_the_verbs_that_it_needs() {
        let text = secrets(&name("vault", "c"), &name("vault", "one"), &name("vault", "one-state"));
        let commands: Vec<_> = text.split("; ").collect();
        assert_eq!(
            commands,
            [
                "kubectl create role c-reads-one -n vault --verb=get,watch --resource=secrets --resource-name=one",
                "kubectl create rolebinding c-reads-one -n vault --role=c-reads-one --serviceaccount=vault:c",
                "kubectl create role c-writes-one-state -n vault --verb=get,watch,update --resource=secrets --resource-name=one-state",
                "kubectl create rolebinding c-writes-one-state -n vault --role=c-writes-one-state --serviceaccount=vault:c",
            ]
        );
    }
}
