//! Columns without borders.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A column: its heading, and whether its cells are numbers.
pub(super) enum Column {
    /// Aligned left.
    Text(&'static str),
    /// Aligned right.
    Number(&'static str),
}

use Column::{Number, Text};

/// Rows under headings, two blanks apart, without blanks at the ends of lines. Long cells are not
/// wrapped: a row is a line, so that `grep` finds whole rows.
pub(super) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(Text(heading) | Number(heading))| *heading));
    table.add_rows(rows);
    for (column, shape) in columns.iter().zip(table.column_iter_mut()) {
        shape.set_padding((0, 2));
        shape.set_cell_alignment(match column {
            Text(_) => CellAlignment::Left,
            Number(_) => CellAlignment::Right,
        });
    }
    lines(&table.to_string())
}

/// Label and value pairs, the values aligned.
pub(super) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let facts: Vec<_> = facts.into_iter().collect();
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let below = format!("\n{:width$}  ", "");
    facts.iter().map(|(label, value)| format!("{label:<width$}  {}\n", value.replace('\n', &below))).collect()
}

fn lines(text: &str) -> String {
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::{Column, facts, table};

    #[test]
    fn numbers_stand_right_and_lines_end_without_blanks() {
        let rows = [
            vec!["rs1".to_owned(), "7".to_owned(), String::new()],
            vec!["rs-long".to_owned(), "1,000".to_owned(), "a reason".to_owned()],
        ];
        let columns = [Column::Text("SERVER"), Column::Number("CONNS"), Column::Text("REASON")];
        let expected = "SERVER   CONNS  REASON\nrs1          7\nrs-long  1,000  a reason\n";
        assert_eq!(table(&columns, rows), expected);
    }

    #[test]
    fn a_fact_of_several_lines_stays_in_its_column() {
        let rows =
            [("agent", "0.1.0".to_owned()), ("config", "refused: line 3:\n  no such server".to_owned())];
        assert_eq!(facts(rows), "agent   0.1.0\nconfig  refused: line 3:\n          no such server\n");
    }

    #[test]
    fn values_are_aligned() {
        assert_eq!(facts([("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
