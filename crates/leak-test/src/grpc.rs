//! Messages of gRPC calls, as JSON documents.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use countersign_core::ConfigError;
use prost_reflect::prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, SerializeOptions,
};
use serde_json::Value;

use crate::facts::id_name;

/// The methods that descriptor sets told of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Methods(DescriptorPool);

/// One of them: how its messages are read and written.
#[derive(Clone)]
pub(crate) struct Codec(MethodDescriptor);

impl Methods {
    pub(crate) fn add(&mut self, descriptor_set: &[u8]) -> Result<(), ConfigError> {
        let added = self.0.decode_file_descriptor_set(descriptor_set);
        added.map_err(|error| {
            let problem = format!("{error}; it must be whole, with what its files import");
            ConfigError::new("descriptor set", problem)
        })
    }

    /// The method of `/package.Service/Method`.
    pub(crate) fn find(&self, path: &str) -> Option<Codec> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let service = self.0.get_service_by_name(service)?;
        let mut methods = service.methods();
        methods.find(|known| known.name() == method).map(Codec)
    }
}

impl Codec {
    pub(crate) fn name(&self) -> &str {
        self.0.name()
    }

    /// Whether a call of it may have several messages.
    pub(crate) fn takes_many(&self) -> bool {
        self.0.is_client_streaming()
    }

    /// One message that a caller sends, as a document with the names of the `.proto` file.
    pub(crate) fn document(&self, message: &[u8]) -> Result<Value, String> {
        document(self.0.input(), message)
    }

    /// What a caller sends, read again: a list where a call may have several messages.
    pub(crate) fn documents(&self, frames: &[u8]) -> Result<Value, String> {
        let mut documents = frames_of(frames, &self.0.input()).ok_or("not read again")?;
        match (self.takes_many(), documents.len()) {
            (true, _) => Ok(Value::Array(documents)),
            (false, 1) => Ok(documents[0].take()),
            (false, _) => Err("a call of it has one message".to_owned()),
        }
    }

    /// Whether its messages have a field for an id of this name.
    pub(crate) fn has_id(&self, name: &str) -> bool {
        let fields = self.id_fields(&[]);
        let mut names = fields.iter().flatten();
        names.any(|field| id_name(field) == Some(name))
    }

    /// What a caller sends for one document, or for several in a list.
    pub(crate) fn encode(&self, documents: &Value) -> Result<Bytes, String> {
        let one = std::slice::from_ref(documents);
        let mut frames = BytesMut::new();
        for document in documents.as_array().map_or(one, Vec::as_slice) {
            let message = DynamicMessage::deserialize(self.0.input(), document.clone());
            let message = message.map_err(|error| error.to_string())?;
            let length = u32::try_from(message.encoded_len()).map_err(|error| error.to_string())?;
            frames.put_u8(0);
            frames.put_u32(length);
            frames.extend_from_slice(&message.encode_to_vec());
        }
        Ok(frames.freeze())
    }

    /// All messages of an answer. `None` where they can't be read.
    pub(crate) fn decode(&self, frames: &[u8]) -> Option<Value> {
        frames_of(frames, &self.0.output()).map(Value::Array)
    }

    /// The fields of its message that hold ids, or that a careless handler takes a company from: as
    /// a path of names, the last of a list with a number behind it.
    pub(crate) fn id_fields(&self, careless: &[&str]) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        walk(&self.0.input(), &[], careless, &mut found);
        found
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Codec").field(&self.0.full_name()).finish()
    }
}

fn frames_of(mut frames: &[u8], descriptor: &MessageDescriptor) -> Option<Vec<Value>> {
    let mut documents = Vec::new();
    while let Some((head, rest)) = frames.split_at_checked(5) {
        let length = u32::from_be_bytes(head[1..].try_into().ok()?);
        let (message, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        documents.push(document(descriptor.clone(), message).ok()?);
        frames = rest;
    }
    frames.is_empty().then_some(documents)
}

/// The frames that are whole, of an answer that was left before its end.
pub(crate) fn whole_frames(frames: &[u8]) -> &[u8] {
    let mut rest = frames;
    while let Some(([_, length @ ..], behind)) = rest.split_first_chunk::<5>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok();
        let Some(behind) = length.and_then(|length| behind.get(length..)) else {
            break;
        };
        rest = behind;
    }
    &frames[..frames.len() - rest.len()]
}

fn walk(
    message: &MessageDescriptor,
    at: &[String],
    careless: &[&str],
    found: &mut Vec<Vec<String>>,
) {
    for field in message.fields().filter(|field| !field.is_map()) {
        let mut path = at.to_vec();
        path.push(field.name().to_owned());
        match field.kind() {
            Kind::Message(inner) if !field.is_list() && path.len() < DEEPEST => {
                walk(&inner, &path, careless, found);
            }
            Kind::Message(_) | Kind::Bool | Kind::Bytes | Kind::Enum(_) => {}
            Kind::Double | Kind::Float => {}
            _ if id_name(field.name()).is_none() && !careless.contains(&field.name()) => {}
            _ => {
                path.extend(field.is_list().then(|| "0".to_owned()));
                found.push(path);
            }
        }
    }
}

fn document(descriptor: MessageDescriptor, message: &[u8]) -> Result<Value, String> {
    let message = DynamicMessage::decode(descriptor, message).map_err(|error| error.to_string())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let document = message.serialize_with_options(serde_json::value::Serializer, &options);
    document.map_err(|error| error.to_string())
}

/// So many messages within each other are looked into for ids.
const DEEPEST: usize = 4;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn methods() -> Methods {
        let directory = tempfile::tempdir().unwrap();
        let source = r#"
            syntax = "proto3";
            package pay.v1;
            service Pay { rpc Make(stream Order) returns (stream Order); }
            message Order {
              string payment_id = 1;
              Filter filter = 2;
              repeated string account_ids = 3;
              int64 owner_id = 4;
              string note = 5;
              string tenant = 6;
              Order next = 7;
            }
            message Filter { string id = 1; bool is_open = 2; }
        "#;
        std::fs::write(directory.path().join("pay.proto"), source).unwrap();
        let set = protox::compile(["pay.proto"], [directory.path()]).unwrap();
        let mut methods = Methods::default();
        methods.add(&set.encode_to_vec()).unwrap();
        methods
    }

    #[test]
    fn documents_and_messages_are_the_same() {
        let methods = methods();
        assert!(methods.find("/pay.v1.Pay/Other").is_none());
        assert!(methods.find("/pay.v1.Other/Make").is_none());
        let make = methods.find("/pay.v1.Pay/Make").unwrap();
        assert!(make.takes_many());
        let orders = json!([
            {"payment_id": "pay_1", "filter": {"id": "x"}},
            {"account_ids": ["a", "b"], "owner_id": "12"},
        ]);
        let frames = make.encode(&orders).unwrap();
        assert_eq!(make.decode(&frames).unwrap(), orders);
        let one = make.encode(&orders[0]).unwrap();
        assert_eq!(make.document(&one[5..]).unwrap(), orders[0]);
        assert_eq!(make.decode(&frames[..frames.len() - 1]), None);
        assert!(make.encode(&json!({"owner_id": "pay_1"})).is_err());
        assert!(make.encode(&json!({"nothing": 1})).is_err());
    }

    #[test]
    fn fields_with_ids_are_found_where_they_are() {
        let make = methods().find("/pay.v1.Pay/Make").unwrap();
        let found = make.id_fields(&["tenant"]);
        let found: Vec<_> = found.iter().map(|path| path.join(".")).collect();
        assert_eq!(
            found[..5],
            [
                "payment_id",
                "filter.id",
                "account_ids.0",
                "owner_id",
                "tenant"
            ]
        );
        assert!(found.contains(&"next.payment_id".to_owned()), "{found:?}");
    }

    #[test]
    fn what_is_no_descriptor_set_is_a_mistake() {
        assert!(Methods::default().add(b"\xff\xff").is_err());
    }
}
