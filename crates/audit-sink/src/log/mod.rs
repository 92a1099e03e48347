//! The tamper-evident log in a directory: RFC 6962's tree over the lines of segments, with
//! checkpoints as C2SP signed notes.

mod tree;
mod verify;
