//! What was decided, limits in use, and grants.
