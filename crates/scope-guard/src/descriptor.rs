//! The endpoints that a protobuf descriptor set declares.

use std::num::NonZeroU32;

use countersign_core::{ConfigError, Endpoint, OperationType};
use prost::Message;

/// The text of `countersign/v1/access.proto`, which defines the option `(countersign.v1.access)`:
/// the scope of a method, what calling it does, and whether it is sensitive. A platform keeps a copy
/// of it beside its own files.
pub const ACCESS_PROTO: &str = include_str!("../proto/countersign/v1/access.proto");

/// The methods of every service that annotates any of its methods.
pub(crate) fn endpoints(encoded: &[u8]) -> Result<Vec<Endpoint>, ConfigError> {
    let set = FileDescriptorSet::read(encoded)?;
    let mut endpoints = Vec::new();
    for file in &set.file {
        for service in file.service.iter().filter(|service| service.is_external()) {
            let service_path = service.path(file);
            for method in &service.method {
                let path = format!("{service_path}/{}", method.name);
                let subject = || format!("{} {path}", file.name);
                let endpoint = method
                    .endpoint(&path)
                    .map_err(|problem| ConfigError::new(subject(), problem))?;
                endpoints.push(endpoint);
            }
        }
    }
    Ok(endpoints)
}

/// A gRPC service and the names of its methods.
#[cfg(all(feature = "axum", feature = "test-util"))]
pub(crate) struct Service {
    /// `/package.Name`
    pub(crate) path: String,
    pub(crate) methods: Vec<String>,
}

/// Every service of the files, internal ones too.
#[cfg(all(feature = "axum", feature = "test-util"))]
pub(crate) fn services(encoded: &[u8]) -> Result<Vec<Service>, ConfigError> {
    let set = FileDescriptorSet::read(encoded)?;
    let files = set.file.iter();
    let services = files.flat_map(|file| file.service.iter().map(|it| (it, it.path(file))));
    let methods = |it: &ServiceDescriptor| it.method.iter().map(|it| it.name.clone()).collect();
    Ok(services
        .map(|(service, path)| Service {
            path,
            methods: methods(service),
        })
        .collect())
}

impl FileDescriptorSet {
    fn read(encoded: &[u8]) -> Result<Self, ConfigError> {
        let read = Self::decode(encoded);
        read.map_err(|error| ConfigError::new("descriptor set", error.to_string()))
    }
}

impl ServiceDescriptor {
    fn path(&self, file: &FileDescriptor) -> String {
        match &*file.package {
            "" => format!("/{}", self.name),
            package => format!("/{package}.{}", self.name),
        }
    }

    fn is_external(&self) -> bool {
        self.method.iter().any(|method| method.access().is_some())
    }
}

impl MethodDescriptor {
    fn access(&self) -> Option<&Access> {
        self.options.as_ref()?.access.as_ref()
    }

    fn endpoint(&self, path: &str) -> Result<Endpoint, String> {
        let endpoint = Endpoint::grpc(path);
        // Without a scope; the contract says what it makes of that.
        let Some(access) = self.access() else {
            return Ok(endpoint);
        };
        let operation = match access.operation {
            0 if self.has_no_side_effects() => OperationType::Read,
            0 | 2 => OperationType::Write,
            1 => OperationType::Read,
            3 => OperationType::Webhook,
            4 => OperationType::Administration,
            other => return Err(format!("operation {other} is not one of this version's")),
        };
        let mut endpoint = endpoint.with_operation(operation);
        if !access.scope.is_empty() {
            let scope = access.scope.parse();
            endpoint = endpoint.scope(scope.map_err(|e| format!("`{}`: {e}", access.scope))?);
        }
        if access.sensitive {
            endpoint = endpoint.sensitive();
        }
        Ok(match NonZeroU32::new(access.cost) {
            Some(times) => endpoint.cost(times),
            None => endpoint,
        })
    }

    fn has_no_side_effects(&self) -> bool {
        let options = self.options.as_ref();
        options.is_some_and(|options| options.idempotency_level == NO_SIDE_EFFECTS)
    }
}

// The parts of google/protobuf/descriptor.proto that matter here. An extension is encoded as any
// other field, so that it can be declared as one.

#[derive(Clone, PartialEq, Message)]
struct FileDescriptorSet {
    #[prost(message, repeated, tag = "1")]
    file: Vec<FileDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct FileDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    service: Vec<ServiceDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<MethodDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct MethodDescriptor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "4")]
    options: Option<MethodOptions>,
}

#[derive(Clone, PartialEq, Message)]
struct MethodOptions {
    #[prost(int32, tag = "34")]
    idempotency_level: i32,
    #[prost(message, optional, tag = "50921")]
    access: Option<Access>,
}

#[derive(Clone, PartialEq, Message)]
struct Access {
    #[prost(string, tag = "1")]
    scope: String,
    #[prost(int32, tag = "2")]
    operation: i32,
    #[prost(bool, tag = "3")]
    sensitive: bool,
    #[prost(uint32, tag = "4")]
    cost: u32,
}

const NO_SIDE_EFFECTS: i32 = 1;

#[cfg(test)]
pub(crate) mod tests {
    use countersign_core::Sensitivity;
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::Contract;

    /// What a compiler makes of `source`; it knows nothing of the types above.
    fn compile(source: &str) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let access = directory.path().join("countersign/v1/access.proto");
        std::fs::create_dir_all(access.parent().unwrap()).unwrap();
        std::fs::write(access, ACCESS_PROTO).unwrap();
        std::fs::write(directory.path().join("api.proto"), source).unwrap();
        let mut compiler = protox::Compiler::new([directory.path()]).unwrap();
        compiler.include_imports(true);
        compiler.open_file("api.proto").unwrap();
        compiler.encode_file_descriptor_set()
    }

    pub(crate) fn api(service: &str) -> Vec<u8> {
        compile(&format!(
            "syntax = \"proto3\";\npackage pay.v1;\nimport \"countersign/v1/access.proto\";\n\
             message M {{}}\n{service}"
        ))
    }

    #[test]
    fn methods_and_their_conditions_are_read() {
        let set = api(r#"
            service Payments {
              rpc Create(M) returns (M) {
                option (countersign.v1.access) = { scope: "payments:create" sensitive: true cost: 5 };
              }
              rpc Watch(M) returns (stream M) {
                option idempotency_level = NO_SIDE_EFFECTS;
                option (countersign.v1.access) = { scope: "payments:read" };
              }
              rpc Hook(stream M) returns (M) {
                option (countersign.v1.access) = { scope: "hooks:manage" operation: OPERATION_WEBHOOK };
              }
            }
            service Internal { rpc Reset(M) returns (M); }
        "#);
        let contract = Contract::builder().descriptor_set(&set).unwrap();
        let contract = contract.build().unwrap();
        let find = |path: &str| contract.find(&Method::POST, path).unwrap();
        let create = find("/pay.v1.Payments/Create");
        assert!(create.is_grpc());
        assert_eq!(create.required_scope().unwrap().as_str(), "payments:create");
        assert_eq!(create.operation(), OperationType::Write);
        assert_eq!(create.sensitivity(), Sensitivity::Sensitive);
        assert_eq!(create.call_cost().get(), 5);
        assert_eq!(
            find("/pay.v1.Payments/Watch").operation(),
            OperationType::Read
        );
        assert_eq!(
            find("/pay.v1.Payments/Hook").operation(),
            OperationType::Webhook
        );
        assert_eq!(contract.endpoints().count(), 3, "nothing of Internal");
    }

    #[test]
    fn mistakes_name_their_file_and_method() {
        let set = api(r#"service S {
            rpc A(M) returns (M) { option (countersign.v1.access) = { scope: "Not A Scope" }; }
        }"#);
        let error = Contract::builder().descriptor_set(&set).unwrap_err();
        assert_eq!(error.subject(), "api.proto /pay.v1.S/A");
        let set = api(r#"service S {
            rpc A(M) returns (M) { option (countersign.v1.access) = { scope: "a:read" }; }
            rpc Forgotten(M) returns (M);
        }"#);
        let contract = Contract::builder().descriptor_set(&set).unwrap();
        let error = contract.build().unwrap_err();
        assert_eq!(error.subject(), "POST /pay.v1.S/Forgotten");
        let error = Contract::builder().descriptor_set(b"\xff\xff").unwrap_err();
        assert_eq!(error.subject(), "descriptor set");
    }

    proptest! {
        #[test]
        fn junk_is_a_mistake_and_no_panic(junk: Vec<u8>) {
            let _ = Contract::builder().descriptor_set(&junk);
        }
    }
}
