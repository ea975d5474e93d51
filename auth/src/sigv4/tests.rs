use super::*;
use crate::{AuthError, Request, Secret};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, UriPathNormalizationMode, sign};
use aws_sigv4::sign::v4;
use model::Timestamp;
use proptest::prelude::*;
use serde::Deserialize;
use std::time::{Duration, SystemTime};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SIGNED_AT_MS: Timestamp = 1_440_938_160_000;

/// A request that owns its parts.
#[derive(Clone, Debug, Deserialize)]
struct Sample {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Sample {
    fn with<T>(&self, f: impl FnOnce(&Request<'_>) -> T) -> T {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let headers: Vec<(&str, &[u8])> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let body = self.body.as_bytes();
        f(&Request { method: &self.method, path, query, authority: None, headers: &headers, body, is_tls: false })
    }

    fn header(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(have, _)| have == name).unwrap().1
    }

    fn parse(&self) -> Result<Signed, AuthError> {
        self.with(|request| match request.single("authorization").unwrap() {
            Some(text) => Signed::parse_header(request, text.strip_prefix(ALGORITHM).unwrap()),
            None => Signed::parse_presigned(request),
        })
    }

    fn verify_at(&self, verifier: &Verifier, now_ms: Timestamp) -> Result<PathForm, AuthError> {
        let signed = self.parse()?;
        let secret = || Some(Secret::from(SECRET));
        let source = KeySource { origin: [1; 32], secret: &secret, is_known: signed.access_key_id == "AKIDEXAMPLE" };
        self.with(|request| verifier.verify(&signed, request, Service::Aps, &source, now_ms))
    }

    fn verify(&self) -> Result<PathForm, AuthError> {
        self.verify_at(&Verifier::new(Settings::default()), SIGNED_AT_MS)
    }
}

fn samples(text: &str) -> Vec<Sample> {
    serde_json::from_str(text).unwrap()
}

fn botocore(name: &str) -> Sample {
    samples(include_str!("../../tests/data/botocore_requests.json")).into_iter().find(|sample| sample.name == name).unwrap()
}

/// The vectors are signed for a service that is none of ours, so they go around the check of the scope.
fn matches_vector(sample: &Sample) -> Result<bool, AuthError> {
    let signed = sample.parse()?;
    signed.check_time(&Settings::default(), SIGNED_AT_MS)?;
    let canonical = sample.with(|request| canonical::Canonical::new(&signed, request, &Settings::default()))?;
    let key = key::derive(&Secret::from(SECRET), &signed.date, &signed.region, &signed.service);
    let computed = |string: &str| canonical::hex(ring::hmac::sign(&key, string.as_bytes()).as_ref());
    Ok(canonical.candidates.iter().any(|(_, string)| computed(string) == signed.signature))
}

#[test]
fn awss_own_vectors_verify() {
    let vectors = samples(include_str!("../../tests/data/sigv4_vectors.json"));
    assert!(vectors.len() > 70);
    let mut unsigned_tokens = 0;
    for vector in vectors {
        match matches_vector(&vector) {
            // These send the session token beside what they sign.
            Ok(false) | Err(AuthError::NotSigned { .. }) if vector.name.starts_with("post-sts-header-after") => unsigned_tokens += 1,
            Ok(is_match) => assert!(is_match, "{}", vector.name),
            Err(error) => panic!("{}: {error}", vector.name),
        }
    }
    assert_eq!(unsigned_tokens, 2);
}

#[test]
fn what_botocore_signs_verifies() {
    for sample in samples(include_str!("../../tests/data/botocore_requests.json")) {
        let form = if sample.name == "empty segment" { PathForm::Normalised } else { PathForm::Raw };
        assert_eq!(sample.verify(), Ok(form), "{}", sample.name);
    }
}

#[test]
fn a_parameter_needs_no_space_after_its_comma() {
    let mut sample = botocore("list workspaces");
    let text = sample.header("authorization");
    *text = text.replace(", ", ",");
    assert_eq!(sample.verify(), Ok(PathForm::Raw));
}

#[test]
fn the_authority_of_http_2_stands_for_the_host() {
    let mut sample = botocore("list workspaces");
    sample.headers.retain(|(name, _)| name != "host");
    assert_eq!(sample.verify(), Err(AuthError::SignedMissing { name: "host".into() }));
    let signed = sample.parse().unwrap();
    let secret = || Some(Secret::from(SECRET));
    let source = KeySource { origin: [1; 32], secret: &secret, is_known: true };
    let verify = |authority| {
        let verifier = Verifier::new(Settings::default());
        sample.with(|request| {
            verifier.verify(&signed, &Request { authority: Some(authority), ..*request }, Service::Aps, &source, SIGNED_AT_MS)
        })
    };
    assert_eq!(verify("flotilla.example:9009"), Ok(PathForm::Raw));
    assert_eq!(verify("flotilla.example"), Err(AuthError::WrongSignature));
}

#[test]
fn changing_any_part_of_a_signed_request_is_found() {
    for name in ["query in the URL", "form query", "session token", "presigned", "presigned with session token"] {
        let sample = botocore(name);
        let mut mutants = vec![];
        let mut mutant = |f: &dyn Fn(&mut Sample)| {
            let mut mutant = sample.clone();
            f(&mut mutant);
            mutants.push(mutant);
        };
        mutant(&|m| m.method = "PUT".into());
        mutant(&|m| m.target = m.target.replacen("/workspaces", "/workspacet", 1));
        mutant(&|m| m.target.push_str(if m.target.contains('?') { "&extra=1" } else { "?extra=1" }));
        mutant(&|m| m.body.push('x'));
        for at in 0..sample.headers.len() {
            if sample.headers[at].0 != "content-length" {
                mutant(&|m| m.headers[at].1.push('0'));
            }
        }
        if let Some((path, query)) = sample.target.split_once('?') {
            for (at, pair) in query.split('&').enumerate() {
                let changed = |with: String| {
                    let pairs: Vec<_> =
                        query.split('&').enumerate().map(|(i, old)| if i == at { with.clone() } else { old.into() }).collect();
                    format!("{path}?{}", pairs.join("&"))
                };
                mutant(&|m| m.target = changed(format!("{pair}1")));
                mutant(&|m| m.target = changed(String::new()));
            }
        }
        for mutant in mutants {
            assert!(mutant.verify().is_err(), "{mutant:?}");
        }
    }
}

#[test]
fn changing_any_part_of_the_authorization_is_found() {
    let sample = botocore("session token");
    let text = sample.clone().header("authorization").clone();
    for at in ALGORITHM.len()..text.len() {
        for with in ["0", "f", "x", "/", ""] {
            let changed = format!("{}{with}{}", &text[..at], &text[at + 1..]);
            let mut mutant = sample.clone();
            mutant.header("authorization").clone_from(&changed);
            let is_same = changed.replace(", ", ",").replacen(' ', "", 1) == text.replace(", ", ",").replacen(' ', "", 1);
            assert_eq!(mutant.verify().is_ok(), is_same, "{changed}");
        }
    }
}

fn with_header(sample: &Sample, name: &str, value: &str) -> Sample {
    let mut changed = sample.clone();
    changed.headers.push((name.into(), value.into()));
    changed
}

#[test]
fn requests_are_refused_by_name() {
    let sample = botocore("list workspaces");
    let authorization = |f: &dyn Fn(&str) -> String| {
        let mut changed = sample.clone();
        let text = changed.header("authorization");
        *text = f(text);
        changed.verify().unwrap_err()
    };
    let malformed = |part| AuthError::Malformed { part };
    assert_eq!(authorization(&|t| t.split(", Signature").next().unwrap().into()), AuthError::Missing { part: "'Signature' parameter" });
    assert_eq!(authorization(&|t| t.replace("Credential=", "Credentials=")), malformed("Authorization header"));
    assert_eq!(authorization(&|t| format!("{t}, {}", t.split(' ').nth(1).unwrap().trim_matches(','))), malformed("Authorization header"));
    assert_eq!(authorization(&|t| t.replace("/aps/", "/sts/")), AuthError::Service { expected: "aps" });
    assert_eq!(authorization(&|t| t.replace("/20150830/", "/20150831/")), AuthError::ScopeDate);
    assert_eq!(authorization(&|t| t.replace("/us-east-1/", "/eu/us-east-1/")), malformed("Credential"));
    assert_eq!(authorization(&|t| t.replace("/us-east-1/", "/eu-west-1/")), AuthError::WrongSignature);
    assert_eq!(authorization(&|t| t.replace("aws4_request", "aws5_request")), malformed("Credential"));
    assert_eq!(authorization(&|t| t.replace("host;", "")), AuthError::NotSigned { name: "host".into() });
    assert_eq!(authorization(&|t| t.replace(";x-amz-date", "")), AuthError::NotSigned { name: "x-amz-date".into() });
    assert_eq!(authorization(&|t| t.replace("host;", "host;accept;")), AuthError::SignedMissing { name: "accept".into() });
    assert_eq!(authorization(&|t| t.replace("host;", "host;host;")), malformed("SignedHeaders"));
    assert_eq!(authorization(&|t| t.replace("host;", "Host;")), malformed("SignedHeaders"));
    assert_eq!(authorization(&|t| t.replace("AKIDEXAMPLE", "AKIDUNKNOWN")), AuthError::Unrecognized);
    assert_eq!(authorization(&|t| t.replace("Signature=", "Signature=0")), malformed("Signature"));
    let added = |name, value| with_header(&sample, name, value).verify().unwrap_err();
    assert_eq!(added("x-amz-date", "20150830T123600Z"), malformed("X-Amz-Date"));
    assert_eq!(added("x-amz-security-token", "t"), AuthError::NotSigned { name: "x-amz-security-token".into() });
    assert_eq!(added("x-amz-anything", ""), AuthError::NotSigned { name: "x-amz-anything".into() });
    assert_eq!(with_header(&sample, "x-other", "").verify(), Ok(PathForm::Raw));
    let mut undated = sample.clone();
    undated.headers.retain(|(name, _)| name != "x-amz-date");
    assert_eq!(undated.verify(), Err(AuthError::Missing { part: "'X-Amz-Date' header" }));
    assert_eq!(sample.parse().unwrap().check_scope(Service::Sts, &Settings::default()), Err(AuthError::Service { expected: "sts" }));
}

#[test]
fn regions_can_be_limited_and_the_empty_one_is_always_served() {
    let settings = Settings { regions: Some(BTreeSet::from(["eu-west-1".to_owned()])), ..Settings::default() };
    let check = |name| botocore(name).parse().unwrap().check_scope(Service::Aps, &settings);
    assert_eq!(check("list workspaces"), Err(AuthError::Region));
    assert_eq!(check("empty region"), Ok(()));
}

#[test]
fn time_is_checked_both_ways() {
    let verifier = Verifier::new(Settings::default());
    let at = |name, offset_ms| botocore(name).verify_at(&verifier, SIGNED_AT_MS + offset_ms).map_err(|error| error.name());
    for (name, first_ms, last_ms) in [("list workspaces", -300_000, 300_000), ("presigned", -300_000, 600_000)] {
        assert_eq!(at(name, first_ms), Ok(PathForm::Raw));
        assert_eq!(at(name, last_ms), Ok(PathForm::Raw));
        assert_eq!(at(name, first_ms - 1), Err(crate::ErrorName::InvalidSignature));
        assert_eq!(at(name, last_ms + 1), Err(crate::ErrorName::InvalidSignature));
    }
    for now_ms in [i64::MIN, i64::MAX] {
        assert!(botocore("list workspaces").verify_at(&verifier, now_ms).is_err());
    }
}

#[test]
fn a_presigned_request_is_valid_for_a_week_at_most() {
    for (seconds, is_read) in [("0", false), ("1", true), ("604800", true), ("604801", false), ("-1", false), ("+1", false), ("", false)] {
        let mut sample = botocore("presigned");
        sample.target = sample.target.replace("Expires=600", &format!("Expires={seconds}"));
        assert_eq!(sample.parse().is_ok(), is_read, "{seconds}");
    }
    let mut sample = botocore("presigned");
    sample.target.push_str("&X-Amz-Date=20150830T123600Z");
    assert_eq!(sample.verify(), Err(AuthError::Malformed { part: "X-Amz-Date" }));
}

fn signed_with_payload(value: &str, is_tls: bool, settings: Settings) -> Result<PathForm, AuthError> {
    let headers = [("host".to_owned(), "a".to_owned()), ("x-amz-content-sha256".to_owned(), value.to_owned())];
    let mut sample =
        Sample { name: String::new(), method: "POST".into(), target: "/".into(), headers: headers.to_vec(), body: "body".into() };
    // Signed by hand: no client of ours signs this.
    sample.headers.push(("x-amz-date".into(), "20150830T123600Z".into()));
    let canonical = format!(
        "POST\n/\n\nhost:a\nx-amz-content-sha256:{value}\nx-amz-date:20150830T123600Z\n\nhost;x-amz-content-sha256;x-amz-date\n{value}"
    );
    let hash = canonical::hex(ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes()).as_ref());
    let string = format!("{ALGORITHM}\n20150830T123600Z\n20150830/r/aps/aws4_request\n{hash}");
    let key = key::derive(&Secret::from(SECRET), "20150830", "r", "aps");
    let signature = canonical::hex(ring::hmac::sign(&key, string.as_bytes()).as_ref());
    let names = "host;x-amz-content-sha256;x-amz-date";
    let parameters =
        format!("{ALGORITHM} Credential=AKIDEXAMPLE/20150830/r/aps/aws4_request, SignedHeaders={names}, Signature={signature}");
    sample.headers.push(("authorization".into(), parameters));
    let signed = sample.parse()?;
    let secret = || Some(Secret::from(SECRET));
    let source = KeySource { origin: [1; 32], secret: &secret, is_known: true };
    let verifier = Verifier::new(settings);
    sample.with(|request| verifier.verify(&signed, &Request { is_tls, ..*request }, Service::Aps, &source, SIGNED_AT_MS))
}

#[test]
fn payloads_are_covered_unless_allowed_otherwise() {
    let body = canonical::hex(ring::digest::digest(&ring::digest::SHA256, b"body").as_ref());
    let allowing = || Settings { is_unsigned_payload_allowed: true, ..Settings::default() };
    assert_eq!(signed_with_payload(&body, false, Settings::default()), Ok(PathForm::Raw));
    assert_eq!(signed_with_payload(&"0".repeat(64), false, Settings::default()), Err(AuthError::PayloadHash));
    assert_eq!(signed_with_payload(&body.to_uppercase(), false, Settings::default()), Err(AuthError::PayloadHash));
    assert_eq!(signed_with_payload("UNSIGNED-PAYLOAD", true, Settings::default()), Err(AuthError::UnsignedPayload));
    assert_eq!(signed_with_payload("UNSIGNED-PAYLOAD", false, allowing()), Err(AuthError::UnsignedPayload));
    assert_eq!(signed_with_payload("UNSIGNED-PAYLOAD", true, allowing()), Ok(PathForm::Raw));
    for kind in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        assert_eq!(signed_with_payload(kind, true, allowing()), Err(AuthError::StreamingPayload));
    }
}

#[test]
fn only_keys_that_verified_are_kept_and_a_new_secret_replaces_the_old() {
    let verifier = Verifier::new(Settings::default());
    let mut wrong = botocore("list workspaces");
    wrong.target.push('0');
    assert_eq!(wrong.verify_at(&verifier, SIGNED_AT_MS), Err(AuthError::WrongSignature));
    assert_eq!(verifier.kept_bytes(), 0);
    let right = botocore("list workspaces");
    let signed = right.parse().unwrap();
    let asked = std::cell::Cell::new(0);
    let verify = |origin, text: &str| {
        let secret = || {
            asked.set(asked.get() + 1);
            Some(Secret::from(text))
        };
        let source = KeySource { origin, secret: &secret, is_known: true };
        right.with(|request| verifier.verify(&signed, request, Service::Aps, &source, SIGNED_AT_MS))
    };
    assert_eq!(verify([1; 32], SECRET), Ok(PathForm::Raw));
    assert!(verifier.kept_bytes() > 0);
    assert_eq!(verify([1; 32], SECRET), Ok(PathForm::Raw));
    assert_eq!(asked.get(), 1, "the second time the kept key serves");
    assert_eq!(verify([2; 32], "another"), Err(AuthError::WrongSignature));
    let gone = KeySource { origin: [3; 32], secret: &|| None, is_known: true };
    let verdict = right.with(|request| verifier.verify(&signed, request, Service::Aps, &gone, SIGNED_AT_MS));
    assert_eq!(verdict, Err(AuthError::SecretUnavailable));
    assert_eq!(verdict.unwrap_err().status(), 500, "senders must try again");
}

/// Signs with AWS's own signer.
fn sign_by_aws(sample: &mut Sample, region: &str, location: SignatureLocation, token: Option<&str>) {
    let identity = Credentials::new("AKIDEXAMPLE", SECRET, token.map(str::to_owned), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.signature_location = location;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.expires_in = (location == SignatureLocation::QueryParams).then(|| Duration::from_secs(60));
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(SIGNED_AT_MS.unsigned_abs());
    let parameters = v4::SigningParams::builder().identity(&identity).region(region).name("aps").time(time).settings(settings);
    let parameters = parameters.build().unwrap().into();
    let (headers, query) = {
        let given = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let uri = format!("http://flotilla.example{}", sample.target);
        let body = SignableBody::Bytes(sample.body.as_bytes());
        let request = SignableRequest::new(&sample.method, uri, given, body).unwrap();
        sign(request, &parameters).unwrap().into_parts().0.into_parts()
    };
    sample.headers.extend(headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())));
    for (name, value) in query {
        let separator = if sample.target.contains('?') { '&' } else { '?' };
        let value = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
        sample.target.push_str(&format!("{separator}{name}={value}"));
    }
}

prop_compose! {
    fn unsigned()(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH"]),
        path in "(/[a-zA-Z0-9._~!$&'()*,;:@=-]{1,6}|/%[2-7][0-9A-F]){1,4}/?",
        query in "([a-zA-Z0-9._~-]|%[2-7][0-9A-F]){1,4}=([a-zA-Z0-9._~-]|%[2-7][0-9A-F]|%C3%A4|\\+){0,6}",
        pairs in 0..4_usize,
        value in "[ -~]{0,20}",
        body in ".{0,40}",
    ) -> Sample {
        let query = (0..pairs).map(|at| format!("{at}{query}")).collect::<Vec<_>>().join("&");
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let headers = vec![("host".into(), "flotilla.example".into()), ("x-amz-meta".into(), value.trim().into())];
        Sample { name: String::new(), method: method.into(), target, headers, body }
    }
}

proptest! {
    #[test]
    fn what_awss_signer_signs_verifies(
        mut sample in unsigned(),
        region in "[a-z]{1,3}-[a-z]{1,4}-[0-9]",
        is_presigned in any::<bool>(),
        token in prop::option::of("[a-zA-Z0-9+/=]{1,40}"),
    ) {
        let location = if is_presigned { SignatureLocation::QueryParams } else { SignatureLocation::Headers };
        sign_by_aws(&mut sample, &region, location, token.as_deref());
        prop_assert!(sample.verify().is_ok(), "{:?} {:?}", sample, sample.verify());
        prop_assert_eq!(sample.parse().unwrap().session_token, token);
        sample.body.push('x');
        prop_assert_eq!(sample.verify(), Err(AuthError::WrongSignature));
    }

    #[test]
    fn arbitrary_credentials_never_panic(parameters in ".{0,80}", query in ".{0,80}", path in ".{0,20}", value in prop::collection::vec(any::<u8>(), 0..40)) {
        let headers = [("x-amz-date", value.as_slice()), ("x-amz-content-sha256", value.as_slice()), ("host", value.as_slice())];
        let request = Request { method: "GET", path: &path, query: &query, authority: None, headers: &headers, body: &value, is_tls: false };
        let _ = Signed::parse_header(&request, &parameters);
        let presigned = format!("X-Amz-Algorithm=AWS4-HMAC-SHA256&{query}");
        let _ = Signed::parse_presigned(&Request { query: &presigned, ..request });
        let mut signed = botocore("list workspaces").parse().unwrap();
        signed.signed_headers.push("x-amz-content-sha256".into());
        let _ = canonical::Canonical::new(&signed, &request, &Settings::default());
    }
}
