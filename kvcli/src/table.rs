//! Tables of text: aligned columns, two spaces apart, no lines drawn.

use std::fmt;

const GAP: &str = "  ";

/// On which side a column's cells are flush.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction; `Display` writes it without a final newline.
///
/// Invariant: every row has as many cells as there are columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(columns: [(&'static str, Align); N]) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Missing cells are empty, cells too many are dropped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<_> = cells.into_iter().collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    fn width(&self, column: usize, title: &str) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).fold(title.chars().count(), usize::max)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        let layout: Vec<_> = self
            .columns
            .iter()
            .enumerate()
            .map(|(column, (title, align))| (self.width(column, title), *align))
            .collect();
        write!(f, "{}", joined(&layout, &titles))?;
        self.rows.iter().try_for_each(|row| write!(f, "\n{}", joined(&layout, row)))
    }
}

fn joined(layout: &[(usize, Align)], cells: &Vec<String>) -> String {
    let padded: Vec<_> = layout
        .iter()
        .zip(cells)
        .map(|((width, align), cell)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        })
        .collect();
    padded.join(GAP).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([("ID", Align::Right), ("NAME", Align::Left), ("N", Align::Right)]);
        table.row(["1".into(), "ä".into(), "100".into()]);
        table.row(["100".into(), "longer".into()]);
        assert_eq!(table.to_string(), " ID  NAME      N\n  1  ä       100\n100  longer");
    }
}
