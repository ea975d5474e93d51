//! The meta group: the one replicated record of stores, workspaces, generations and placement.
//!
//! [`command`] is what can be asked of it, [`state`] what it knows, [`apply`] how a command changes the state (a pure function),
//! [`machine`] binds both to the group's log and checkpoints, [`view`] lets the rest of the node watch.

pub mod apply;
pub mod command;
pub mod machine;
pub mod placement;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
pub mod view;

pub use command::{MetaCommand, MetaResponse};
pub use state::MetaState;
pub use view::MetaView;

/// The feature level of this binary. It grows with each version that writes what the one before cannot read; such things are
/// written only once the cluster's own level, that of its oldest binary, has reached it.
pub const LEVEL: u32 = LEVEL_SYNCED;

/// The level from which on the meta group keeps how far the logs of stores were synced, and a node the addresses of the others.
pub const LEVEL_SYNCED: u32 = 2;
