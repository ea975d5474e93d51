use super::*;
use crate::directory::{Command, Holder};
use crate::policy::LabelScope;
use crate::session::Session;
use crate::sigv4::Settings;
use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::json;
use std::cell::Cell;
use std::time::{Duration, SystemTime};

const NOW_MS: Timestamp = 1_767_225_600_000;
const SECRET: &str = "user secret";
const ROOT_SECRET: &str = "root secret";

struct World {
    home: Home,
    directory: Directory,
    sessions: SessionKeys,
    root: Root,
    verifier: Verifier,
    /// Whether secrets can be unsealed.
    has_key: Cell<bool>,
}

fn id(kind: IdKind, byte: u8) -> Id {
    Id::new(kind, [byte; 10])
}

fn token() -> ApiToken {
    ApiToken::new(id(IdKind::Token, 4), [5; 32])
}

impl World {
    fn new() -> Self {
        let mut directory = Directory::default();
        let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
        let policy = r#"{"Version":"2012-10-17","Statement":{"Sid":"q","Effect":"Allow","Action":"aps:Query*","Resource":"*"}}"#;
        let (name, tags) = ("u".to_owned(), Tags::new());
        for command in [
            Command::CreateUser { name: name.clone(), id: id(IdKind::User, 1), tags: tags.clone(), now_ms: 0 },
            Command::CreateAccessKey {
                user: name.clone(),
                id: id(IdKind::AccessKey, 2),
                // What stands for sealing here: every byte turned over.
                sealed: SealedSecret::new(SECRET.bytes().map(|byte| !byte).collect()),
                now_ms: 0,
            },
            Command::CreateToken {
                user: name.clone(),
                id: token().id,
                hash: token().hash(),
                description: String::new(),
                policy: Some(policy.into()),
                expires_ms: Some(NOW_MS + 1),
                now_ms: 0,
            },
            Command::CreateRole { name: "r".into(), id: id(IdKind::Role, 3), trust: trust.into(), session_max_s: 900, tags, now_ms: 0 },
            Command::AttachPolicy { holder: Holder::User(name), policy: "AmazonPrometheusFullAccess".into() },
        ] {
            directory.apply(command).unwrap();
        }
        Self {
            home: Home::default(),
            directory,
            sessions: SessionKeys::new([(1, &[1; 32])]),
            root: Root { access_key_id: "admin".into(), secret: Secret::from(ROOT_SECRET), may_write: false },
            verifier: Verifier::new(Settings::default()),
            has_key: Cell::new(true),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&View<'_>) -> T) -> T {
        let has_key = self.has_key.get();
        let unseal =
            move |_: &Id, sealed: &SealedSecret| has_key.then(|| Secret::new(sealed.as_bytes().iter().map(|byte| !byte).collect()));
        let Self { home, directory, sessions, root, .. } = self;
        f(&View { home, directory, root: Some(root), sessions, unseal: &unseal })
    }

    fn authenticate(&self, headers: &[(String, String)]) -> Result<Principal, AuthError> {
        self.authenticate_at(headers, NOW_MS)
    }

    fn authenticate_at(&self, headers: &[(String, String)], now_ms: Timestamp) -> Result<Principal, AuthError> {
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let request =
            Request { method: "GET", path: "/workspaces", query: "", authority: Some("a"), headers: &headers, body: b"", is_tls: true };
        let credentials = Credentials::parse(&request)?;
        let found = self.with(|view| view.authenticate(&self.verifier, &request, &credentials, Service::Aps, now_ms))?;
        assert_eq!(found.path_form, PathForm::Raw);
        Ok(found.principal)
    }

    fn session(&self, expires_ms: Timestamp) -> (Session, String) {
        let session = Session {
            access_key_id: id(IdKind::SessionKey, 6),
            secret: Secret::from("session secret"),
            role: "r".into(),
            role_id: id(IdKind::Role, 3),
            name: "s".into(),
            subject: None,
            policy: None,
            issued_ms: NOW_MS - 1,
            expires_ms,
        };
        let token = self.sessions.seal(&session, [8; 28]).unwrap();
        (session, token)
    }
}

fn signed(key: &str, secret: &str, token: Option<&str>) -> Vec<(String, String)> {
    let identity = AwsCredentials::new(key, secret, token.map(str::to_owned), None, "test").into();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW_MS.unsigned_abs());
    let parameters = v4::SigningParams::builder().identity(&identity).region("r").name("aps").time(time);
    let parameters = parameters.settings(SigningSettings::default()).build().unwrap().into();
    let request = SignableRequest::new("GET", "http://a/workspaces", std::iter::empty(), SignableBody::Bytes(b"")).unwrap();
    let (headers, _) = sign(request, &parameters).unwrap().into_parts().0.into_parts();
    headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect()
}

fn basic(key: &str, secret: &str) -> Vec<(String, String)> {
    vec![("authorization".into(), format!("Basic {}", crate::text::base64(format!("{key}:{secret}").as_bytes())))]
}

fn bearer(token: &ApiToken) -> Vec<(String, String)> {
    vec![("authorization".into(), format!("Bearer {}", std::str::from_utf8(token.expose().expose()).unwrap()))]
}

fn user_key() -> String {
    id(IdKind::AccessKey, 2).to_string()
}

#[test]
fn one_principal_is_shown_in_three_ways() {
    let world = World::new();
    let user = Identity::User { name: "u".into(), id: id(IdKind::User, 1) };
    for headers in [signed(&user_key(), SECRET, None), basic(&user_key(), SECRET)] {
        let principal = world.authenticate(&headers).unwrap();
        assert_eq!(principal.identity, user);
        assert_eq!(principal.credential, Credential::AccessKey(id(IdKind::AccessKey, 2)));
        assert_eq!((principal.session_policy, principal.expires_ms), (None, None));
    }
    let principal = world.authenticate(&bearer(&token())).unwrap();
    assert_eq!(principal.identity, user);
    assert_eq!(principal.credential, Credential::Token(token().id));
    assert!(principal.session_policy.is_some());
    for headers in [signed("admin", ROOT_SECRET, None), basic("admin", ROOT_SECRET)] {
        assert_eq!(world.authenticate(&headers).unwrap().identity, Identity::Root);
    }
}

#[test]
fn wrong_secrets_and_unknown_keys_are_refused() {
    let mut world = World::new();
    let unknown = id(IdKind::AccessKey, 99).to_string();
    for (key, secret) in [(user_key().as_str(), "x"), (&unknown, SECRET), ("admin", SECRET), ("admin", ""), ("", ""), (&unknown, "")] {
        assert_eq!(world.authenticate(&basic(key, secret)), Err(AuthError::Unrecognized), "{key}");
    }
    assert_eq!(world.authenticate(&signed(&user_key(), "x", None)), Err(AuthError::WrongSignature));
    assert_eq!(world.authenticate(&signed("admin", "x", None)), Err(AuthError::WrongSignature));
    for key in [unknown.as_str(), "nobody", id(IdKind::SessionKey, 6).as_str()] {
        assert_eq!(world.authenticate(&signed(key, SECRET, None)), Err(AuthError::Unrecognized), "{key}");
    }
    let wrong = ApiToken::new(token().id, [6; 32]);
    let other = ApiToken::new(id(IdKind::Token, 99), [5; 32]);
    for token in [wrong, other] {
        assert_eq!(world.authenticate(&bearer(&token)), Err(AuthError::Unrecognized));
    }
    assert_eq!(world.authenticate(&[]), Err(AuthError::NoCredentials));
    world.directory.apply(Command::SetAccessKeyActive { id: id(IdKind::AccessKey, 2), is_active: false }).unwrap();
    assert_eq!(world.authenticate(&signed(&user_key(), SECRET, None)), Err(AuthError::Unrecognized));
    assert_eq!(world.authenticate(&basic(&user_key(), SECRET)), Err(AuthError::Unrecognized));
    let empty = World { directory: Directory::default(), ..World::new() };
    assert_eq!(empty.authenticate(&basic(&user_key(), "")), Err(AuthError::Unrecognized));
    assert_eq!(empty.authenticate(&signed(&user_key(), "", None)), Err(AuthError::Unrecognized), "a decoy signs nothing that counts");
}

#[test]
fn a_kept_signing_key_does_not_outlive_its_access_key() {
    let mut world = World::new();
    let headers = signed(&user_key(), SECRET, None);
    assert!(world.authenticate(&headers).is_ok());
    world.has_key.set(false);
    assert!(world.authenticate(&headers).is_ok(), "the kept key serves");
    let fresh = World { has_key: Cell::new(false), ..World::new() };
    assert_eq!(fresh.authenticate(&headers), Err(AuthError::SecretUnavailable));
    assert_eq!(fresh.authenticate(&basic(&user_key(), SECRET)), Err(AuthError::SecretUnavailable));
    world.directory.apply(Command::DeleteAccessKey { id: id(IdKind::AccessKey, 2) }).unwrap();
    assert_eq!(world.authenticate(&headers), Err(AuthError::Unrecognized));
}

#[test]
fn sessions_are_shown_by_their_token_until_they_end() {
    let mut world = World::new();
    let (session, token) = world.session(NOW_MS + 1);
    let headers = signed(session.access_key_id.as_str(), "session secret", Some(&token));
    let principal = world.authenticate(&headers).unwrap();
    assert_eq!(principal.identity, Identity::Session { role: "r".into(), role_id: id(IdKind::Role, 3), name: "s".into() });
    assert_eq!(world.authenticate_at(&headers, NOW_MS + 1), Err(AuthError::TokenExpired));
    let with = |key: &str, secret: &str, token: &str| world.authenticate(&signed(key, secret, Some(token)));
    assert_eq!(with(session.access_key_id.as_str(), "x", &token), Err(AuthError::WrongSignature));
    assert_eq!(with(&user_key(), SECRET, &token), Err(AuthError::Unrecognized), "a session's token goes with the session's key");
    assert_eq!(with(&user_key(), SECRET, "AAAA"), Err(AuthError::Unrecognized));
    assert_eq!(with("admin", ROOT_SECRET, "AAAA"), Err(AuthError::Unrecognized));
    let over = world.session(NOW_MS).1;
    assert_eq!(with(session.access_key_id.as_str(), "session secret", &over), Err(AuthError::TokenExpired));
    world.directory.apply(Command::RevokeSessions { role: "r".into(), not_before_ms: NOW_MS }).unwrap();
    assert_eq!(world.authenticate(&headers), Err(AuthError::TokenExpired));
    let mut world = World::new();
    world.directory.roles.get_mut("r").unwrap().id = id(IdKind::Role, 77);
    assert_eq!(world.authenticate(&headers), Err(AuthError::Unrecognized), "another role of the same name");
    world.directory.apply(Command::DeleteRole { name: "r".into() }).unwrap();
    assert_eq!(world.authenticate(&headers), Err(AuthError::Unrecognized));
}

#[test]
fn tokens_end() {
    let world = World::new();
    assert!(world.authenticate_at(&bearer(&token()), NOW_MS).is_ok());
    assert_eq!(world.authenticate_at(&bearer(&token()), NOW_MS + 1), Err(AuthError::TokenExpired));
}

fn decide(world: &World, principal: &Principal, action: Action, resource_policy: Option<&PolicyDocument>) -> Decision {
    let resource = Resource::Named(world.home.workspace("ws-1"));
    let environment = Environment::at(NOW_MS, None, true);
    world.with(|view| view.authorise(principal, &Question { action, resource: &resource, resource_policy, environment: &environment }))
}

#[test]
fn the_root_may_everything_but_write_and_what_a_resource_denies() {
    let mut world = World::new();
    let root = world.authenticate(&basic("admin", ROOT_SECRET)).unwrap();
    let text = json!({ "Version": "2012-10-17", "Statement":
        { "Sid": "no", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": world.home.workspace("ws-1").to_string() } });
    let policy = PolicyDocument::parse(PolicyKind::Resource, &text.to_string()).unwrap();
    for action in Action::ALL {
        let denial = decide(&world, &root, *action, None).denial;
        assert_eq!(denial, action.writes_samples().then_some(Denial::RootMustNotWrite), "{action}");
        world.root.may_write = true;
        assert!(decide(&world, &root, *action, None).is_allowed());
        assert_eq!(decide(&world, &root, *action, Some(&policy)).is_allowed(), !action.honours_resource_policy(), "{action}");
        world.root.may_write = false;
    }
}

#[test]
fn users_may_what_their_policies_say_and_tokens_less() {
    let mut world = World::new();
    let user = world.authenticate(&basic(&user_key(), SECRET)).unwrap();
    let narrowed = world.authenticate(&bearer(&token())).unwrap();
    let decision = decide(&world, &user, Action::DeleteWorkspace, None);
    assert!(decision.is_allowed());
    assert_eq!(decision.statement.unwrap().policy, "AmazonPrometheusFullAccess");
    assert_eq!(decision.label_matchers, LabelScope::All);
    assert_eq!(decide(&world, &user, Action::ChangeIdentities, None).denial, Some(Denial::NotAllowed));
    assert!(decide(&world, &narrowed, Action::QueryMetrics, None).is_allowed());
    assert_eq!(decide(&world, &narrowed, Action::DeleteWorkspace, None).denial, Some(Denial::NotInSession));
    assert!(decide(&world, &narrowed, Action::GetCallerIdentity, None).is_allowed());
    let resource = Resource::Named(world.home.workspace("ws-1"));
    let message = denial_message(&user, &world.home, Action::QueryMetrics, &resource);
    assert_eq!(
        message,
        "User: arn:aws:iam::000000000000:user/u is not authorized to perform: aps:QueryMetrics on resource: arn:aws:aps:local:000000000000:workspace/ws-1"
    );
    world.directory.apply(Command::DeleteUser { name: "u".into() }).unwrap();
    assert_eq!(decide(&world, &user, Action::QueryMetrics, None).denial, Some(Denial::NotAllowed));
    assert_eq!(world.authenticate(&bearer(&token())), Err(AuthError::Unrecognized));
}
