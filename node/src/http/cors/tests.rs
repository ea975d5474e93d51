use super::*;

fn answer(origins: &CorsOrigin, origin: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    apply(origins, origin.map(HeaderValue::from_static).as_ref(), &mut headers);
    headers
}

#[test]
fn any_origin_is_allowed_by_a_star() {
    let headers = answer(&CorsOrigin::parse(".*").unwrap(), Some("http://a.example"));
    assert_eq!(headers[VARY], "Origin");
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "Accept, Authorization, Content-Type, Origin");
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST, OPTIONS");
    assert_eq!(headers[ACCESS_CONTROL_EXPOSE_HEADERS], "Date");
}

#[test]
fn without_an_origin_only_vary_is_set() {
    let headers = answer(&CorsOrigin::parse(".*").unwrap(), None);
    assert_eq!((headers.len(), &headers[VARY]), (1, &HeaderValue::from_static("Origin")));
}

#[test]
fn a_matching_origin_is_echoed_and_another_is_not_named() {
    let origins = CorsOrigin::parse(r"https://(a|b)\.example").unwrap();
    assert_eq!(answer(&origins, Some("https://b.example"))[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.example");
    for other in ["https://c.example", "https://a.example.evil", "x https://a.example"] {
        let headers = answer(&origins, Some(other));
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) && headers.contains_key(ACCESS_CONTROL_ALLOW_METHODS));
    }
}
