//! The pages of the console, as a browser gets them. What a browser makes of them is shown
//! by `tests/interop/browser`.

mod build;
mod grants;
mod limits;
mod log;
mod look;
mod roles;
