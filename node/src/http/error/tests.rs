use super::*;
use crate::ingest::decode::Fault;

#[test]
fn every_type_has_prometheuss_status_but_for_unavailable() {
    let table = [
        (ErrorType::BadData, "bad_data", 400),
        (ErrorType::Execution, "execution", 422),
        (ErrorType::Canceled, "canceled", 499),
        (ErrorType::Timeout, "timeout", 503),
        (ErrorType::Internal, "internal", 500),
        (ErrorType::NotFound, "not_found", 404),
        (ErrorType::NotAcceptable, "not_acceptable", 406),
        (ErrorType::Unavailable, "unavailable", 503),
    ];
    for (error_type, text, status) in table {
        let response = ApiError::new(error_type, "x").into_response();
        assert_eq!((error_type.as_str(), response.status().as_u16()), (text, status));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.headers().contains_key(RETRY_AFTER), error_type == ErrorType::Unavailable);
    }
}

#[test]
fn c7_only_what_may_be_repeated_carries_retry_after() {
    let half_second = Duration::from_millis(500);
    let protobuf = DecodeError::Protobuf { offset: 3, fault: Fault::Truncated };
    let table: [(WriteError, u16, Option<&str>); 8] = [
        (HeaderError::Encoding { found: "gzip".into() }.into(), 415, None),
        (BodyError::TooLarge { limit: 1 }.into(), 413, None),
        (BodyError::Timeout { after: half_second }.into(), 408, None),
        (DecodeError::TooLarge { actual: 2, limit: 1 }.into(), 413, None),
        (protobuf.into(), 400, None),
        (WriteError::Rejected { text: "x".into() }, 400, None),
        (WriteError::RateLimited { limit: 6666.66, samples: 499, metadata: 0, retry_after: Duration::from_millis(1001) }, 429, Some("2")),
        (WriteError::Unavailable { text: "no leader".into(), retry_after: half_second }, 503, Some("1")),
    ];
    for (error, status, retry_after) in table {
        let text = error.to_string();
        let response = error.into_response();
        assert_eq!(response.status().as_u16(), status, "{text}");
        assert_eq!(response.headers().get(RETRY_AFTER).map(|v| v.to_str().unwrap()), retry_after, "{text}");
    }
    let limited = WriteError::RateLimited { limit: 6666.66, samples: 499, metadata: 0, retry_after: half_second };
    assert_eq!(limited.to_string(), "ingestion rate limit (6666.66) exceeded while adding 499 samples and 0 metadata");
}

#[test]
fn not_ready_says_whether_the_server_stops() {
    for (stopping, expected) in [(true, "true"), (false, "false")] {
        let response = not_ready(stopping);
        assert_eq!((response.status().as_u16(), &response.headers()["x-prometheus-stopping"]), (503, &HeaderValue::from_static(expected)));
    }
}

#[test]
fn a_bad_parameter_is_named() {
    assert_eq!(ApiError::invalid_parameter("step", "why").message, r#"invalid parameter "step": why"#);
}
