//! Who asks, and may they: between the router and what answers.
//!
//! | module | does |
//! |---|---|
//! | [`gate`] | reads credentials, asks the directory, decides |
//! | [`subject`] | what a request does to what |
//! | [`refusal`] | how a refusal is answered |
//! | [`admin`] | users, groups, roles, policies, keys and tokens over HTTP |
//! | [`sts`] | temporary credentials |
//! | [`secrets`] | seals what the directory keeps of secrets |
//!
//! The rules are in the crate `auth`; the directory is part of the meta group's state.

pub mod admin;
pub mod gate;
pub mod refusal;
pub mod secrets;
pub mod sts;
pub mod subject;

pub use gate::{Gate, Granted};
pub use refusal::Refusal;
