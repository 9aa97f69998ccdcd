// SPDX-License-Identifier: GPL-2.0
//! Parses stanzas of fields, the format of apt's sources and package lists: deb822(5).

/// A stanza: the names and values of its fields, in their order.
pub struct Stanza<'a>(Vec<(&'a str, String)>);

impl Stanza<'_> {
    /// Returns the value of a field, whose name may be in any case. A value of several lines has
    /// spaces between them.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        let field = fields.find(|(one, _)| one.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }
}

/// Returns the stanzas of a text. Skips comments, and lines that are not a field's.
pub fn stanzas(text: &str) -> Vec<Stanza<'_>> {
    let mut stanzas = Vec::new();
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            stanzas.push(Stanza(std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim(), value.trim().into()));
        }
    }
    stanzas.push(Stanza(fields));
    stanzas.retain(|stanza| !stanza.0.is_empty());
    stanzas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_anything_but_blanks_ends_a_stanza() {
        let found = stanzas("A: 1\n\nA: 2\n \t\n# why\n\n\nA: 3\n");
        let values: Vec<_> = found.iter().map(|stanza| stanza.get("A")).collect();
        assert_eq!(values, [Some("1"), Some("2"), Some("3")]);
    }

    #[test]
    fn a_value_goes_on_in_lines_that_begin_with_a_blank_and_a_comment_does_not_end_it() {
        let found = stanzas("Suites: a\n# b\n c\n\td\nTypes:deb\n");
        assert_eq!(found[0].get("suites"), Some("a c d"));
        assert_eq!(found[0].get("TYPES"), Some("deb"));
        assert_eq!(found[0].get("type"), None);
    }
}
