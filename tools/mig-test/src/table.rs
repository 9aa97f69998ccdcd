// SPDX-License-Identifier: GPL-2.0
//! Formats figures: an object as a list of names and values, an array of objects as a table.

use serde_json::{Map, Value};

/// Units at the end of a key.
const UNITS: [(&str, &str); 6] = [
    ("_ms", "ms"),
    ("_us", "us"),
    ("_ns", "ns"),
    ("_s", "s"),
    ("_bytes", "bytes"),
    ("_instructions", "instructions"),
];

/// Renders `value` as text without a final line feed.
pub fn render(value: &Value) -> String {
    match value {
        Value::Object(object) => list(object),
        Value::Array(rows) => table(rows),
        other => cell(other),
    }
}

fn list(object: &Map<String, Value>) -> String {
    let width = object
        .keys()
        .map(|key| title(key).0.len())
        .max()
        .unwrap_or(0);
    let line = |(key, value): (&String, &Value)| {
        let (name, unit) = title(key);
        format!("  {name:width$}  {} {unit}", cell(value))
            .trim_end()
            .to_string()
    };
    object.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn table(rows: &[Value]) -> String {
    let mut keys: Vec<&String> = Vec::new();
    for key in rows
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|row| row.keys())
    {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let head = keys
        .iter()
        .map(|key| key.replace('_', " "))
        .collect::<Vec<_>>();
    let body = rows.iter().map(|row| {
        keys.iter()
            .map(|key| row.get(key).map_or(String::new(), cell))
            .collect::<Vec<_>>()
    });
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(body).collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].len())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..keys.len()).map(width).collect();
    let render = |line: &Vec<String>| {
        let cells = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (text, &width))| {
                // Names to the left, figures to the right.
                if column == 0 {
                    format!("{text:width$}")
                } else {
                    format!("{text:>width$}")
                }
            });
        format!("  {}", cells.collect::<Vec<_>>().join("  "))
            .trim_end()
            .to_string()
    };
    lines.iter().map(render).collect::<Vec<_>>().join("\n")
}

/// Returns a key's readable name, and its unit.
fn title(key: &str) -> (String, &'static str) {
    let found = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((key.strip_suffix(suffix)?, *unit)));
    let (name, unit) = found.unwrap_or((key, ""));
    (name.replace('_', " "), unit)
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Null => "-".into(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join("; "),
        Value::Number(number) if number.is_f64() => {
            format!("{:.3}", number.as_f64().unwrap_or(0.0))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_a_list_with_units() {
        let value = json!({"total_ms": 700, "registers_equal": true, "complaints": []});
        insta::assert_snapshot!(render(&value), @r"
          total            700 ms
          registers equal  yes
          complaints       none
        ");
    }

    #[test]
    fn an_array_is_a_table_with_figures_to_the_right() {
        let value = json!([
            {"register": "RBR", "rust": 1200, "ratio": 0.5},
            {"register": "SCR", "rust": 9, "ratio": 1.25}
        ]);
        insta::assert_snapshot!(render(&value), @r"
          register  rust  ratio
          RBR       1200  0.500
          SCR          9  1.250
        ");
    }

    #[test]
    fn a_row_may_lack_a_column() {
        let value = json!([{"a": 1}, {"a": 2, "b": "x"}]);
        insta::assert_snapshot!(render(&value), @r"
          a  b
          1
          2  x
        ");
    }
}
