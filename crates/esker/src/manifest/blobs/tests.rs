//! What dies, and what is left.
