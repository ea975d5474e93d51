//! The binary users see, `flotilla`.

fn main() {}
