use super::*;
use crate::action::Action;
use crate::arn::{Arn, Home};
use model::Labels;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const USER: &str = "arn:aws:iam::000000000000:user/u";
const WORKSPACE: &str = "arn:aws:aps:local:000000000000:workspace/ws-1";
const NOW_MS: i64 = 1_767_225_600_000;

fn caller() -> Caller {
    let tags = Tags::from([("team".into(), "a".into())]);
    Caller { account: "000000000000".into(), arn: USER.into(), principal_arn: USER.into(), tags }
}

fn parse(kind: PolicyKind, json: &Value) -> Result<Policy, PolicyError> {
    Policy::parse(kind, &json.to_string())
}

fn statement(changes: &Value) -> Value {
    let mut statement = json!({ "Effect": "Allow", "Action": "aps:*", "Resource": "*" });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(statement.as_object_mut().unwrap().remove(name)),
            value => statement[name] = value.clone(),
        }
    }
    json!({ "Version": "2012-10-17", "Statement": statement })
}

/// The decision on one identity policy made of one statement.
fn decide(changes: &Value, action: Action, environment: &Environment<'_>) -> Decision {
    let policy = parse(PolicyKind::Identity, &statement(changes)).unwrap();
    let caller = caller();
    let context = Context { action, environment, caller: Some(&caller), web_identity: None, external_id: None };
    evaluate(&PolicySet { identity: &[("p", &policy)], resource: None, session: None }, &context, WORKSPACE)
}

fn here() -> Environment<'static> {
    Environment::at(NOW_MS, Some("10.1.2.3".parse().unwrap()), true)
}

fn allows(changes: &Value) -> bool {
    decide(changes, Action::QueryMetrics, &here()).is_allowed()
}

#[test]
fn what_is_not_known_is_refused_with_its_place() {
    let refused = |changes: Value, text: &str| {
        let error = parse(PolicyKind::Identity, &statement(&changes)).unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    };
    refused(json!({ "Effekt": "Allow" }), "Statement.Effekt: not an element");
    refused(json!({ "NotPrincipal": "*" }), "Statement.NotPrincipal: not an element");
    refused(json!({ "Principal": "*" }), "Statement.Principal: not an element");
    refused(json!({ "Effect": "allow" }), "Statement.Effect: must be");
    refused(json!({ "Effect": null }), "Statement.Effect: missing");
    refused(json!({ "Action": null }), "Statement.Action: missing");
    refused(json!({ "Action": [] }), "Statement.Action: must be");
    refused(json!({ "Action": 1 }), "Statement.Action: must be a string");
    refused(json!({ "NotAction": "aps:*" }), "Statement.NotAction: not together");
    refused(json!({ "Action": "aps:QueryMetric" }), "Statement.Action: matches no action");
    refused(json!({ "Action": "QueryMetrics" }), "Statement.Action: matches no action");
    refused(json!({ "Action": "a*:QueryMetrics" }), "Statement.Action: matches no action");
    refused(json!({ "Resource": null }), "Statement.Resource: missing");
    refused(json!({ "Resource": "workspace/ws-1" }), "Statement.Resource: must be");
    refused(json!({ "Resource": "arn:aws:aps:*:*:workspace/${aws:username}" }), "Statement.Resource: holds a policy variable");
    refused(json!({ "Sid": "x".repeat(129) }), "Statement.Sid: must be");
    let condition = |condition: Value, text: &str| refused(json!({ "Condition": condition }), &format!("Statement.Condition.{text}"));
    condition(json!({ "StringMatches": {} }), "StringMatches: not a condition operator");
    condition(json!({ "ForSomeValues:StringEquals": {} }), "ForSomeValues:StringEquals: not a condition operator");
    condition(json!({ "NullIfExists": {} }), "NullIfExists: not a condition operator");
    condition(json!({ "ForAnyValue:Bool": {} }), "ForAnyValue:Bool: not a condition operator");
    condition(json!({ "StringEquals": { "aws:Username": "u" } }), "StringEquals.aws:Username: not a condition key");
    condition(json!({ "StringEquals": { "sts:ExternalId": "u" } }), "StringEquals.sts:ExternalId: not a condition key");
    condition(json!({ "StringEquals": { "issuer.example:sub": "u" } }), "StringEquals.issuer.example:sub: not a condition key");
    condition(json!({ "StringEquals": { "aws:SourceIp": "10.0.0.0" } }), "StringEquals.aws:SourceIp: the operator does not fit");
    condition(json!({ "StringEquals": { "aws:TagKeys": "a" } }), "StringEquals.aws:TagKeys: the operator does not fit");
    condition(json!({ "StringLike": { "aps:LabelMatchers": "a=\"b\"" } }), "StringLike.aps:LabelMatchers: the operator does not fit");
    condition(json!({ "StringEquals": { "aps:LabelMatchers": "a=b" } }), "StringEquals.aps:LabelMatchers: not label matchers");
    condition(json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/33" } }), "IpAddress.aws:SourceIp: must be");
    condition(json!({ "Bool": { "aws:SecureTransport": "yes" } }), "Bool.aws:SecureTransport: must be");
    condition(json!({ "DateLessThan": { "aws:CurrentTime": "tomorrow" } }), "DateLessThan.aws:CurrentTime: must be");
    condition(json!({ "StringLike": { "aws:PrincipalArn": "${aws:x}" } }), "StringLike.aws:PrincipalArn: holds a policy variable");
    condition(json!({ "Bool": { "aws:SecureTransport": true, "AWS:securetransport": true } }), "Bool.");
    let deny = json!({ "Effect": "Deny", "Condition": { "StringEquals": { "aps:LabelMatchers": "a=\"b\"" } } });
    refused(deny, "Statement.Condition: not a condition key");
    let whole = |json: Value, text: &str| {
        let error = parse(PolicyKind::Identity, &json).unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    };
    whole(json!([]), "policy: must be an object");
    whole(json!({ "Version": "2008-10-17" }), "Version: must be");
    whole(json!({ "Statement": [] }), "Statement: must be");
    whole(json!({ "Version": "2012-10-17" }), "Statement: missing");
    whole(json!({ "Statement": statement(&json!({}))["Statement"] }), "Version: missing");
    let twice = statement(&json!({ "Sid": "a" }))["Statement"].clone();
    whole(json!({ "Version": "2012-10-17", "Statement": [twice, twice] }), "Statement[1].Sid: stands twice");
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}}"#;
    assert!(matches!(Policy::parse(PolicyKind::Identity, text).unwrap_err().fact, PolicyFact::Json { .. }));
}

#[test]
fn actions_of_other_services_are_read_and_mean_nothing_here() {
    assert!(!allows(&json!({ "Action": "ec2:DescribeSubnets" })));
    assert!(allows(&json!({ "Action": ["ec2:DescribeSubnets", "APS:querymetrics"] })));
    assert!(allows(&json!({ "Action": null, "NotAction": "ec2:*" })));
    assert!(!allows(&json!({ "Action": null, "NotAction": "aps:Query*" })));
    assert!(allows(&json!({ "Action": "aps:Q????Metrics" })));
    assert!(allows(&json!({ "Action": "*" })));
}

#[test]
fn resources_are_matched_whole() {
    assert!(allows(&json!({ "Resource": WORKSPACE })));
    assert!(allows(&json!({ "Resource": ["arn:aws:aps:*:*:workspace/ws-2", "arn:aws:aps:*:*:workspace/ws-?"] })));
    assert!(!allows(&json!({ "Resource": "arn:aws:aps:*:*:workspace/ws" })));
    assert!(!allows(&json!({ "Resource": null, "NotResource": "arn:aws:aps:*:*:workspace/*" })));
    assert!(allows(&json!({ "Resource": null, "NotResource": "arn:aws:aps:*:*:workspace/ws-2" })));
}

#[test]
fn every_operator_compares_as_iam_does() {
    let (resource_tags, request_tags) =
        (Tags::from([("team".into(), "a".into())]), Tags::from([("x".into(), "1".into()), ("y".into(), "2".into())]));
    let environment = Environment { resource_tags: &resource_tags, request_tags: &request_tags, ..here() };
    let table = json!([
        [{ "StringEquals": { "aws:ResourceTag/team": ["b", "a"] } }, true],
        [{ "StringEquals": { "aws:resourcetag/team": "a" } }, true],
        [{ "StringEquals": { "aws:ResourceTag/Team": "a" } }, false],
        [{ "StringEqualsIfExists": { "aws:ResourceTag/Team": "a" } }, true],
        [{ "StringEqualsIfExists": { "aws:ResourceTag/team": "b" } }, false],
        [{ "StringEquals": { "aws:ResourceTag/team": "*" } }, false],
        [{ "StringNotEquals": { "aws:ResourceTag/team": ["b", "c"] } }, true],
        [{ "StringNotEquals": { "aws:ResourceTag/team": ["b", "a"] } }, false],
        [{ "StringNotEquals": { "aws:ResourceTag/none": "a" } }, true],
        [{ "StringLike": { "aws:PrincipalArn": "arn:aws:iam::*:user/?" } }, true],
        [{ "StringLike": { "aws:PrincipalTag/team": "A*" } }, false],
        [{ "StringNotLike": { "aws:PrincipalTag/team": "a*" } }, false],
        [{ "StringEquals": { "aws:RequestTag/x": "1" } }, true],
        [{ "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", "::1"] } }, true],
        [{ "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } }, false],
        [{ "NotIpAddress": { "aws:SourceIp": "11.0.0.0/8" } }, true],
        [{ "Bool": { "aws:SecureTransport": true } }, true],
        [{ "Bool": { "aws:SecureTransport": "false" } }, false],
        [{ "DateLessThan": { "aws:CurrentTime": "2026-01-01T00:00:01Z" } }, true],
        [{ "DateLessThan": { "aws:CurrentTime": "2026-01-01T00:00:00Z" } }, false],
        [{ "DateGreaterThan": { "aws:CurrentTime": "2025-12-31T23:59:59Z" } }, true],
        [{ "Null": { "aws:ResourceTag/team": false, "aws:ResourceTag/none": "true" } }, true],
        [{ "Null": { "aws:ResourceTag/team": true } }, false],
        [{ "ForAllValues:StringEquals": { "aws:TagKeys": ["x", "y", "z"] } }, true],
        [{ "ForAllValues:StringEquals": { "aws:TagKeys": ["x"] } }, false],
        [{ "ForAnyValue:StringEquals": { "aws:TagKeys": ["x"] } }, true],
        [{ "ForAnyValue:StringLike": { "aws:TagKeys": ["z*"] } }, false],
        [{ "ForAllValues:StringNotEquals": { "aws:TagKeys": ["x"] } }, false],
        [{ "ForAnyValue:StringNotEquals": { "aws:TagKeys": ["x"] } }, true],
        [{ "ForAllValues:StringEquals": { "aws:ResourceTag/none": "a" } }, true],
        [{ "ForAnyValue:StringEquals": { "aws:ResourceTag/none": "a" } }, false],
        [{ "StringEquals": { "aws:ResourceTag/team": "a" }, "Bool": { "aws:SecureTransport": false } }, false],
    ]);
    for row in table.as_array().unwrap() {
        let decision = decide(&json!({ "Condition": row[0] }), Action::QueryMetrics, &environment);
        assert_eq!(decision.is_allowed(), row[1].as_bool().unwrap(), "{row}");
    }
    let bare = Environment::at(NOW_MS, None, false);
    for (condition, is_allowed) in [
        (json!({ "IpAddress": { "aws:SourceIp": "0.0.0.0/0" } }), false),
        (json!({ "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } }), true),
        (json!({ "ForAllValues:StringEquals": { "aws:TagKeys": "x" } }), true),
        (json!({ "ForAnyValue:StringEquals": { "aws:TagKeys": "x" } }), false),
    ] {
        assert_eq!(decide(&json!({ "Condition": condition }), Action::QueryMetrics, &bare).is_allowed(), is_allowed, "{condition}");
    }
    let removed = ["x".to_owned()];
    let untagging = Environment { removed_tags: &removed, ..bare };
    assert!(
        decide(&json!({ "Condition": { "ForAnyValue:StringEquals": { "aws:TagKeys": "x" } } }), Action::UntagResource, &untagging)
            .is_allowed()
    );
}

#[test]
fn matchers_are_forced_only_on_actions_that_take_them() {
    let narrowed = json!({ "Condition": { "StringEquals": { "aps:LabelMatchers": ["{team=\"a\"}", "{team=\"b\",env=\"dev\"}"] } } });
    let decision = decide(&narrowed, Action::QueryMetrics, &here());
    let labels = |team, env| Labels::from_pairs([("team", team), ("env", env)]);
    assert!(decision.is_allowed());
    assert!(decision.label_matchers.admits(&labels("a", "prod")) && decision.label_matchers.admits(&labels("b", "dev")));
    assert!(!decision.label_matchers.admits(&labels("b", "prod")));
    assert_eq!(decision.required_labels, LabelScope::All);
    for action in Action::ALL {
        let is_allowed = decide(&narrowed, *action, &here()).is_allowed();
        assert_eq!(is_allowed, action.takes_label_matchers(), "{action}: what cannot be narrowed must not be allowed");
    }
    let required = json!({ "Condition": { "StringEquals": { "aps:RequiredLabels": "{team=~\"a|b\"}" } } });
    let decision = decide(&required, Action::RemoteWrite, &here());
    assert!(
        decision.is_allowed() && decision.required_labels.admits(&labels("b", "")) && !decision.required_labels.admits(&labels("c", ""))
    );
    assert!(!decide(&required, Action::QueryMetrics, &here()).is_allowed());
    let if_exists = json!({ "Condition": { "StringEqualsIfExists": { "aps:LabelMatchers": "{team=\"a\"}" } } });
    assert_eq!(decide(&if_exists, Action::DescribeWorkspace, &here()).label_matchers, LabelScope::All);
    assert!(matches!(decide(&if_exists, Action::GetSeries, &here()).label_matchers, LabelScope::AnyOf(_)));
}

fn narrowed_to(team: &str) -> Policy {
    let condition = json!({ "StringEquals": { "aps:LabelMatchers": format!("{{team=\"{team}\"}}") } });
    parse(PolicyKind::Identity, &statement(&json!({ "Condition": condition }))).unwrap()
}

fn evaluated(set: &PolicySet<'_>, action: Action) -> Decision {
    let (caller, environment) = (caller(), here());
    let context = Context { action, environment: &environment, caller: Some(&caller), web_identity: None, external_id: None };
    evaluate(set, &context, WORKSPACE)
}

#[test]
fn permissions_widen_and_sessions_narrow_what_is_forced() {
    let (a, b, all) = (narrowed_to("a"), narrowed_to("b"), parse(PolicyKind::Identity, &statement(&json!({}))).unwrap());
    let labels = |team| Labels::from_pairs([("team", team)]);
    let scope = |identity: &[NamedPolicy<'_>], session| {
        let decision = evaluated(&PolicySet { identity, resource: None, session }, Action::QueryMetrics);
        assert!(decision.is_allowed());
        decision.label_matchers
    };
    let both = scope(&[("a", &a), ("b", &b)], None);
    assert!(both.admits(&labels("a")) && both.admits(&labels("b")) && !both.admits(&labels("c")));
    assert_eq!(scope(&[("a", &a), ("all", &all)], None), LabelScope::All);
    let session = scope(&[("a", &a), ("b", &b)], Some(("s", &a)));
    assert!(session.admits(&labels("a")) && !session.admits(&labels("b")));
    assert!(!scope(&[("a", &a)], Some(("s", &b))).admits(&labels("a")));
    let set = PolicySet { identity: &[("a", &a)], resource: None, session: Some(("s", &a)) };
    assert_eq!(evaluated(&set, Action::DescribeWorkspace).denial, Some(Denial::NotAllowed));
    let set = PolicySet { identity: &[("all", &all)], ..set };
    assert_eq!(evaluated(&set, Action::DescribeWorkspace).denial, Some(Denial::NotInSession));
}

fn resource_policy(principal: &Value, effect: &str) -> Policy {
    let changes = json!({ "Effect": effect, "Principal": principal, "Resource": WORKSPACE });
    parse(PolicyKind::Resource, &statement(&changes)).unwrap()
}

#[test]
fn resource_policies_count_for_compatible_actions_only() {
    let by_resource = |policy: &Policy, action| {
        evaluated(&PolicySet { identity: &[], resource: Some(("resource", policy)), session: None }, action).is_allowed()
    };
    let direct = resource_policy(&json!({ "AWS": [USER] }), "Allow");
    for action in Action::ALL {
        assert_eq!(by_resource(&direct, *action), action.honours_resource_policy(), "{action}");
    }
    for (principal, is_allowed) in [
        (json!("*"), true),
        (json!({ "AWS": "*" }), true),
        (json!({ "AWS": "arn:aws:iam::000000000000:user/v" }), false),
        (json!({ "AWS": "000000000000" }), false),
        (json!({ "AWS": "arn:aws:iam::000000000000:root" }), false),
    ] {
        assert_eq!(by_resource(&resource_policy(&principal, "Allow"), Action::QueryMetrics), is_allowed, "{principal}");
    }
    let all = parse(PolicyKind::Identity, &statement(&json!({}))).unwrap();
    let denied = |principal: Value, action| {
        let policy = resource_policy(&principal, "Deny");
        let set = PolicySet { identity: &[("all", &all)], resource: Some(("resource", &policy)), session: None };
        evaluated(&set, action).denial
    };
    assert_eq!(denied(json!({ "AWS": "000000000000" }), Action::QueryMetrics), Some(Denial::Explicit));
    assert_eq!(denied(json!({ "AWS": "111111111111" }), Action::QueryMetrics), None);
    assert_eq!(denied(json!("*"), Action::DeleteResourcePolicy), None, "nobody can be locked out of mending a policy");
}

#[test]
fn a_resource_policy_is_about_its_workspace() {
    let workspace: Arn = WORKSPACE.parse().unwrap();
    assert_eq!(resource_policy(&json!("*"), "Allow").check_workspace(&workspace), Ok(()));
    for changes in [
        json!({ "Principal": "*" }),
        json!({ "Principal": "*", "Resource": [WORKSPACE, "arn:aws:aps:local:000000000000:workspace/ws-2"] }),
        json!({ "Principal": "*", "Resource": WORKSPACE, "Action": ["aps:QueryMetrics", "aps:DeleteWorkspace"] }),
        json!({ "Principal": "*", "Resource": null, "NotResource": WORKSPACE }),
    ] {
        let policy = parse(PolicyKind::Resource, &statement(&changes)).unwrap();
        assert!(policy.check_workspace(&workspace).is_err(), "{changes}");
    }
    for principal in [
        json!({}),
        json!({ "AWS": [] }),
        json!({ "Service": "x" }),
        json!({ "Federated": "x" }),
        json!({ "AWS": "u" }),
        json!({ "AWS": ["*", "u"] }),
        json!({ "AWS": "*", "Service": "x" }),
        json!({ "AWS": "arn:aws:iam::0:user/*" }),
        json!("u"),
    ] {
        let error = parse(PolicyKind::Resource, &statement(&json!({ "Principal": principal }))).unwrap_err();
        assert!(error.to_string().starts_with("Statement.Principal"), "{error}");
    }
    assert_eq!(parse(PolicyKind::Resource, &statement(&json!({}))).unwrap_err().to_string(), "Statement.Principal: missing");
}

fn trust(principal: &Value, action: &str, condition: &Value) -> Policy {
    let changes = json!({ "Principal": principal, "Action": action, "Resource": null, "Condition": condition });
    parse(PolicyKind::Trust, &statement(&changes)).unwrap()
}

#[test]
fn roles_trust_whom_they_name() {
    let environment = here();
    let identity = WebIdentity {
        issuer: "oidc.example/id".into(),
        subject: "system:serviceaccount:ns:sa".into(),
        audiences: vec!["sts.amazonaws.com".into(), "other".into()],
    };
    let web = |policy: &Policy| {
        let action = Action::AssumeRoleWithWebIdentity;
        evaluate_trust(
            policy,
            &Context { action, environment: &environment, caller: None, web_identity: Some(&identity), external_id: None },
        )
    };
    let federated = json!({ "Federated": "arn:aws:iam::000000000000:oidc-provider/oidc.example/id" });
    let with_web = "sts:AssumeRoleWithWebIdentity";
    let claims =
        |sub: &str, aud: &str| json!({ "StringLike": { "oidc.example/id:sub": sub }, "StringEquals": { "oidc.example/id:aud": aud } });
    assert_eq!(web(&trust(&federated, with_web, &json!({}))), Trust::Granted);
    assert_eq!(
        web(&trust(&json!({ "Federated": "oidc.example/id" }), with_web, &claims("system:serviceaccount:ns:*", "other"))),
        Trust::Granted
    );
    assert_eq!(web(&trust(&federated, with_web, &claims("system:serviceaccount:other:*", "other"))), Trust::Refused);
    assert_eq!(web(&trust(&federated, with_web, &claims("*", "another"))), Trust::Refused);
    assert_eq!(web(&trust(&federated, "sts:AssumeRole", &json!({}))), Trust::Refused);
    assert_eq!(web(&trust(&json!({ "Federated": "oidc.example" }), with_web, &json!({}))), Trust::Refused);
    for everyone in [json!("*"), json!({ "AWS": "000000000000" })] {
        assert_ne!(web(&trust(&everyone, "sts:*", &json!({}))), Trust::Granted, "a web identity is let in by its issuer only");
    }
    let mixed = trust(&json!({ "AWS": "*", "Federated": "oidc.example/id" }), "sts:*", &json!({}));
    assert_eq!(web(&mixed), Trust::Granted);
    assert_eq!(Policy::parse(PolicyKind::Trust, &mixed.to_json()), Ok(mixed));
    let mut barred = trust(&federated, with_web, &json!({}));
    barred.statements.extend(trust(&json!("*"), "sts:*", &json!({ "StringNotLike": { "oidc.example/id:sub": "*:other" } })).statements);
    barred.statements[1].effect = Effect::Deny;
    assert_eq!(web(&barred), Trust::Refused, "what keeps everyone out keeps web identities out");
    let caller = caller();
    let signed = |policy: &Policy, external_id| {
        let action = Action::AssumeRole;
        evaluate_trust(policy, &Context { action, environment: &environment, caller: Some(&caller), web_identity: None, external_id })
    };
    let external = json!({ "StringEquals": { "sts:ExternalId": "42" } });
    assert_eq!(signed(&trust(&json!({ "AWS": USER }), "sts:AssumeRole", &json!({})), None), Trust::Granted);
    assert_eq!(signed(&trust(&json!({ "AWS": "000000000000" }), "sts:AssumeRole", &json!({})), None), Trust::IfAllowed);
    assert_eq!(signed(&trust(&json!({ "AWS": USER }), "sts:AssumeRole", &external), Some("42")), Trust::Granted);
    assert_eq!(signed(&trust(&json!({ "AWS": USER }), "sts:AssumeRole", &external), None), Trust::Refused);
    assert_eq!(signed(&trust(&federated, "sts:AssumeRole", &json!({})), None), Trust::Refused);
    let resource = json!({ "Principal": "*", "Action": "sts:AssumeRole" });
    assert_eq!(
        parse(PolicyKind::Trust, &statement(&resource)).unwrap_err().to_string(),
        "Statement.Resource: not an element that is supported here"
    );
    let other = json!({ "Principal": "*", "Action": "aps:*", "Resource": null });
    assert!(parse(PolicyKind::Trust, &statement(&other)).is_err());
}

#[test]
fn managed_policies_allow_what_their_names_say() {
    let allowed = |name: &str| {
        let policy = managed(name).unwrap().policy();
        let set = PolicySet { identity: &[(name, policy)], resource: None, session: None };
        let decided = Action::ALL.iter().filter(|action| evaluated(&set, **action).is_allowed());
        decided.map(|action| action.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(allowed("AmazonPrometheusRemoteWriteAccess"), ["aps:RemoteWrite"]);
    assert_eq!(
        allowed("arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess"),
        ["aps:QueryMetrics", "aps:GetLabels", "aps:GetSeries", "aps:GetMetricMetadata"]
    );
    let full: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).filter(|name| name.starts_with("aps:")).collect();
    assert_eq!(allowed("AmazonPrometheusFullAccess"), full);
    for name in allowed("FlotillaReadOnlyAccess") {
        let operation = name.strip_prefix("aps:").unwrap();
        let reads = ["Describe", "Get", "List", "Query", "Format", "Parse", "RemoteRead"];
        assert!(reads.iter().any(|read| operation.starts_with(read)), "{name}");
    }
    assert_eq!(managed_names().count(), 4);
    assert!(managed("AdministratorAccess").is_none());
}

#[test]
fn hostile_texts_are_refused_within_bounds() {
    let refused = |text: &str| assert!(Policy::parse(PolicyKind::Identity, text).is_err());
    refused(&"[".repeat(20_000));
    refused(&format!("{{\"Statement\":{}", "{\"Condition\":".repeat(1_000)));
    refused(&format!("{{\"Version\":\"{}\"}}", "x".repeat(1 << 20)));
    let one = statement(&json!({ "Action": "*" }))["Statement"].clone();
    refused(&json!({ "Version": "2012-10-17", "Statement": vec![one.clone(); 3_000] }).to_string());
    refused(&json!({ "Version": "2012-10-17", "Statement": vec![one; 201] }).to_string());
    let list = |n: usize| statement(&json!({ "Action": vec!["*"; n] })).to_string();
    refused(&list(257));
    assert!(Policy::parse(PolicyKind::Identity, &list(256)).is_ok());
    let stars = "*".repeat(18_000);
    let policy = parse(PolicyKind::Identity, &statement(&json!({ "Resource": stars }))).unwrap_err();
    assert_eq!(policy.place.to_string(), "Statement.Resource");
    let stars = format!("arn:{}x", "a*".repeat(9_000));
    let policy = parse(PolicyKind::Identity, &statement(&json!({ "Resource": stars }))).unwrap();
    let (caller, environment) = (caller(), here());
    let context =
        Context { action: Action::QueryMetrics, environment: &environment, caller: Some(&caller), web_identity: None, external_id: None };
    let set = PolicySet { identity: &[("p", &policy)], resource: None, session: None };
    assert!(!evaluate(&set, &context, &format!("arn:{}", "a".repeat(1_500))).is_allowed());
}

#[test]
fn a_document_is_stored_as_it_was_written() {
    let text = format!("  {} ", statement(&json!({ "Sid": "s" })));
    let document = PolicyDocument::parse(PolicyKind::Identity, &text).unwrap();
    let stored = serde_json::to_string(&document).unwrap();
    let read: PolicyDocument = serde_json::from_str(&stored).unwrap();
    assert_eq!((read.text(), &read), (text.as_str(), &document));
    assert!(serde_json::from_str::<PolicyDocument>(r#"{"kind":"identity","text":"{}"}"#).is_err());
}

/// A policy as the oracle sees it: patterns of actions, a pattern of resources, a network or none.
type Rule = (bool, Vec<&'static str>, &'static str, Option<&'static str>);

fn rule() -> impl Strategy<Value = Rule> {
    let actions = prop::sample::subsequence(vec!["*", "aps:*", "aps:Query*", "aps:RemoteWrite", "aps:Get*", "aps:queryMETRICS"], 1..3);
    let resource =
        prop::sample::select(vec!["*", WORKSPACE, "arn:aws:aps:*:workspace/*", "arn:aws:aps:*:*:workspace/ws-2", "arn:aws:iam::*"]);
    let network = prop::option::of(prop::sample::select(vec!["10.0.0.0/8", "11.0.0.0/8"]));
    (prop::bool::weighted(0.7), actions, resource, network)
}

fn policy_of(rules: &[Rule], kind: PolicyKind) -> Policy {
    let statements: Vec<Value> = rules
        .iter()
        .map(|(allows, actions, resource, network)| {
            let mut statement = json!({ "Effect": if *allows { "Allow" } else { "Deny" }, "Action": actions, "Resource": resource });
            if let Some(network) = network {
                statement["Condition"] = json!({ "IpAddress": { "aws:SourceIp": network } });
            }
            if kind == PolicyKind::Resource {
                statement["Principal"] = json!("*");
            }
            statement
        })
        .collect();
    parse(kind, &json!({ "Version": "2012-10-17", "Statement": statements })).unwrap()
}

/// Whether some rule of that effect is about the request.
fn oracle(rules: &[Rule], allowing: bool, action: Action) -> bool {
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => matches(rest, text) || text.split_first().is_some_and(|(_, less)| matches(pattern, less)),
            (Some((p, rest)), Some((t, less))) => p == t && matches(rest, less),
            _ => false,
        }
    }
    rules.iter().any(|(allows, actions, resource, network)| {
        let name = action.as_str().to_lowercase();
        *allows == allowing
            && actions.iter().any(|pattern| matches(pattern.to_lowercase().as_bytes(), name.as_bytes()))
            && matches(resource.as_bytes(), WORKSPACE.as_bytes())
            && network.is_none_or(|network| network.starts_with("10."))
    })
}

proptest! {
    #[test]
    fn a_denial_wins_then_a_permission_of_identity_or_resource_and_session(
        identity in prop::collection::vec(rule(), 1..4),
        resource in prop::option::of(prop::collection::vec(rule(), 1..3)),
        session in prop::option::of(prop::collection::vec(rule(), 1..3)),
        at in 0..Action::ALL.len(),
    ) {
        let action = Action::ALL[at];
        let counted = resource.clone().filter(|_| action.honours_resource_policy()).unwrap_or_default();
        let denied = [Some(&identity), Some(&counted), session.as_ref()].into_iter().flatten().any(|rules| oracle(rules, false, action));
        let granted = oracle(&identity, true, action) || oracle(&counted, true, action);
        let expected = !denied && granted && session.as_ref().is_none_or(|rules| oracle(rules, true, action));
        let policy = policy_of(&identity, PolicyKind::Identity);
        let resource = resource.map(|rules| policy_of(&rules, PolicyKind::Resource));
        let session = session.map(|rules| policy_of(&rules, PolicyKind::Identity));
        let set = PolicySet {
            identity: &[("identity", &policy)],
            resource: resource.as_ref().map(|policy| ("resource", policy)),
            session: session.as_ref().map(|policy| ("session", policy)),
        };
        let decision = evaluated(&set, action);
        prop_assert_eq!(decision.is_allowed(), expected);
        prop_assert_eq!(decision.denial == Some(Denial::Explicit), denied);
        prop_assert_eq!(decision.statement.is_some(), expected || denied);
    }

    #[test]
    fn what_is_printed_is_read_back(rules in prop::collection::vec(rule(), 1..4), sid in prop::option::of("[a-z]{1,3}")) {
        let mut policy = policy_of(&rules, PolicyKind::Resource);
        policy.statements[0].sid = sid;
        policy.id = Some("id".into());
        let again = Policy::parse(PolicyKind::Resource, &policy.to_json()).unwrap();
        prop_assert_eq!(again.to_json(), policy.to_json());
        prop_assert_eq!(again, policy);
    }

    #[test]
    fn arbitrary_texts_never_panic(text in ".{0,60}", value in "[ -~]{0,30}", name in "[A-Za-z:/.]{0,20}") {
        for kind in [PolicyKind::Identity, PolicyKind::Resource, PolicyKind::Trust] {
            let _ = Policy::parse(kind, &text);
            for condition in [json!({ name.clone(): value }), json!({ name.clone(): { value.clone(): value } }), json!({ "StringEquals": { name.clone(): value } })] {
                let _ = parse(kind, &statement(&json!({ "Principal": { name.clone(): value }, "Action": value, "Resource": value, "Condition": condition })));
            }
        }
    }
}

#[test]
fn every_element_is_printed() {
    let condition = json!({
        "StringLike": { "aws:ResourceTag/Team": ["a*", "${*}"], "aws:PrincipalTag/x": ["y"] },
        "ForAllValues:StringEqualsIfExists": { "aws:TagKeys": ["k"] },
        "NotIpAddress": { "aws:SourceIp": ["10.0.0.0/8"] },
        "Null": { "aws:RequestTag/t": [false] },
        "StringEquals": { "aps:LabelMatchers": ["{a=\"b\"}"], "aws:PrincipalArn": [USER] },
    });
    let changes = json!({
        "Sid": "s", "Principal": { "AWS": [USER, "000000000000"] }, "Action": null, "NotAction": ["aps:Delete*"],
        "Resource": null, "NotResource": ["arn:aws:aps:*"], "Condition": condition,
    });
    let policy = parse(PolicyKind::Resource, &statement(&changes)).unwrap();
    let again = Policy::parse(PolicyKind::Resource, &policy.to_json()).unwrap();
    assert_eq!(again, policy);
    let printed: BTreeMap<String, Value> = serde_json::from_str(&policy.to_json()).unwrap();
    let mut expected = statement(&changes)["Statement"].clone();
    expected["Condition"]["Null"]["aws:RequestTag/t"] = json!(["false"]);
    assert_eq!(printed["Statement"], json!([expected]));
    assert!(trust(&json!({ "Federated": "a.b" }), "sts:*", &json!({})).to_json().contains(r#""Federated":["a.b"]"#));
    assert_eq!(Home::default().workspace("ws-1").to_string(), WORKSPACE);
}
