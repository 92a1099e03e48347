//! Compiles the protocol buffers. protox is a compiler in Rust: a machine that builds this needs no
//! `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true);
    compiler.open_file("payments/v1/payments.proto")?;
    // For the contract: only the encoded set keeps the options that say which scope a method needs.
    let set = PathBuf::from(env::var("OUT_DIR")?).join("payments.v1.bin");
    fs::write(set, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
