//! What makes processes one cluster: identity of the disk, founding and joining, cluster time, and carrying out placement.

pub mod admin;
pub mod bootstrap;
pub mod identity;
pub mod loads;
pub mod mover;
pub mod operator;
pub mod planner;
pub mod reconcile;
pub mod scaler;
pub mod time;
pub mod upkeep;
pub mod watch;
