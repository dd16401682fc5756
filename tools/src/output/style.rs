//! Colour, where a terminal is there to show it and `NO_COLOR` does not forbid it (no-color.org).

use std::io::IsTerminal;

/// Whether standard output takes colour.
pub(crate) fn stdout_takes_colour() -> bool {
    permitted() && std::io::stdout().is_terminal()
}

/// Whether standard error takes colour.
pub(crate) fn stderr_takes_colour() -> bool {
    permitted() && std::io::stderr().is_terminal()
}

fn permitted() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !forbidden && !dumb
}

/// The SGR codes (ECMA-48, 8.3.117) in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Dim,
    Red,
    Green,
    Yellow,
    /// One of six colours, by number.
    Palette(usize),
}

impl Style {
    fn code(self) -> u8 {
        match self {
            Style::Dim => 2,
            Style::Red => 31,
            Style::Green => 32,
            Style::Yellow => 33,
            Style::Palette(number) => [36, 35, 34, 32, 33, 96].get(number % 6).copied().unwrap_or(37),
        }
    }

    /// `text` in this style, or as it is where there is no colour.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        if colour { format!("\x1b[{}m{text}\x1b[0m", self.code()) } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_a_text_stays_as_it_is() {
        assert_eq!(Style::Red.paint("x", false), "x");
        assert_eq!(Style::Red.paint("x", true), "\x1b[31mx\x1b[0m");
    }
}
