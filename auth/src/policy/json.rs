//! JSON in which no object names a member twice: a reader that takes the last would see another policy than one that takes the first.

use super::error::{Place, PolicyError, PolicyFact};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A value; numbers stand in no policy, so theirs are not kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Number,
    Bool(bool),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Reads a text. Nesting beyond 128 levels is refused.
pub(super) fn parse(text: &str) -> Result<Json, PolicyError> {
    serde_json::from_str(text).map_err(|error| Place::default().error(PolicyFact::Json { line: error.line(), column: error.column() }))
}

impl Json {
    pub(super) fn text<'a>(&'a self, place: &Place) -> Result<&'a str, PolicyError> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(place.expected("a string")),
        }
    }

    pub(super) fn object<'a>(&'a self, place: &Place) -> Result<&'a [(String, Json)], PolicyError> {
        match self {
            Self::Object(members) => Ok(members),
            _ => Err(place.expected("an object")),
        }
    }

    /// The elements of a list that is not empty, or the value itself, which stands for a list of one.
    pub(super) fn one_or_more<'a>(&'a self, place: &Place, max: usize) -> Result<&'a [Json], PolicyError> {
        match self {
            Self::List(list) if list.is_empty() => Err(place.expected("a list that is not empty")),
            Self::List(list) if list.len() > max => Err(place.error(PolicyFact::TooMany { max })),
            Self::List(list) => Ok(list),
            one => Ok(std::slice::from_ref(one)),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom("a name stands twice"));
        }
        Ok(Json::Object(members))
    }
}
