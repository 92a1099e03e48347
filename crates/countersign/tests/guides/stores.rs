//! A store of limits and a backend of the audit log, as they are tested.

use std::sync::Arc;

use countersign::{LocalLimits as MyLimits, MemoryBackend as MyBackend, MemoryLog};

// docs/write-a-store.md

mod limits {
    use super::*;

use countersign_rate_limit::conformance;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn my_limits_conform() {
    conformance::run(Arc::new(MyLimits::new())).await;
}
}

mod audit {
    use super::*;

use async_trait::async_trait;
use countersign_audit_sink::conformance::{self, Harness};

/// One log, empty at first.
struct MyLog(MyServer);

#[async_trait]
impl Harness for MyLog {
    type Backend = MyBackend;

    async fn open(&mut self) -> MyBackend {
        self.0.open_log().await
    }

    async fn lines(&mut self) -> Vec<Vec<u8>> {
        self.0.read_lines().await
    }

    async fn fail(&mut self, _: &mut MyBackend, fails: bool) -> bool {
        self.0.refuse_writes(fails);
        true
    }
}

#[tokio::test]
async fn my_log_conforms() {
    conformance::run(|| MyLog(MyServer::start())).await;
}
}

struct MyServer(MemoryLog);

impl MyServer {
    fn start() -> Self {
        Self(MyBackend::new().1)
    }

    async fn open_log(&self) -> MyBackend {
        MyBackend::reopen(&self.0)
    }

    async fn read_lines(&self) -> Vec<Vec<u8>> {
        self.0.lines().into_iter().map(String::into_bytes).collect()
    }

    fn refuse_writes(&self, fails: bool) {
        self.0.fail(fails);
    }
}
