use super::*;
use proptest::prelude::*;

fn matches(pattern: &str, value: &str) -> bool {
    Regex::anchored(pattern).unwrap().is_match(value)
}

fn refusal(pattern: &str) -> String {
    Regex::anchored(pattern).unwrap_err().to_string()
}

#[test]
fn constructs_that_the_dialects_read_differently_are_read_as_re2_does() {
    for (pattern, yes, no) in [
        (r"\d", "5", "\u{663}"),
        (r"\w+", "a_9", "é"),
        (r"\s", " ", "\u{a0}"),
        (r"\S", "\u{a0}", " "),
        (r"[\s\d]", "5", "\x0b"),
        (r".\bfoo", " foo", "éXfoo"),
        (r"é\bfoo", "éfoo", "foo"),
        (r"é\B.", "é!", "éa"),
        (r"[a&&b]", "&", "c"),
        (r"[a~~b]", "~", "c"),
        (r"[[a]]", "[]", "a"),
        (r"\<a", "<a", "a"),
        (r"\Qa.b\E+", "a.bb", "axb"),
        (r"\123", "S", "123"),
        (r"\p{^Greek}", "a", "α"),
        (r"a{,3}", "a{,3}", "aa"),
        (r"{", "{", ""),
        (r"a{01}", "a{01}", "a"),
        (r"(?i)k", "\u{212a}", "x"),
        (r"a$", "a", "a\n"),
        (r"(?m)a$\n^b", "a\nb", "ab"),
        (r".", "\n", ""),
        (r"(?-s:.)", "a", "\n"),
        (r"[^a]", "\n", "a"),
        (r"(?)a", "a", ""),
        (r"[]a]", "]", "[]"),
        (r"[a-]", "-", "b"),
        (r"a|", "", "b"),
    ] {
        assert!(matches(pattern, yes), "{pattern} must match {yes:?}");
        assert!(!matches(pattern, no), "{pattern} must not match {no:?}");
    }
}

#[test]
fn what_re2_refuses_is_refused_in_its_words() {
    for (pattern, text) in [
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?<=a)", "invalid or unsupported Perl syntax: `(?<`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a++", "invalid nested repetition operator: `++`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|+", "missing argument to repetition operator: `+`"),
        ("(?:*)", "missing argument to repetition operator: `*`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("(a{1000}){2}", "invalid repeat count: `{2}`"),
        ("((x|a{100}){5}){3}", "invalid repeat count: `{3}`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("[a", "missing closing ]: `[a`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("(?P<n>a)(?P<n>b)", "duplicate capture group name: `n`"),
        ("a\\", "trailing backslash at end of expression: ``"),
    ] {
        assert_eq!(refusal(pattern), format!("error parsing regexp: {text}"), "{pattern}");
    }
}

#[test]
fn long_and_large_patterns_are_refused() {
    let long = "a".repeat(REGEX_BYTES_MAX + 1);
    assert_eq!(Regex::anchored(&long).unwrap_err(), RegexError::TooLong { bytes: long.len() });
    assert_eq!(Regex::anchored(r"(\p{L}{100}|\P{N}{100}){10}").unwrap_err(), RegexError::TooLarge);
    assert!(Regex::anchored(&"(".repeat(4000)).is_err());
    assert!(Regex::anchored(&format!("{}{}", "(".repeat(2000), ")".repeat(2000))).is_err());
}

#[test]
fn choices_of_literals_and_prefixes_are_known() {
    let set = |pattern: &str| Regex::anchored(pattern).unwrap().set_matches().map(<[String]>::to_vec);
    assert_eq!(set("b|a|foo|far").unwrap(), ["a", "b", "far", "foo"]);
    assert_eq!(set("api-(read|write|)").unwrap(), ["api-", "api-read", "api-write"]);
    assert_eq!(set("x[0-2]").unwrap(), ["x0", "x1", "x2"]);
    assert_eq!(set("a(_b)?").unwrap(), ["a", "a_b"]);
    assert_eq!(set("").unwrap(), [""]);
    assert_eq!(set("a.*"), None);
    assert_eq!(set("[a-z][a-z]"), None);
    assert_eq!(set("a$|b"), None);
    let prefix = |pattern: &str| Regex::anchored(pattern).unwrap().prefix().to_owned();
    assert_eq!(prefix("foo.*"), "foo");
    assert_eq!(prefix("(foo)\\.bar+"), "foo.ba");
    assert_eq!(prefix("foo|fob.*"), "fo");
    assert_eq!(prefix("(?i)foo.*"), "");
    assert_eq!(prefix("a?b"), "");
}

#[test]
fn common_shapes_match_without_the_engine() {
    for (pattern, yes, no) in [
        (".*", &["", "\n", "a"][..], &[][..]),
        (".+", &["a", "\n"], &[""]),
        ("foo.*", &["foo", "foobar"], &["fo", "xfoo"]),
        ("foo.+", &["foo1"], &["foo"]),
        (".*foo", &["foo", "xfoo"], &["foox"]),
        ("(.+)foo", &["éfoo"], &["foo"]),
        (".*foo.*", &["foo", "xfoox"], &["fo"]),
        ("aba.*aba", &["abaaba", "aba-aba"], &["aba", "ababa"]),
    ] {
        let regex = Regex::anchored(pattern).unwrap();
        assert!(regex.inner.engine.get().is_none(), "{pattern}");
        assert!(yes.iter().all(|v| regex.is_match(v)) && !no.iter().any(|v| regex.is_match(v)), "{pattern}");
    }
    assert!(!matches("(?-s).*", "\n"));
}

#[test]
fn templates_expand_as_go_expands_them() {
    let regex = Regex::anchored("(?P<host>[a-z]+):(\\d+)?(?P<1st>x)?").unwrap();
    for (template, text) in [
        ("$1/$2", "db/80"),
        ("${host}x $hostx", "dbx "),
        ("$1st|${1st}|$3", "x|x|x"),
        ("$$1 $ ${ ${1 $9 $0", "$1 $ ${ ${1  db:80x"),
        ("é$1-$1é", "édb-"),
    ] {
        assert_eq!(regex.expand("db:80x", template).as_deref(), Some(text), "{template}");
    }
    assert_eq!(regex.expand("db", "$1"), None);
    assert_eq!(regex.expand("db:", "[$2]").as_deref(), Some("[]"));
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
#[allow(clippy::disallowed_methods, clippy::print_stdout)]
fn recorded_verdicts_of_re2_agree() {
    let folder = std::env::var("FLOTILLA_CONFORMANCE").expect("FLOTILLA_CONFORMANCE names the folder of recorded facts");
    let text = std::fs::read_to_string(format!("{folder}/regex-re2.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
    let subjects: Vec<&str> = recorded["subjects"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    let mut differences = Vec::new();
    let rows = recorded["rows"].as_array().unwrap();
    for row in rows {
        let pattern = row["pattern"].as_str().unwrap();
        let expected: Option<Vec<&str>> = row["matches"].as_array().map(|m| m.iter().map(|s| s.as_str().unwrap()).collect());
        let ours = Regex::anchored(pattern).map(|r| subjects.iter().copied().filter(|s| r.is_match(s)).collect::<Vec<_>>());
        if ours.as_ref().ok() != expected.as_ref() {
            differences.push(format!("{pattern}: {ours:?} not {expected:?}"));
        }
    }
    println!("{} of {} patterns agree", rows.len() - differences.len(), rows.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

proptest! {
    #[test]
    fn quoted_text_matches_itself_alone(text in any::<String>(), other in any::<String>()) {
        prop_assume!(!text.contains("\\E") && !text.ends_with('\\'));
        let regex = Regex::anchored(&format!("\\Q{text}\\E")).unwrap();
        prop_assert!(regex.is_match(&text));
        prop_assert_eq!(regex.is_match(&other), other == text);
        prop_assert_eq!(regex.prefix(), text);
    }

    #[test]
    fn fast_paths_agree_with_the_engine(
        pattern in "(a|b|ab|\\(|\\)|\\||\\*|\\?|\\+|\\.|\\[ab\\]|\\.\\*|\\.\\+|x\\{2\\}|\\(\\?i\\)){0,8}",
        value in "[abABx.]{0,6}",
    ) {
        if let Ok(regex) = Regex::anchored(&pattern) {
            let engine = regex.inner.engine().unwrap().is_match(&value);
            prop_assert_eq!(regex.is_match(&value), engine);
            prop_assert!(!engine || value.starts_with(regex.prefix()));
        }
    }

    #[test]
    fn no_pattern_panics(pattern in any::<String>(), dense in "[\\[\\](){}*+?|^$.\\\\a-zQEP<>:0-9,-]{0,24}") {
        let _ = Regex::anchored(&pattern);
        let _ = Regex::anchored(&dense);
    }
}
