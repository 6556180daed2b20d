//! Compiles the schemas in `chasqui/v1/` to Rust types and their proto3 JSON form.
//!
//! protox is a protobuf compiler written in Rust, so building needs no `protoc`. The descriptor set is kept as
//! a file too: the contract test compares it with `topics.md`, and gateways can serve it for reflection.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use protox::prost::Message;

const SCHEMAS: [&str; 6] = ["body", "commands", "error", "event", "group", "state"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=chasqui/v1");
    let files: Vec<String> = SCHEMAS.iter().map(|name| format!("chasqui/v1/{name}.proto")).collect();
    let descriptors = protox::compile(&files, ["."])?;
    let encoded = descriptors.encode_to_vec();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("chasqui.v1.descriptors.bin"), &encoded)?;

    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .ignore_unknown_fields()
        .ignore_unknown_enum_variants()
        .build(&[".chasqui.v1"])?;
    Ok(())
}
