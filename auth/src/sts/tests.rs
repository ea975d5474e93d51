use super::*;
use crate::Secret;
use crate::access::{Root, View};
use crate::action::Action;
use crate::arn::{Home, Resource};
use crate::audit::RequestId;
use crate::codec;
use crate::directory::{Command, Directory, Holder, SealedSecret};
use crate::id::{Id, IdKind};
use crate::policy::{Environment, Tags};
use crate::principal::{Credential, Identity, Principal};
use crate::session::SessionKeys;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ROLE: &str = "arn:aws:iam::000000000000:role/writer";
const ENTROPY: [u8; GRANT_ENTROPY_BYTES] = [7; GRANT_ENTROPY_BYTES];
const REQUEST: RequestId = RequestId([0; 16]);

#[derive(serde::Deserialize)]
struct Tokens {
    now_ms: i64,
    jwks: Value,
    accepted: BTreeMap<String, String>,
    refused: BTreeMap<String, (String, String)>,
}

fn tokens() -> Tokens {
    serde_json::from_str(include_str!("../../tests/data/jwt_tokens.json")).unwrap()
}

fn issuers() -> Issuers {
    let audiences = vec![DEFAULT_AUDIENCE.to_owned(), "other".to_owned()];
    let keys = Some(PublicKeys::parse(&tokens().jwks.to_string()).unwrap());
    let known = Issuer { url: "https://oidc.example/id".into(), audiences: audiences.clone(), keys };
    Issuers::new([known, Issuer { url: "https://new.example".into(), audiences, keys: None }])
}

#[test]
fn tokens_of_a_configured_issuer_are_accepted() {
    let (issuers, tokens) = (issuers(), tokens());
    for (name, token) in &tokens.accepted {
        let verified = issuers.verify(&format!(" {token}\n"), tokens.now_ms).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(verified.identity.issuer, "oidc.example/id", "{name}");
        assert_eq!(verified.identity.subject, "system:serviceaccount:ns:sa", "{name}");
        let audience = if name == "several audiences" { "other" } else { DEFAULT_AUDIENCE };
        assert_eq!(verified.audience, audience, "{name}");
    }
}

#[test]
fn every_other_token_is_refused_by_its_fact() {
    let (issuers, tokens) = (issuers(), tokens());
    for (name, (fact, token)) in &tokens.refused {
        let error = issuers.verify(token, tokens.now_ms).unwrap_err();
        let found = format!("{error:?}");
        assert_eq!(found.split(' ').next().unwrap(), fact, "{name}");
        let code = match fact.as_str() {
            "Expired" => ("ExpiredTokenException", 400),
            "NotYet" => ("IDPRejectedClaim", 403),
            "NoKeys" => ("IDPCommunicationError", 400),
            _ => ("InvalidIdentityToken", 400),
        };
        assert_eq!((error.code(), error.status()), code, "{name}");
    }
    assert_eq!(issuers.verify(&"a".repeat(20_001), 0), Err(TokenError::Malformed));
    for now_ms in [i64::MIN, i64::MAX] {
        assert!(issuers.verify(&tokens.accepted["RS256"], now_ms).is_err());
    }
}

#[test]
fn no_character_of_a_token_can_be_changed() {
    let (issuers, tokens) = (issuers(), tokens());
    let token = &tokens.accepted["ES256"];
    for (at, old) in token.char_indices() {
        for new in ['A', 'Q', '_', '.'] {
            let changed = format!("{}{new}{}", &token[..at], &token[at + 1..]);
            // The last character of a part holds bits that are not part of what it encodes, which must be zero.
            assert_eq!(issuers.verify(&changed, tokens.now_ms).is_ok(), new == old, "{changed}");
        }
    }
}

#[test]
fn a_token_without_key_id_needs_a_set_of_one_key() {
    let tokens = tokens();
    let only = json!({ "keys": [tokens.jwks["keys"][0]] });
    let keys = Some(PublicKeys::parse(&only.to_string()).unwrap());
    let issuer = Issuer { url: "https://oidc.example/id".into(), audiences: vec![DEFAULT_AUDIENCE.into()], keys };
    assert!(Issuers::new([issuer]).verify(&tokens.refused["no key id"].1, tokens.now_ms).is_ok());
}

#[test]
fn the_rfcs_own_signatures_verify() {
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let set = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let signature =
        crate::text::from_base64_url("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q").unwrap();
    let verify = |message: &str| PublicKeys::parse(set).unwrap().verify(None, keys::Algorithm::Es256, message.as_bytes(), &signature);
    assert_eq!(verify(&format!("eyJhbGciOiJFUzI1NiJ9.{claims}")), Some(true));
    assert_eq!(verify(&format!("eyJhbGciOiJFUzI1NiJ8.{claims}")), Some(false));
}

#[test]
fn key_sets_are_read_within_bounds() {
    let parse = |json: Value| PublicKeys::parse(&json.to_string());
    let first = tokens().jwks["keys"][0].clone();
    assert!(parse(json!({ "keys": [first], "more": 1 })).is_ok());
    assert_eq!(parse(json!({ "keys": [] })), Err(KeysError::NoKey));
    assert_eq!(parse(json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] })), Err(KeysError::NoKey));
    assert_eq!(parse(json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }] })), Err(KeysError::NoKey));
    assert_eq!(parse(json!({ "keys": vec![first; 101] })), Err(KeysError::TooLarge));
    assert_eq!(PublicKeys::parse(&" ".repeat((1 << 20) + 1)), Err(KeysError::TooLarge));
    assert!(matches!(PublicKeys::parse("{}"), Err(KeysError::Json { .. })));
}

fn form(changes: &[(&str, Option<&str>)]) -> String {
    let mut form = BTreeMap::from([
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fwriter"),
        ("RoleSessionName", "s%40x"),
    ]);
    for (name, value) in changes {
        match value {
            Some(value) => form.insert(name, value),
            None => form.remove(name),
        };
    }
    form.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[test]
fn requests_are_read_as_clients_send_them() {
    let session =
        AssumeRole { role: ROLE.parse().unwrap(), session_name: "s@x".into(), duration_s: 3_600, policy: None, external_id: None };
    let parse = |changes: &[(&str, Option<&str>)]| StsRequest::parse(form(changes).as_bytes());
    assert_eq!(parse(&[]), Ok(StsRequest::AssumeRole(session.clone())));
    let more = [("DurationSeconds", Some("900")), ("Policy", Some("%7B%7D")), ("ExternalId", Some("4+2"))];
    let more_session = AssumeRole { duration_s: 900, policy: Some("{}".into()), external_id: Some("4 2".into()), ..session.clone() };
    assert_eq!(parse(&more), Ok(StsRequest::AssumeRole(more_session)));
    let web = [("Action", Some("AssumeRoleWithWebIdentity")), ("WebIdentityToken", Some("eyJh.e30.c2ln%0A"))];
    let expected = AssumeRoleWithWebIdentity { session, token: Secret::from("eyJh.e30.c2ln") };
    assert_eq!(parse(&web), Ok(StsRequest::AssumeRoleWithWebIdentity(expected)));
    assert_eq!(StsRequest::parse(b"Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Signature=0"), Ok(StsRequest::GetCallerIdentity));
}

#[test]
fn requests_are_refused_by_parameter() {
    let code = |changes: &[(&str, Option<&str>)]| {
        let error = StsRequest::parse(form(changes).as_bytes()).unwrap_err();
        assert_eq!(error.status(), 400);
        (error.code(), error.to_string())
    };
    let is = |changes: &[(&str, Option<&str>)], expected: &str, text: &str| {
        let (code, message) = code(changes);
        assert_eq!(code, expected, "{message}");
        assert!(message.contains(text), "{message}");
    };
    is(&[("Version", None)], "InvalidAction", "AssumeRole");
    is(&[("Version", Some("2012-01-01"))], "InvalidAction", "2012-01-01");
    is(&[("Action", Some("GetFederationToken"))], "InvalidAction", "GetFederationToken");
    is(&[("RoleArn", None)], "MissingParameter", "RoleArn");
    is(&[("RoleSessionName", None)], "MissingParameter", "RoleSessionName");
    is(&[("Action", Some("AssumeRoleWithWebIdentity"))], "MissingParameter", "WebIdentityToken");
    is(&[("Action", Some("AssumeRoleWithWebIdentity")), ("WebIdentityToken", Some("a%0A%0A"))], "ValidationError", "WebIdentityToken");
    is(&[("RoleArn", Some("writer"))], "ValidationError", "RoleArn");
    is(&[("RoleSessionName", Some("s"))], "ValidationError", "RoleSessionName");
    is(&[("RoleSessionName", Some("s%2Fx"))], "ValidationError", "RoleSessionName");
    for seconds in ["899", "43201", "+900", "1e3", ""] {
        is(&[("DurationSeconds", Some(seconds))], "ValidationError", "DurationSeconds");
    }
    is(&[("Policy", Some(&"x".repeat(2_049)))], "ValidationError", "Policy");
    // Ignoring what narrows would give more than was asked for.
    is(&[("PolicyArns.member.1.arn", Some("x"))], "ValidationError", "PolicyArns");
    is(&[("Tags.member.1.Key", Some("x"))], "ValidationError", "Tags");
    let twice = format!("{}&Action=AssumeRole", form(&[]));
    assert_eq!(StsRequest::parse(twice.as_bytes()), Err(StsError::NotForm));
    assert_eq!(StsRequest::parse(b"\xff=1"), Err(StsError::NotForm));
    assert_eq!(StsRequest::parse(&vec![b'a'; FORM_BYTES_MAX + 1]), Err(StsError::NotForm));
    let many: String = (0..100).map(|n| format!("a{n}=1&")).collect();
    assert_eq!(StsRequest::parse(many.as_bytes()), Err(StsError::NotForm));
}

/// A cluster with a role that a service account and a user may assume.
struct World {
    home: Home,
    directory: Directory,
    sessions: SessionKeys,
    root: Root,
}

impl World {
    fn new() -> Self {
        let trust = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "Federated": "oidc.example/id" }, "Action": "sts:AssumeRoleWithWebIdentity",
              "Condition": { "StringEquals": { "oidc.example/id:sub": "system:serviceaccount:ns:sa" } } },
            { "Effect": "Allow", "Principal": { "AWS": ["000000000000", "arn:aws:iam::000000000000:user/named", ROLE] }, "Action": "sts:AssumeRole" },
        ] });
        let mut directory = Directory::default();
        let tags = Tags::new();
        let user = |name: &str, byte| Command::CreateUser {
            name: name.into(),
            id: Id::new(IdKind::User, [byte; 10]),
            tags: Tags::new(),
            now_ms: 0,
        };
        let role_id = Id::new(IdKind::Role, [9; 10]);
        let role =
            Command::CreateRole { name: "writer".into(), id: role_id, trust: trust.to_string(), session_max_s: 7_200, tags, now_ms: 0 };
        let holder = Holder::Role("writer".into());
        let attach = Command::AttachPolicy { holder, policy: "AmazonPrometheusRemoteWriteAccess".into() };
        for command in [user("named", 1), user("other", 2), role, attach] {
            directory.apply(command).unwrap();
        }
        let root = Root { access_key_id: "root".into(), secret: Secret::from("root secret"), may_write: false };
        Self { home: Home::default(), directory, sessions: SessionKeys::new([(1, &[1; 32])]), root }
    }

    fn with<T>(&self, f: impl FnOnce(&View<'_>) -> T) -> T {
        let unseal = |_: &Id, sealed: &SealedSecret| Some(Secret::new(sealed.as_bytes().to_vec()));
        let Self { home, directory, sessions, root } = self;
        f(&View { home, directory, root: Some(root), sessions, unseal: &unseal })
    }

    fn user(&self, name: &str) -> Principal {
        let identity = Identity::User { name: name.into(), id: self.directory.users[name].id.clone() };
        let credential = Credential::AccessKey(Id::new(IdKind::AccessKey, [1; 10]));
        Principal { identity, credential, session_policy: None, expires_ms: None }
    }

    fn put(&mut self, user: &str, statement: &Value) {
        let document = json!({ "Version": "2012-10-17", "Statement": statement }).to_string();
        let holder = Holder::User(user.into());
        self.directory.apply(Command::PutInlinePolicy { holder, name: "p".into(), document }).unwrap();
    }
}

fn environment() -> Environment<'static> {
    Environment::at(tokens().now_ms, None, true)
}

fn asking(changes: &[(&str, Option<&str>)]) -> AssumeRole {
    match StsRequest::parse(form(changes).as_bytes()).unwrap() {
        StsRequest::AssumeRole(request) => request,
        other => panic!("{other:?}"),
    }
}

fn web(world: &World, name: &str) -> Result<Reply, StsError> {
    let tokens = tokens();
    let token = tokens.accepted.get(name).unwrap_or_else(|| &tokens.refused[name].1);
    let request = AssumeRoleWithWebIdentity { session: asking(&[]), token: Secret::from(token.as_str()) };
    world.with(|view| view.assume_role_with_web_identity(&issuers(), &request, &environment(), ENTROPY))
}

fn by(world: &World, principal: &Principal, changes: &[(&str, Option<&str>)]) -> Result<Reply, StsError> {
    world.with(|view| view.assume_role(principal, &asking(changes), &environment(), ENTROPY))
}

fn denied(result: Result<Reply, StsError>) -> bool {
    matches!(result, Err(StsError::AccessDenied { .. }))
}

#[test]
fn a_web_identity_gets_a_session_that_signs_and_ends() {
    let world = World::new();
    let reply = web(&world, "RS256").unwrap();
    let xml = reply.to_xml(&world.home, REQUEST);
    let Reply::AssumeRoleWithWebIdentity { granted, .. } = &reply else { panic!("{reply:?}") };
    let token = std::str::from_utf8(granted.token.expose()).unwrap();
    let id = "ASIAA4DQOBYHA4DQOBYH";
    assert_eq!(granted.session.secret, Secret::from("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"));
    let expected = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>\
         <SubjectFromWebIdentityToken>system:serviceaccount:ns:sa</SubjectFromWebIdentityToken><Audience>sts.amazonaws.com</Audience>\
         <AssumedRoleUser><Arn>arn:aws:sts::000000000000:assumed-role/writer/s@x</Arn><AssumedRoleId>AROABEEQSCIJBEEQSCIJ:s@x</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration></Credentials><Provider>oidc.example/id</Provider>\
         </AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>\
         </AssumeRoleWithWebIdentityResponse>"
    );
    assert_eq!(xml, expected);
    assert_eq!(world.sessions.open(token), Some(granted.session.clone()));
    let printed = format!("{reply:?}");
    assert!(!printed.contains("BwcH") && !printed.contains(token), "{printed}");
}

#[test]
fn web_identities_that_are_not_trusted_get_nothing() {
    let mut world = World::new();
    assert_eq!(web(&world, "expired").unwrap_err().code(), "ExpiredTokenException");
    assert_eq!(web(&world, "none").unwrap_err().code(), "InvalidIdentityToken");
    let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:*"}}"#;
    world.directory.apply(Command::UpdateTrust { role: "writer".into(), trust: trust.into() }).unwrap();
    assert!(denied(web(&world, "RS256")));
    world.directory.apply(Command::DeleteRole { name: "writer".into() }).unwrap();
    assert!(denied(web(&world, "RS256")));
    let mut world = World::new();
    world.sessions = SessionKeys::default();
    let error = web(&world, "RS256").unwrap_err();
    assert_eq!((error.code(), error.status()), ("InternalFailure", 500));
}

#[test]
fn a_role_is_assumed_by_whom_it_names_or_who_may() {
    let mut world = World::new();
    let (named, other) = (world.user("named"), world.user("other"));
    assert!(by(&world, &named, &[]).is_ok());
    assert!(denied(by(&world, &other, &[])));
    world.put("other", &json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE }));
    assert!(by(&world, &other, &[]).is_ok());
    world.put("named", &json!({ "Effect": "Deny", "Action": "sts:*", "Resource": "*" }));
    assert!(denied(by(&world, &named, &[])), "the role's trust does not pass by a denial");
    let root = Principal { identity: Identity::Root, credential: Credential::RootKey, session_policy: None, expires_ms: None };
    assert!(by(&world, &root, &[]).is_ok());
    let elsewhere = [("RoleArn", Some("arn:aws:iam::111111111111:role/writer"))];
    assert!(denied(by(&world, &root, &elsewhere)));
    assert!(denied(by(&world, &root, &[("RoleArn", Some("arn:aws:iam::000000000000:role/none"))])));
    let narrow = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"aps:*","Resource":"*"}}"#;
    let document = crate::policy::PolicyDocument::parse(crate::policy::PolicyKind::Identity, narrow).unwrap();
    let narrowed = Principal { session_policy: Some(document), ..World::new().user("named") };
    assert!(denied(by(&World::new(), &narrowed, &[])), "a narrowed token does not become a role that may more");
}

#[test]
fn only_a_web_identity_needs_no_signature() {
    let world = World::new();
    let named = world.user("named");
    let token = Secret::from(tokens().accepted["RS256"].as_str());
    let answer = |request: &StsRequest, principal| world.with(|view| view.answer(&issuers(), request, principal, &environment(), ENTROPY));
    let web = StsRequest::AssumeRoleWithWebIdentity(AssumeRoleWithWebIdentity { session: asking(&[]), token });
    assert!(!web.is_signed() && matches!(answer(&web, None), Ok(Reply::AssumeRoleWithWebIdentity { .. })));
    for request in [StsRequest::AssumeRole(asking(&[])), StsRequest::GetCallerIdentity] {
        assert!(request.is_signed());
        assert_eq!(answer(&request, None).unwrap_err(), StsError::Auth(AuthError::NoCredentials));
        assert!(answer(&request, Some(&named)).is_ok());
    }
}

#[test]
fn a_session_lasts_no_longer_than_it_may() {
    let world = World::new();
    let named = world.user("named");
    let lasting = |seconds| by(&world, &named, &[("DurationSeconds", Some(seconds))]);
    assert!(lasting("7200").is_ok());
    assert_eq!(lasting("7201").unwrap_err().code(), "ValidationError");
    let role_id = world.directory.roles["writer"].id.clone();
    let identity = Identity::Session { role: "writer".into(), role_id, name: "s".into() };
    let chained = Principal { identity, ..named };
    assert!(by(&world, &chained, &[("DurationSeconds", Some("3600"))]).is_ok());
    assert_eq!(by(&world, &chained, &[("DurationSeconds", Some("3601"))]).unwrap_err().code(), "ValidationError");
    let malformed = by(&world, &world.user("named"), &[("Policy", Some("%7B%7D"))]).unwrap_err();
    assert_eq!((malformed.code(), malformed.status()), ("MalformedPolicyDocument", 400));
}

#[test]
fn answers_name_who_asks_and_errors_their_code() {
    let world = World::new();
    let reply = world.with(|view| view.caller_identity(&world.user("named")));
    assert_eq!(
        reply.to_xml(&world.home, REQUEST),
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::000000000000:user/named</Arn><UserId>AIDAAEAQCAIBAEAQCAIB</UserId><Account>000000000000</Account>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>"
    );
    let error = StsError::InvalidAction { action: "<&\"'\r\u{1}".into(), version: String::new() };
    assert_eq!(
        error_xml(&error, REQUEST),
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>InvalidAction</Code>\
         <Message>Could not find operation &lt;&amp;&quot;&apos;&#13;\u{fffd} for version </Message></Error>\
         <RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
    );
    let codes = |error: AuthError| (StsError::Auth(error.clone()).code(), error.status());
    assert_eq!(codes(AuthError::WrongSignature), ("SignatureDoesNotMatch", 403));
    assert_eq!(codes(AuthError::Unrecognized), ("InvalidClientTokenId", 403));
    assert_eq!(codes(AuthError::TokenExpired), ("ExpiredToken", 403));
    assert_eq!(codes(AuthError::NoCredentials), ("MissingAuthenticationToken", 403));
}

#[test]
fn a_session_may_what_its_role_may_within_its_policy() {
    let world = World::new();
    let role_id = world.directory.roles["writer"].id.clone();
    let identity = Identity::Session { role: "writer".into(), role_id, name: "s".into() };
    let credential = Credential::AccessKey(Id::new(IdKind::SessionKey, [1; 10]));
    let session =
        |session_policy| Principal { identity: identity.clone(), credential: credential.clone(), session_policy, expires_ms: None };
    let (resource, environment) = (Resource::Named(world.home.workspace("ws-1")), environment());
    let may = |principal: &Principal, action| {
        let question = crate::Question { action, resource: &resource, resource_policy: None, environment: &environment };
        world.with(|view| view.authorise(principal, &question)).is_allowed()
    };
    assert!(may(&session(None), Action::RemoteWrite) && !may(&session(None), Action::QueryMetrics));
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"aps:Query*","Resource":"*"}}"#;
    let narrow = crate::policy::PolicyDocument::parse(crate::policy::PolicyKind::Identity, text).unwrap();
    assert!(!may(&session(Some(narrow.clone())), Action::RemoteWrite) && !may(&session(Some(narrow)), Action::QueryMetrics));
    assert!(codec::encode(&world.directory).starts_with(b"\x01{"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,60}") {
        let _ = StsRequest::parse(&bytes);
        let _ = StsRequest::parse(format!("Action=AssumeRole&Version=2011-06-15&{text}").as_bytes());
        let _ = PublicKeys::parse(&text);
        let _ = issuers().verify(&text, 0);
        let part = crate::text::base64(&bytes).replace('=', "");
        let _ = issuers().verify(&format!("eyJhbGciOiJFUzI1NiJ9.{part}.{part}"), 0);
    }
}
