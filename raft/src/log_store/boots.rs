//! Which boots sealed what the log still holds.

use super::{LogEngine, StateTag};
use model::seal::boot_of;
use std::collections::BTreeSet;
use std::io;

/// The boots whose keys an opened log needs at least: each replica's first entry and its state values. An entry never has an older
/// boot than those before it, so every boot from a first entry's on may be in use as well.
///
/// One seek a replica.
///
/// # Errors
/// The database cannot be read.
pub fn boots_in_use(engine: &dyn LogEngine) -> io::Result<BTreeSet<u64>> {
    let mut boots = BTreeSet::new();
    for replica in engine.replicas()? {
        boots.extend(engine.first_entry(replica)?.as_deref().and_then(boot_of));
        for tag in StateTag::ALL {
            boots.extend(engine.state(replica, tag)?.as_deref().and_then(boot_of));
        }
    }
    Ok(boots)
}
