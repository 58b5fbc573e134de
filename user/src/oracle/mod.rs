//! The random-operations oracle: programs of file operations, made from a seed, and a model that says what every read must give.
//!
//! A program is a list of rounds. In a round of several threads each thread keeps to its own *lane* of bytes in each file, so that what it
//! reads there is known exactly whatever the others do; lanes meet in the middle of blocks and pages, so that the threads do share
//! those. A round of one thread does the rest: it changes sizes, moves ranges, and looks at whole files. So nothing has to be
//! left open, and still writes of every kind run beside each other.
//!
//! The same code runs on Linux, on Sluice (`/bin/oracle`) and, over a file system that the process itself has mounted, in host tests.
//!
//! | file | contents |
//! |---|---|
//! | `program` | operations, and making them from a seed |
//! | `text` | a program as text, one operation a line, to keep a failure as a test |
//! | `model` | what files hold |
//! | `play` | doing a program on a [`System`] and comparing |
//! | `shrink` | making a failing program small |
mod model;
mod play;
mod program;
mod shrink;
mod text;

pub use crate::range::Range;
pub use model::bytes_of;
pub use play::{System, all, play};
pub use program::{Aio, Look, Op, Program, Round, Shape, Step, Way};
pub use shrink::shrink;
