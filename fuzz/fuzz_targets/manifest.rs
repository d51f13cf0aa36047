//! A manifest: reading any bytes ends, and so does reading any lines under the right checksums.

#![no_main]

use esker::base::id::FileId;
use esker::env::Env;
use esker::env::names::FileKind;
use esker::env::path_in;
use esker::env::sim::Sim;
use esker::manifest::line::Chain;
use esker::manifest::{Store, describe};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::Arc;

const ID: FileId = FileId(7);

fn read(bytes: Vec<u8>) {
    let sim = Sim::new(1);
    let dir = Path::new("db");
    let env: Arc<dyn Env> = sim.clone();
    env.create_dir(dir).expect("a folder");
    sim.write_file(&path_in(dir, FileKind::Manifest.name(ID)), bytes).expect("a file");
    let listed = env.list(dir).expect("a listing");
    let _ = Store::read(&env, dir, &listed);
    let _ = describe(&env, dir, &listed);
}

fuzz_target!(|data: &[u8]| {
    read(data.to_vec());
    let mut chain = Chain::new(ID);
    let mut bytes = Vec::new();
    for line in data.split(|&byte| byte == b'\n') {
        let printable = line.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '?',
        });
        chain.seal(&printable.collect::<String>(), &mut bytes);
    }
    read(bytes);
});
