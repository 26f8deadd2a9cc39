//! The tests of the roles and of the patch, in one program: each program would link the whole crate once more.

mod admit;
mod identity;
mod inject;
mod properties;
