//! User memory on the host.
