//! A limit, and what was measured.

use crate::table::{Table, grouped};

/// A requirement that has been measured.
#[derive(Debug, Clone)]
pub(crate) struct Requirement {
    what: String,
    measured: String,
    limit: String,
    pub(crate) ok: bool,
}

fn shown(value: f64, unit: &str) -> String {
    let number = if value >= 1000.0 { grouped(value) } else { format!("{value:.2}") };
    format!("{number} {unit}").trim_end().to_owned()
}

impl Requirement {
    pub(crate) fn less(what: impl Into<String>, measured: f64, limit: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            measured: shown(measured, unit),
            limit: format!("< {}", shown(limit, unit)),
            ok: measured < limit,
        }
    }

    pub(crate) fn at_least(what: impl Into<String>, measured: f64, limit: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            measured: shown(measured, unit),
            limit: format!(">= {}", shown(limit, unit)),
            ok: measured >= limit,
        }
    }
}

pub(crate) fn print(requirements: &[Requirement]) {
    let mut table = Table::new(["requirement", "measured", "limit", ""]);
    for Requirement { what, measured, limit, ok } in requirements {
        let verdict = if *ok { "ok" } else { "MISSED" };
        table.row([what.clone(), measured.clone(), limit.clone(), verdict.to_owned()]);
    }
    table.print();
}
