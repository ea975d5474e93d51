//! Tests of the whole workspace and of the binary.

mod dependencies;
mod up;
