use super::*;

fn admit(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
    let bytes: Vec<LabelBytes<'_>> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    admit_bytes(&bytes)
}

fn admit_bytes(pairs: &[LabelBytes<'_>]) -> Result<Vec<(String, String)>, String> {
    let mut labels = pairs.to_vec();
    let owned = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match admit_labels(&mut labels, pairs.len(), &AdmitLimits::new(0)) {
        Ok(()) => Ok(labels.iter().map(|(n, v)| (owned(n), owned(v))).collect()),
        Err(refusal) => Err(refusal.text(&labels)),
    }
}

#[test]
fn labels_are_sorted_and_empty_values_dropped() {
    let admitted = admit(&[("job", "node"), ("a.b c\n", "ü\n"), ("zone", ""), ("__name__", "up")]).unwrap();
    let admitted: Vec<_> = admitted.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(admitted, [("__name__", "up"), ("a.b c\n", "ü\n"), ("job", "node")]);
}

#[test]
fn refused_label_sets_say_why() {
    let name = ("__name__", "up");
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[], "invalid metric name or labels, got {}"),
        (&[("job", "node")], r#"invalid metric name or labels, got {job="node"}"#),
        (&[("__name__", ""), ("job", "node")], r#"invalid metric name or labels, got {__name__="", job="node"}"#),
        (&[name, ("", "x")], r#"invalid metric name or labels, got {""="x", __name__="up"}"#),
        (&[name, ("x", "1"), ("x", "2")], r#"invalid labels for series, labels {__name__="up", x="1", x="2"}, duplicated label x"#),
        (&[name, ("x", ""), ("x", "2")], r#"invalid labels for series, labels {__name__="up", x="", x="2"}, duplicated label x"#),
        (&[name, ("__tenant__", "a")], r#"invalid labels for series, labels {__name__="up", __tenant__="a"}, reserved label __tenant__"#),
        (
            &[name, ("__flotilla_x", "a")],
            r#"invalid labels for series, labels {__flotilla_x="a", __name__="up"}, reserved label __flotilla_x"#,
        ),
    ];
    for (labels, expected) in cases {
        assert_eq!(admit(labels), Err(expected.to_owned()), "{labels:?}");
    }
    assert!(admit(&[name, ("__type__", "counter"), ("__meta_x", "y")]).is_ok());
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    for bad in [&b"\xff"[..], b"\xc3\x28", b"\xed\xa0\x80"] {
        let value = admit_bytes(&[(b"__name__", b"up"), (b"a", bad)]).unwrap_err();
        assert!(value.starts_with("invalid metric name or labels, got {__name__=\"up\", a=\""), "{value}");
        assert!(admit_bytes(&[(b"__name__", b"up"), (bad, b"a")]).is_err());
        assert!(admit_bytes(&[(b"__name__", bad)]).is_err());
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let limits = AdmitLimits::new(0);
    let named: Vec<String> = (0..limits.labels).map(|i| format!("l{i:04}")).collect();
    let mut pairs: Vec<(&str, &str)> = named.iter().map(|n| (n.as_str(), "v")).collect();
    pairs[0] = ("__name__", "up");
    assert!(admit(&pairs).is_ok());
    pairs.push(("one_more", "v"));
    let text = admit(&pairs).unwrap_err();
    assert!(text.starts_with("series has too many labels (actual: 151, limit: 150) series: '{__name__=\"up\", l0001=\"v\""), "{text}");

    let long = "n".repeat(limits.label_name_bytes + 1);
    assert!(admit(&[("__name__", "up"), (&long[1..], "v")]).is_ok());
    let expected = format!(
        "label name too long for metric (actual: 1025, limit: 1024) metric: \"up{{{}\" label name: \"{}\"",
        "n".repeat(197),
        "n".repeat(200)
    );
    assert_eq!(admit(&[("__name__", "up"), (&long, "v")]), Err(expected));

    let long = "v".repeat(limits.label_value_bytes + 1);
    assert!(admit(&[("__name__", "up"), ("a", &long[1..])]).is_ok());
    let text = admit(&[("__name__", "up"), ("a", &long)]).unwrap_err();
    assert!(text.starts_with("label value too long for metric (actual: 2049, limit: 2048) metric: \"up{a=\\\"vvv"), "{text}");
    assert!(text.ends_with(&format!("vvv\" label value: \"{}\"", &long[..200])), "{text}");

    let many: Vec<(String, String)> = (0..17).map(|i| (format!("l{i:02}"), "v".repeat(2000))).collect();
    let mut pairs: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    pairs.push(("__name__", "up"));
    let text = admit(&pairs).unwrap_err();
    assert!(text.starts_with("labels size bytes exceeded for metric (actual: 34061, limit: 32768) metric: \"up{l00="), "{text}");
}

#[test]
fn texts_are_bounded_whatever_was_sent() {
    let huge = "é\"".repeat(4 << 10);
    let names: Vec<String> = (0..LABELS_KEPT_MAX).map(|i| format!("{i}{huge}")).collect();
    let labels: Vec<LabelBytes<'_>> = names.iter().map(|n| (n.as_bytes(), huge.as_bytes())).collect();
    let refusals = [
        Refusal::TooManyLabels { actual: 1, limit: 0 },
        Refusal::Labels,
        Refusal::Duplicate { index: 7 },
        Refusal::NameTooLong { index: 9, limit: 1 },
        Refusal::ValueTooLong { index: 9, limit: 1 },
        Refusal::LabelsTooLong { actual: 1, limit: 0 },
        Refusal::TooOld { timestamp_ms: i64::MIN },
    ];
    for refusal in refusals {
        let text = refusal.text(&labels);
        assert!(text.len() < 6 << 10, "{} bytes for {refusal:?}", text.len());
    }
}

#[test]
fn c6_samples_older_than_retention_are_refused_here() {
    let limits = AdmitLimits::new(1000);
    let at = |timestamp_ms| admit_sample(Sample { timestamp_ms, value: 0.0 }, &limits);
    assert_eq!((at(1000), at(i64::MAX)), (Ok(()), Ok(())));
    for timestamp_ms in [999, 0, -1, i64::MIN] {
        let refusal = at(timestamp_ms).unwrap_err();
        assert_eq!(
            refusal.text(&[(b"__name__", b"up")]),
            format!("out of bounds: timestamp {timestamp_ms} is older than the retention for series {{__name__=\"up\"}}")
        );
    }
}
