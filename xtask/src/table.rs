//! Tables for people.
use comfy_table::{Cell, CellAlignment, Table, presets};

/// A table whose columns hold figures, but for the first and the last `words` ones.
pub struct Figures {
    table: Table,
    words: usize,
    columns: usize,
}

impl Figures {
    /// With these headings.
    pub fn new(headings: &[&str], words: usize) -> Figures {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        let mut figures = Figures { table, words, columns: headings.len() };
        let cells = figures.cells(headings.iter().map(|h| h.to_string()).collect());
        figures.table.set_header(cells);
        figures
    }

    /// Another row.
    pub fn row(&mut self, cells: Vec<String>) {
        let cells = self.cells(cells);
        self.table.add_row(cells);
    }

    fn cells(&self, cells: Vec<String>) -> Vec<Cell> {
        let figures = 1..self.columns - self.words;
        let aligned = |(i, text): (usize, String)| {
            let right = figures.contains(&i);
            Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
        };
        cells.into_iter().enumerate().map(aligned).collect()
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.table.fmt(f)
    }
}

/// `12345` as `12,345`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Figures, grouped};

    #[test]
    fn figures_stand_to_the_right() {
        let mut table = Figures::new(&["row", "count", "note"], 1);
        table.row(vec!["a".into(), grouped(1234567), "b".into()]);
        assert!(table.to_string().contains("| 1,234,567 | b "), "{table}");
        assert_eq!([grouped(0), grouped(999), grouped(1000)], ["0", "999", "1,000"]);
    }
}
