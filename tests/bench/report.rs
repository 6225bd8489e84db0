//! What a bench found, for people and for programs.

use serde_json::{Map, Value, json};

/// Tables with a title each, and what is to be said of all.
#[derive(Debug)]
pub struct Report {
    pub bench: &'static str,
    pub sections: Vec<Section>,
    /// What a reader must know to believe the figures, or not to.
    pub remarks: Vec<String>,
}

#[derive(Debug)]
pub struct Section {
    pub title: String,
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug)]
pub enum Cell {
    Text(String),
    /// With so many decimals.
    Number(f64, usize),
    Nothing,
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number, decimals) if number.is_finite() => format!("{number:.decimals$}"),
            Self::Number(..) | Self::Nothing => "-".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(number, decimals) => {
                let scale = 10_f64.powi(*decimals as i32);
                json!((number * scale).round() / scale)
            }
            Self::Nothing => Value::Null,
        }
    }
}

impl Report {
    /// Aligned, with the machine it was made on; also valid Markdown.
    pub fn table(&self) -> String {
        let mut text = format!("bench {} on {}\n", self.bench, machine());
        for section in &self.sections {
            text += &format!("\n{}\n\n{}", section.title, section.table());
        }
        for remark in &self.remarks {
            text += &format!("\n{remark}\n");
        }
        text
    }

    pub fn json(&self) -> String {
        let sections: Vec<Value> = self.sections.iter().map(Section::json).collect();
        let whole = json!({
            "schema": 1, "bench": self.bench, "machine": machine(), "sections": sections, "remarks": self.remarks,
        });
        format!("{whole:#}")
    }
}

impl Section {
    fn table(&self) -> String {
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
        let width = |column: usize| {
            let of_rows = cells.iter().map(|row| row[column].chars().count());
            of_rows.chain([self.columns[column].chars().count()]).max().unwrap_or(0)
        };
        let is_number = |column: usize| {
            self.rows.iter().all(|row| !matches!(row[column], Cell::Text(_))) && !self.rows.is_empty()
        };
        let line = |row: &[String]| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = width(column);
                if is_number(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let head: Vec<String> = self.columns.iter().map(|&name| name.to_owned()).collect();
        let rule = (0..self.columns.len()).map(|column| {
            let dashes = "-".repeat(width(column).max(2) - 1);
            if is_number(column) { format!("{dashes}:") } else { format!("{dashes}-") }
        });
        let rule: Vec<String> = rule.collect();
        let rows: String = cells.iter().map(|row| line(row)).collect();
        format!("{}{}{rows}", line(&head), line(&rule))
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let fields = self.columns.iter().zip(row).map(|(&name, cell)| (name.to_owned(), cell.json()));
            Value::Object(fields.collect::<Map<_, _>>())
        });
        json!({"title": self.title, "columns": self.columns, "rows": rows.collect::<Vec<_>>()})
    }
}

/// Kernel and processor.
fn machine() -> String {
    let kernel = nix::sys::utsname::uname().map_or_else(
        |_| "an unknown kernel".to_owned(),
        |name| format!("Linux {}", name.release().to_string_lossy()),
    );
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = info.lines().filter_map(|line| line.strip_prefix("model name")).collect::<Vec<_>>();
    let model = models.first().and_then(|line| line.split_once(':')).map_or("", |(_, model)| model.trim());
    format!("{kernel}, {} × {model}", models.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_markdown() {
        let rows = vec![
            vec![Cell::Text("floor".to_owned()), Cell::Number(3.12, 1)],
            vec![Cell::Text("xlvs DR".to_owned()), Cell::Nothing],
        ];
        let section = Section { title: "one flow".to_owned(), columns: vec!["who", "ns"], rows };
        let expected = "| who     |  ns |\n| ------- | --: |\n| floor   | 3.1 |\n| xlvs DR |   - |\n";
        assert_eq!(section.table(), expected);
        assert_eq!(section.json()["rows"][0], json!({"who": "floor", "ns": 3.1}));
    }
}
