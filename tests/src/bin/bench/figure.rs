//! One measured figure and its bound.

use std::process::ExitCode;

/// What was measured, and what it may be at most.
pub struct Figure {
    pub what: &'static str,
    pub unit: &'static str,
    pub measured: f64,
    pub bound: f64,
    pub details: String,
}

impl Figure {
    fn holds(&self) -> bool {
        self.measured <= self.bound
    }
}

/// Prints the table; fails where a figure is beyond its bound.
pub fn print(figures: &[Figure]) -> ExitCode {
    println!("\n{:<52} {:>12} {:>12}", "figure", "measured", "bound");
    for Figure { what, unit, measured, bound, details } in figures {
        let verdict = if measured <= bound { "" } else { "  BEYOND" };
        println!("{what:<52} {measured:>8.2} {unit:<3} {bound:>8.2} {unit:<3}{verdict}  {details}");
    }
    if figures.iter().all(Figure::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The middle one of an odd number of measurements; sorts them.
pub fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
