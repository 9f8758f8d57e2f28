//! What runs, and everything that an agent can call.
