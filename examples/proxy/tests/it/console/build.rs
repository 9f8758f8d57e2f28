//! The policies, and how they are changed.
