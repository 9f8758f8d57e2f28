//! What the fuzz targets hold the library against: other readers of JSON, slow
//! readings of lists and streams, and the library driven as a whole.
//!
//! Everything here says what must be so in the shortest way there is, and
//! panics where it is not.

pub mod clients;
pub mod drive;
pub mod entries;
pub mod mutate;
pub mod readers;
pub mod rewrite;
pub mod servers;
pub mod stream;
pub mod tree;
