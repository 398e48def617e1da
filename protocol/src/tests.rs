//! Holds the wire types to the golden files, in both directions, and the reports to their bounds.

mod diagnostics;
mod golden;
