//! One test a sentence of the model in [`super`].

use super::*;

#[test]
fn a_simulated_world_keeps_the_contract() {
    super::super::contract::check(&*Sim::new(1), Path::new("/db"));
}
