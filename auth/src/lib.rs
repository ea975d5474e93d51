//! Who asks, and may they: Flotilla's access control as a pure library.
pub mod action;
pub mod arn;
pub mod error;
pub mod policy;
pub mod request;
pub mod secret;
pub mod sigv4;

pub use error::{AuthError, ErrorName};
pub use request::Request;
pub use secret::Secret;
