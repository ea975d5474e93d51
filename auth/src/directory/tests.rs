use super::*;
use crate::codec::{DecodeError, decode, encode};
use crate::id::IdKind;
use crate::policy::{PolicyKind, Tags};
use crate::token::ApiToken;
use proptest::prelude::*;

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"aps:*","Resource":"*"}}"#;
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*"}}"#;

fn id(kind: IdKind, byte: u8) -> Id {
    Id::new(kind, [byte; 10])
}

fn user(name: &str) -> Command {
    let byte = name.as_bytes()[0];
    Command::CreateUser { name: name.into(), id: id(IdKind::User, byte), tags: Tags::from([("team".into(), "a".into())]), now_ms: 1 }
}

fn key(user: &str, byte: u8) -> Command {
    Command::CreateAccessKey { user: user.into(), id: id(IdKind::AccessKey, byte), sealed: SealedSecret::new(vec![byte; 3]), now_ms: 2 }
}

fn token(user: &str, byte: u8) -> Command {
    let token = ApiToken::new(id(IdKind::Token, byte), [byte; 32]);
    let (hash, policy) = (token.hash(), Some(POLICY.to_owned()));
    Command::CreateToken { user: user.into(), id: token.id, hash, description: "d".into(), policy, expires_ms: Some(9), now_ms: 3 }
}

fn role(name: &str, byte: u8) -> Command {
    let (id, trust) = (id(IdKind::Role, byte), TRUST.to_owned());
    Command::CreateRole { name: name.into(), id, trust, session_max_s: 3_600, tags: Tags::new(), now_ms: 4 }
}

fn full() -> Directory {
    let mut directory = Directory::default();
    for command in commands() {
        directory.apply(command).unwrap();
    }
    directory
}

/// One of each that adds something.
fn commands() -> Vec<Command> {
    let (group, holder) = ("g".to_owned(), Holder::User("u".into()));
    vec![
        user("u"),
        key("u", 1),
        token("u", 2),
        Command::CreateGroup { name: group.clone(), now_ms: 5 },
        Command::AddToGroup { group: group.clone(), user: "u".into() },
        role("r", 3),
        Command::RevokeSessions { role: "r".into(), not_before_ms: 6 },
        Command::PutPolicy { name: "p".into(), document: POLICY.into() },
        Command::AttachPolicy { holder: Holder::Group(group), policy: "p".into() },
        Command::AttachPolicy { holder: holder.clone(), policy: "arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess".into() },
        Command::PutInlinePolicy { holder: Holder::Role("r".into()), name: "i".into(), document: POLICY.into() },
        Command::SetTags { holder, tags: Tags::from([("k".into(), "v".into())]) },
        Command::SetAccessKeyActive { id: id(IdKind::AccessKey, 1), is_active: false },
        Command::AddSessionKey { id: 1, sealed: SealedSecret::new(vec![7; 3]) },
    ]
}

#[test]
fn a_directory_and_its_commands_have_golden_bytes() {
    let golden = include_str!("../../tests/data/directory.golden.jsonl");
    let mut lines = golden.lines();
    let mut check = |bytes: Vec<u8>| {
        let (version, json) = bytes.split_first().unwrap();
        assert_eq!((*version, std::str::from_utf8(json).unwrap()), (1, lines.next().unwrap()));
    };
    let mut directory = Directory::default();
    for command in commands() {
        let bytes = encode(&command);
        assert_eq!(decode::<Command>(&bytes).unwrap(), command);
        check(bytes);
        assert_eq!(directory.apply(command), Ok(Outcome::Changed));
    }
    let bytes = encode(&directory);
    assert_eq!(decode::<Directory>(&bytes).unwrap(), directory);
    check(bytes);
    let facts: [Result<Outcome, Fact>; 3] = [
        Ok(Outcome::Changed),
        Err(Fact::NotFound { entity: Entity::AccessKey, name: "n".into() }),
        Err(Fact::Policy { place: "Statement".into(), detail: "missing".into() }),
    ];
    for fact in facts {
        let bytes = encode(&fact);
        assert_eq!(decode::<Result<Outcome, Fact>>(&bytes).unwrap(), fact);
        check(bytes);
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn what_is_no_record_is_refused() {
    assert!(matches!(decode::<Command>(b""), Err(DecodeError::Version(None))));
    assert!(matches!(decode::<Command>(b"\x02{}"), Err(DecodeError::Version(Some(2)))));
    assert!(matches!(decode::<Command>(b"\x01{\"kind\":\"from_the_future\"}"), Err(DecodeError::Json(_))));
    assert!(matches!(decode::<Command>(b"\x01{\"kind\":\"delete_user\",\"name\":\"u\",\"more\":1}"), Err(DecodeError::Json(_))));
    assert!(matches!(decode::<Directory>(b"\x01{}"), Err(DecodeError::Json(_))));
}

#[test]
fn nothing_prints_a_secret() {
    let printed = format!("{:?} {:?}", full(), commands());
    assert!(printed.contains("SealedSecret(3 bytes)") && printed.contains("TokenHash"));
    assert!(!printed.contains("[1, 1, 1]") && !printed.contains("AQEB"));
}

#[test]
fn a_command_that_is_repeated_changes_nothing() {
    let mut directory = full();
    let before = directory.clone();
    for command in commands() {
        match command {
            // These set what later ones have set otherwise.
            Command::SetAccessKeyActive { .. } | Command::SetTags { .. } => {}
            command => assert_eq!(directory.apply(command.clone()), Ok(Outcome::Unchanged), "{command:?}"),
        }
    }
    assert_eq!(directory, before);
}

#[test]
fn another_of_the_same_name_is_refused() {
    let mut directory = full();
    let other = Command::CreateUser { name: "u".into(), id: id(IdKind::User, 99), tags: Tags::new(), now_ms: 1 };
    assert_eq!(directory.apply(other), Err(Fact::Exists { entity: Entity::User, name: "u".into() }));
    assert_eq!(directory.apply(role("r", 99)), Err(Fact::Exists { entity: Entity::Role, name: "r".into() }));
    directory.apply(user("v")).unwrap();
    assert!(matches!(directory.apply(key("v", 1)), Err(Fact::Exists { entity: Entity::AccessKey, .. })));
    assert!(matches!(directory.apply(token("v", 2)), Err(Fact::Exists { entity: Entity::Token, .. })));
    let managed = Command::PutPolicy { name: "AmazonPrometheusFullAccess".into(), document: POLICY.into() };
    assert!(matches!(directory.apply(managed), Err(Fact::Exists { entity: Entity::Policy, .. })));
    let older = |id| Command::AddSessionKey { id, sealed: SealedSecret::new(vec![8]) };
    assert!(matches!(directory.apply(older(1)), Err(Fact::Exists { entity: Entity::SessionKey, .. })));
}

#[test]
fn a_user_has_two_keys_and_takes_them_along_when_it_goes() {
    let mut directory = full();
    assert_eq!(directory.apply(key("u", 8)), Ok(Outcome::Changed));
    assert_eq!(directory.apply(key("u", 9)), Err(Fact::Full { entity: Entity::AccessKey, max: 2 }));
    assert_eq!(directory.keys_of("u").count(), 2);
    assert_eq!(directory.apply(Command::DeleteAccessKey { id: id(IdKind::AccessKey, 1) }), Ok(Outcome::Changed));
    assert_eq!(directory.apply(key("u", 9)), Ok(Outcome::Changed));
    assert_eq!(directory.members("g").collect::<Vec<_>>(), ["u"]);
    assert_eq!(directory.apply(Command::DeleteUser { name: "u".into() }), Ok(Outcome::Changed));
    assert!(directory.keys.is_empty() && directory.tokens.is_empty());
    assert_eq!(directory.members("g").count(), 0);
    assert_eq!(directory.apply(Command::DeleteUser { name: "u".into() }), Ok(Outcome::Unchanged));
    assert!(matches!(directory.apply(key("u", 1)), Err(Fact::NotFound { entity: Entity::User, .. })));
}

#[test]
fn policies_are_those_of_the_user_and_of_its_groups() {
    let mut directory = full();
    let names = |directory: &Directory| {
        let policies = directory.policies_of_user(&directory.users["u"]);
        policies.into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&directory), ["AmazonPrometheusQueryAccess", "p"]);
    assert_eq!(directory.apply(Command::DeletePolicy { name: "p".into() }), Err(Fact::Attached { name: "p".into() }));
    assert_eq!(directory.apply(Command::DeleteGroup { name: "g".into() }), Ok(Outcome::Changed));
    assert_eq!(names(&directory), ["AmazonPrometheusQueryAccess"]);
    assert_eq!(directory.apply(Command::DeletePolicy { name: "p".into() }), Ok(Outcome::Changed));
    let holder = Holder::User("u".into());
    let missing = Command::AttachPolicy { holder: holder.clone(), policy: "p".into() };
    assert!(matches!(directory.apply(missing), Err(Fact::NotFound { entity: Entity::Policy, .. })));
    let name = "AmazonPrometheusQueryAccess".to_owned();
    assert_eq!(directory.apply(Command::DetachPolicy { holder, policy: name }), Ok(Outcome::Changed));
    assert!(names(&directory).is_empty());
}

#[test]
fn the_newest_session_keys_are_kept_and_revocation_never_goes_back() {
    let mut directory = full();
    for id in [5, 6, 9] {
        directory.apply(Command::AddSessionKey { id, sealed: SealedSecret::new(vec![id as u8]) }).unwrap();
    }
    assert_eq!(directory.session_keys.keys().copied().collect::<Vec<_>>(), [5, 6, 9]);
    let revoke = |not_before_ms| Command::RevokeSessions { role: "r".into(), not_before_ms };
    assert_eq!(directory.apply(revoke(5)), Ok(Outcome::Unchanged));
    assert_eq!(directory.apply(revoke(7)), Ok(Outcome::Changed));
    assert_eq!(directory.roles["r"].not_before_ms, 7);
}

#[test]
fn what_is_malformed_or_too_much_is_refused() {
    let mut directory = full();
    let named = |name: &str| Command::CreateGroup { name: name.into(), now_ms: 1 };
    for name in ["", "a b", "a/b", "ä", &"x".repeat(65), "a\n"] {
        assert_eq!(directory.apply(named(name)), Err(Fact::Malformed { entity: Entity::Group }), "{name}");
    }
    let mut refused = |command: Command, entity| {
        assert_eq!(directory.apply(command), Err(Fact::Malformed { entity }));
    };
    let sealed = |bytes| SealedSecret::new(vec![0; bytes]);
    let key_of = |kind, bytes| Command::CreateAccessKey { user: "u".into(), id: id(kind, 50), sealed: sealed(bytes), now_ms: 1 };
    refused(key_of(IdKind::AccessKey, 0), Entity::Secret);
    refused(key_of(IdKind::AccessKey, 513), Entity::Secret);
    refused(key_of(IdKind::SessionKey, 1), Entity::AccessKey);
    let tagged =
        |name: &str, value: &str| Command::SetTags { holder: Holder::User("u".into()), tags: Tags::from([(name.into(), value.into())]) };
    refused(tagged("", ""), Entity::Tag);
    refused(tagged("AWS:x", ""), Entity::Tag);
    refused(tagged(&"k".repeat(129), ""), Entity::Tag);
    refused(tagged("k", &"v".repeat(257)), Entity::Tag);
    refused(Command::SetTags { holder: Holder::Group("g".into()), tags: Tags::new() }, Entity::Tag);
    let role_of = |session_max_s| Command::CreateRole {
        name: "s".into(),
        id: id(IdKind::Role, 51),
        trust: TRUST.into(),
        session_max_s,
        tags: Tags::new(),
        now_ms: 1,
    };
    refused(role_of(899), Entity::SessionDuration);
    refused(role_of(43_201), Entity::SessionDuration);
    let tags = (0..51).map(|n| (n.to_string(), String::new())).collect();
    assert_eq!(
        directory.apply(Command::SetTags { holder: Holder::User("u".into()), tags }),
        Err(Fact::Full { entity: Entity::Tag, max: 50 })
    );
    let inline = |n: u32| Command::PutInlinePolicy { holder: Holder::User("u".into()), name: n.to_string(), document: POLICY.into() };
    for n in 0..10 {
        directory.apply(inline(n)).unwrap();
    }
    assert_eq!(directory.apply(inline(10)), Err(Fact::Full { entity: Entity::Policy, max: 10 }));
    assert_eq!(directory.apply(inline(9)), Ok(Outcome::Unchanged));
    let wrong = Command::PutPolicy { name: "q".into(), document: TRUST.into() };
    assert!(matches!(directory.apply(wrong), Err(Fact::Policy { place, .. }) if place == "Statement.Principal"));
}

#[test]
fn texts_of_all_policies_are_bounded() {
    let mut directory = Directory::default();
    let padded = POLICY.replace('{', &format!("{{{}", " ".repeat(9_000)));
    let put = |n: usize| Command::PutPolicy { name: format!("p{n}"), document: padded.clone() };
    let room = POLICY_TEXT_BYTES_MAX / padded.len();
    for n in 0..room {
        assert_eq!(directory.apply(put(n)), Ok(Outcome::Changed));
    }
    assert!(matches!(directory.apply(put(room)), Err(Fact::Full { entity: Entity::Policy, .. })));
    assert_eq!(directory.apply(put(0)), Ok(Outcome::Unchanged));
}

fn any_command() -> impl Strategy<Value = Command> {
    let name = || prop::sample::select(vec!["u", "v", "g", "r", "p", "", "AmazonPrometheusFullAccess"]).prop_map(str::to_owned);
    let holder = (name(), 0..3).prop_map(|(name, kind)| match kind {
        0 => Holder::User(name),
        1 => Holder::Group(name),
        _ => Holder::Role(name),
    });
    let text = prop::sample::select(vec![POLICY, TRUST, "{}"]).prop_map(str::to_owned);
    (name(), name(), holder, text, 0..4_u8, 0..20).prop_map(|(name, other, holder, text, byte, kind)| match kind {
        0 if !name.is_empty() => user(&name),
        1 => Command::DeleteUser { name },
        2 => key(&name, byte),
        3 => Command::DeleteAccessKey { id: id(IdKind::AccessKey, byte) },
        4 => token(&name, byte),
        5 => Command::DeleteToken { id: id(IdKind::Token, byte) },
        6 => Command::CreateGroup { name, now_ms: 1 },
        7 => Command::DeleteGroup { name },
        8 => Command::AddToGroup { group: name, user: other },
        9 => Command::RemoveFromGroup { group: name, user: other },
        10 => role(&name, byte),
        11 => Command::UpdateTrust { role: name, trust: text },
        12 => Command::DeleteRole { name },
        13 => Command::PutPolicy { name, document: text },
        14 => Command::DeletePolicy { name },
        15 => Command::AttachPolicy { holder, policy: name },
        16 => Command::DetachPolicy { holder, policy: name },
        17 => Command::PutInlinePolicy { holder, name, document: text },
        18 => Command::DeleteInlinePolicy { holder, name },
        _ => Command::AddSessionKey { id: byte.into(), sealed: SealedSecret::new(vec![byte + 1]) },
    })
}

proptest! {
    #[test]
    fn commands_change_all_or_nothing_and_every_state_is_read_back(commands in prop::collection::vec(any_command(), 0..40)) {
        let (mut directory, mut other) = (Directory::default(), Directory::default());
        for command in commands {
            prop_assert_eq!(&decode::<Command>(&encode(&command)).unwrap(), &command);
            let before = directory.clone();
            let result = directory.apply(command.clone());
            prop_assert_eq!(result == Ok(Outcome::Changed), directory != before, "{:?} {:?}", command, result);
            prop_assert_eq!(other.apply(command), result);
            prop_assert_eq!(&encode(&other), &encode(&directory));
        }
        prop_assert_eq!(&decode::<Directory>(&encode(&directory)).unwrap(), &directory);
        for key in directory.keys.values() {
            prop_assert!(directory.users.contains_key(&key.user));
        }
        for user in directory.users.values() {
            prop_assert!(user.groups.iter().all(|group| directory.groups.contains_key(group)));
        }
        for attached in directory.users.values().map(|user| &user.attached) {
            prop_assert!(attached.policies.iter().all(|name| directory.policy(name).is_some()));
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode::<Command>(&bytes);
        let _ = decode::<Directory>(&[&[1], bytes.as_slice()].concat());
    }
}

#[test]
fn kinds_of_stored_policies_hold() {
    assert!(full().roles["r"].trust.policy().is_kind(PolicyKind::Trust));
    assert!(full().policies["p"].policy().is_kind(PolicyKind::Identity));
}
