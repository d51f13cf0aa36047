//! Which files to rewrite, and rewriting them.
//!
//! [`policy`] is a pure function from the shape of the tree to a step; [`cuts`] is one that cuts a
//! large step into parts; [`job`] carries one out; [`simulate`] runs the policy on a model and says what
//! it costs. None of them knows a version, a manifest or a snapshot: they are handed values.
//! `README.md` beside them shows the figures.

pub mod clean;
pub mod cuts;
pub mod job;
pub mod policy;
pub mod simulate;
