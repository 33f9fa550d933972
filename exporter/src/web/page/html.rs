//! HTML as text, in which nothing that came from elsewhere means anything.

use std::fmt;

/// Text between tags or in a quoted attribute (HTML Standard, "Escaping a string"). Names of devices,
/// cgroups and modules are somebody else's: control characters and marks of direction, with which a name
/// could pass for another, are shown as what they are.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() || is_invisible(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// Marks of direction, joiners and the like (Unicode, general category Cf), as far as browsers obey them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A whole number in groups of three.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    grouped
}

/// How long ago, in one unit.
pub(super) fn ago(seconds: f64) -> String {
    match seconds {
        s if s < 0.0 => "in the future".to_owned(),
        s if s < 120.0 => format!("{s:.0} s ago"),
        s if s < 7200.0 => format!("{:.0} min ago", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h ago", s / 3600.0),
        s => format!("{:.0} days ago", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_markup_or_invisible() {
        for (text, shown) in [
            ("eth0", "eth0"),
            ("<script>", "&lt;script&gt;"),
            ("a\" onload='x&y", "a&quot; onload=&#39;x&amp;y"),
            ("\u{202e}0hte", "\\u{202e}0hte"),
            ("a\u{200b}b\u{1b}\n", "a\\u{200b}b\\u{1b}\\u{a}"),
            ("käse-中", "käse-中"),
        ] {
            assert_eq!(Text(text).to_string(), shown);
        }
    }

    #[test]
    fn numbers_and_times_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (1000.0, "1\u{2009}000"),
            (1_234_567.0, "1\u{2009}234\u{2009}567"),
        ] {
            assert_eq!(grouped(value), text);
        }
        for (seconds, text) in [
            (-5.0, "in the future"),
            (3.4, "3 s ago"),
            (600.0, "10 min ago"),
            (7300.0, "2 h ago"),
            (864_000.0, "10 days ago"),
        ] {
            assert_eq!(ago(seconds), text);
        }
    }
}
