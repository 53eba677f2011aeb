//! Nothing but tests: which crate may know which, and what every source file keeps to.
