//! From a policy to text: every list a list, everything in a fixed order.

use super::{Effect, Policy, PolicyKind, Statement};
use serde_json::{Map, Value, json};

impl Policy {
    /// The policy as JSON, in a form that does not depend on how it was written.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut policy =
            json!({ "Version": "2012-10-17", "Statement": self.statements.iter().map(Statement::to_json).collect::<Vec<_>>() });
        if let Some(id) = &self.id {
            policy["Id"] = Value::from(id.as_str());
        }
        policy.to_string()
    }

    /// How many statements it has.
    #[must_use]
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// Whether it can be attached to what has policies of this kind.
    #[must_use]
    pub fn is_kind(&self, kind: PolicyKind) -> bool {
        self.kind == kind
    }
}

impl Statement {
    fn to_json(&self) -> Value {
        let mut out = Map::new();
        if let Some(sid) = &self.sid {
            out.insert("Sid".to_owned(), Value::from(sid.as_str()));
        }
        out.insert("Effect".to_owned(), Value::from(if self.effect == Effect::Allow { "Allow" } else { "Deny" }));
        if let Some(principals) = &self.principals {
            let (aws, federated) = principals.texts();
            let lists = [("AWS", aws), ("Federated", federated)].into_iter().filter(|(_, list)| !list.is_empty());
            let names = Value::Object(lists.map(|(name, list)| (name.to_owned(), Value::from(list))).collect());
            out.insert("Principal".to_owned(), names);
        }
        let actions = if self.actions.is_negated { "NotAction" } else { "Action" };
        out.insert(actions.to_owned(), Value::from(self.actions.texts.clone()));
        if let Some(resources) = &self.resources {
            let name = if resources.is_negated { "NotResource" } else { "Resource" };
            out.insert(name.to_owned(), resources.globs.iter().map(|glob| glob.as_str()).collect());
        }
        if !self.conditions.is_empty() {
            let mut operators = Map::new();
            for condition in &self.conditions {
                let keys = operators.entry(condition.operator.to_string()).or_insert_with(|| Value::Object(Map::new()));
                keys[condition.key.to_string()] = Value::from(condition.texts.clone());
            }
            out.insert("Condition".to_owned(), Value::Object(operators));
        }
        Value::Object(out)
    }
}
