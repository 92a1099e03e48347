//! A document as it was written: members in their order, nothing left out and nothing made up.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;

/// A value of JSON or YAML. Unlike `serde_json`'s own it refuses a member that stands twice: of two
/// readers one would believe the first and one the last.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

pub(super) type Map = IndexMap<String, Node>;

impl Node {
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.as_map()?.get(name)
    }

    pub(super) const fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) const fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The members, none where this is no map.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        let members = self.as_map().into_iter().flatten();
        members.map(|(name, node)| (name.as_str(), node))
    }

    /// The value that stands at a JSON pointer's steps.
    pub(super) fn at<'s>(&self, steps: impl Iterator<Item = &'s str>) -> Option<&Self> {
        let mut node = self;
        for step in steps {
            node = match node {
                Self::Map(map) => map.get(step)?,
                Self::List(list) => list.get(step.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(node)
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Node {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl<T: Into<Node>> FromIterator<T> for Node {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

/// A map of these members.
pub(super) fn map<N: Into<String>>(members: impl IntoIterator<Item = (N, Node)>) -> Node {
    let members = members.into_iter();
    Node::Map(members.map(|(name, node)| (name.into(), node)).collect())
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => {
                let mut all = serializer.serialize_seq(Some(list.len()))?;
                list.iter()
                    .try_for_each(|node| all.serialize_element(node))?;
                all.end()
            }
            Self::Map(map) => {
                let mut all = serializer.serialize_map(Some(map.len()))?;
                map.iter()
                    .try_for_each(|(k, v)| all.serialize_entry(k, v))?;
                all.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has too")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Node, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("a number that is none"))?;
        Ok(Node::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if map.contains_key(&name) {
                let problem = format!("the member `{name}` stands here twice: keep one of them");
                return Err(de::Error::custom(problem));
            }
            let node = access.next_value()?;
            map.insert(name, node);
        }
        Ok(Node::Map(map))
    }
}
