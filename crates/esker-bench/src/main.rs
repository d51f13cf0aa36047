//! Workloads and peers.
fn main() {}
