//! The texts that each layer gives for each setting: file, environment, flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::settings::{self, ENV_PREFIX, SETTINGS};
use super::{Fact, Flags, Origin, Problem, Setting};

/// Variables with our prefix that are no settings.
const ENV_OF_TESTS: &[&str] = &["FLOTILLA_CONFORMANCE", "FLOTILLA_CLIENTS"];

/// Texts of the layers above the defaults.
#[derive(Debug, Default)]
pub(super) struct Layers {
    texts: BTreeMap<&'static str, Vec<(Origin, String)>>,
    pub(super) problems: Vec<Problem>,
}

impl Layers {
    /// Texts for a setting, the one that wins last.
    pub(super) fn texts(&self, setting: &Setting) -> &[(Origin, String)] {
        self.texts.get(setting.key).map_or(&[], Vec::as_slice)
    }

    /// Reads the file and then its text. A missing or unreadable file is a problem: it was asked for by name.
    pub(super) fn add_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_yaml(&path.display().to_string(), &text),
            Err(error) => {
                self.problem(Origin::File { path: path.display().to_string(), line: 0 }, Fact::Unreadable { reason: error.to_string() })
            }
        }
    }

    /// Reads `section: {name: value}` pairs.
    pub(super) fn add_yaml(&mut self, path: &str, text: &str) {
        let at = |line| Origin::File { path: path.to_owned(), line };
        let file = match serde_saphyr::from_str::<Option<FileSections>>(text) {
            Ok(file) => file.unwrap_or_default(),
            Err(error) => {
                let line = error.location().map_or(0, |location| location.line());
                let reason = error.without_snippet().to_string();
                return self.problem(at(line), Fact::Yaml { reason });
            }
        };
        for (section, values) in file {
            if !SETTINGS.iter().any(|setting| setting.section() == section) {
                let line = values.referenced.line();
                self.problem(at(line), Fact::UnknownKey { key: section, near: None });
                continue;
            }
            for (name, value) in values.value.unwrap_or_default() {
                let key = format!("{section}.{name}");
                let origin = at(value.referenced.line());
                match settings::by_key(&key) {
                    Some(setting) => self.text(setting, origin, value.value.0),
                    None => {
                        let near = nearest(&key, SETTINGS.iter().map(|setting| setting.key.to_owned()));
                        self.problem(origin, Fact::UnknownKey { key, near });
                    }
                }
            }
        }
    }

    /// Takes the variables that begin with our prefix.
    pub(super) fn add_env(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(ENV_PREFIX)) else { continue };
            if ENV_OF_TESTS.contains(&name) || is_service_link(name) {
                continue;
            }
            let origin = Origin::Env { name: name.to_owned() };
            match (SETTINGS.iter().find(|setting| setting.env_name() == name), value.into_string()) {
                (Some(setting), Ok(text)) => self.text(setting, origin, text),
                (Some(_), Err(_)) => self.problem(origin, Fact::NotUtf8),
                (None, _) => {
                    let near = nearest(name, SETTINGS.iter().map(|setting| setting.env_name()));
                    self.problem(origin, Fact::UnknownKey { key: name.to_owned(), near });
                }
            }
        }
    }

    /// Takes the given flags.
    pub(super) fn add_flags(&mut self, flags: &Flags) {
        for (setting, text) in flags.iter() {
            self.text(setting, Origin::Flag { name: setting.flag.to_owned() }, text.to_owned());
        }
    }

    fn text(&mut self, setting: &Setting, origin: Origin, text: String) {
        self.texts.entry(setting.key).or_default().push((origin, text));
    }

    /// Adds a problem.
    pub(super) fn problem(&mut self, origin: Origin, fact: Fact) {
        self.problems.push(Problem { origin, fact });
    }
}

type FileSections = BTreeMap<String, Spanned<Option<BTreeMap<String, Spanned<FileText>>>>>;

/// A scalar of the file as text, or a list of scalars joined by commas.
#[derive(Debug)]
struct FileText(String);

impl<'de> Deserialize<'de> for FileText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FileTextVisitor).map(FileText)
    }
}

struct FileTextVisitor;

impl<'de> Visitor<'de> for FileTextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number, true, false or a list of them")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<String, A::Error> {
        let mut joined = Vec::new();
        while let Some(FileText(text)) = list.next_element()? {
            joined.push(text);
        }
        Ok(joined.join(","))
    }
}

/// Whether Kubernetes sets this variable for a service named `flotilla` or `flotilla-...`.
fn is_service_link(name: &str) -> bool {
    let protocol = |tail: &str| {
        let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        ["_TCP", "_UDP", "_SCTP"].iter().any(|p| tail.strip_prefix(p).is_some_and(|end| matches!(end, "" | "_PROTO" | "_PORT" | "_ADDR")))
    };
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.ends_with("_PORT")
            || name.contains("_SERVICE_PORT_")
            || name.rsplit_once("_PORT_").is_some_and(|(_, tail)| protocol(tail))
            || name.match_indices("_PORT_").any(|(at, found)| protocol(&name[at + found.len()..])))
}

/// The candidate that differs least from `key`, if it differs in few characters only.
fn nearest(key: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates
        .map(|candidate| (distance(key, &candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, candidate)| candidate)
}

/// Number of bytes to insert, drop or change to make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
