//! Reading apt's two formats of package sources, and choosing those of the distribution itself.

use std::collections::BTreeMap;

/// One line's worth of package source: where, which suite, which parts, under whose key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) uri: String,
    pub(crate) suite: String,
    pub(crate) components: Vec<String>,
    /// `signed-by=…` and the like, kept as found.
    pub(crate) options: Vec<String>,
}

impl Source {
    /// The line for a sources.list (sources.list(5), one-line style).
    pub(crate) fn line(&self) -> String {
        let options =
            if self.options.is_empty() { String::new() } else { format!("[{}] ", self.options.join(" ")) };
        format!("deb {options}{} {} {}", self.uri, self.suite, self.components.join(" "))
    }
}

/// The binary sources of a one-line style file; comments and deb-src are skipped.
pub(crate) fn one_line_style(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line).collect()
}

fn one_line(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracket) => bracket.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect(),
        options: options.split_whitespace().map(str::to_owned).collect(),
    })
}

/// The binary sources of a deb822 style file: each stanza is the product of its URIs and suites.
pub(crate) fn deb822_style(text: &str) -> Vec<Source> {
    stanzas(text).iter().flat_map(stanza_sources).collect()
}

fn stanza_sources(fields: &BTreeMap<String, String>) -> Vec<Source> {
    let words = |name: &str| -> Vec<String> {
        fields
            .get(name)
            .map(|value| value.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let disabled = fields.get("enabled").is_some_and(|value| value.trim().eq_ignore_ascii_case("no"));
    if disabled || !words("types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    // A key written into the file itself has no one-line form; the system's trusted keys then have to do.
    let options: Vec<String> = fields
        .get("signed-by")
        .map(|value| value.trim())
        .filter(|value| value.starts_with('/'))
        .map(|path| format!("signed-by={path}"))
        .into_iter()
        .collect();
    let mut sources = Vec::new();
    for uri in words("uris") {
        for suite in words("suites") {
            sources.push(Source {
                uri: uri.clone(),
                suite,
                components: words("components"),
                options: options.clone(),
            });
        }
    }
    sources
}

fn stanzas(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut stanzas = vec![BTreeMap::new()];
    let mut field: Option<String> = None;
    for line in text.lines() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            stanzas.push(BTreeMap::new());
            field = None;
        } else if line.starts_with([' ', '\t']) {
            if let (Some(name), Some(stanza)) = (&field, stanzas.last_mut()) {
                let value: &mut String = stanza.entry(name.clone()).or_default();
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let (Some((name, value)), Some(stanza)) = (line.split_once(':'), stanzas.last_mut()) {
            let name = name.trim().to_ascii_lowercase();
            stanza.insert(name.clone(), value.trim().to_owned());
            field = Some(name);
        }
    }
    stanzas.retain(|stanza| !stanza.is_empty());
    stanzas
}

/// The distribution's own sources among `all` (those of its code name, third parties left out), with `main` alone,
/// plus the security suite where none is named: a debootstrap root knows only its mirror. The mirror's sibling
/// archive is tried first, since a machine that has a mirror may reach nothing else.
pub(crate) fn distribution_sources(all: &[Source], codename: &str) -> Vec<Source> {
    let security = format!("{codename}-security");
    let own = [codename.to_owned(), format!("{codename}-updates"), security.clone()];
    let mut chosen: Vec<Source> = all
        .iter()
        .filter(|source| own.contains(&source.suite) && source.components.iter().any(|part| part == "main"))
        .map(|source| Source { components: vec!["main".to_owned()], ..source.clone() })
        .collect();
    if !chosen.iter().any(|source| source.suite == security)
        && let Some(base) = chosen.iter().find(|source| source.suite == codename)
    {
        let uri = base.uri.trim_end_matches('/');
        if let Some(archive) = uri.strip_suffix("/debian") {
            chosen.push(Source {
                uri: format!("{archive}/debian-security"),
                suite: security,
                ..base.clone()
            });
        }
    }
    chosen.sort();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let lines = one_line_style(
            "# mirror\ndeb [signed-by=/k.gpg] http://m/debian bookworm main contrib # ours\ndeb-src http://m/debian bookworm main\n",
        );
        let stanzas = deb822_style(
            "Types: deb deb-src\n# comment\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\n contrib\nSigned-By: /k.gpg\n",
        );
        assert_eq!(lines.len(), 1);
        assert_eq!(lines, stanzas);
        assert_eq!(lines[0].line(), "deb [signed-by=/k.gpg] http://m/debian bookworm main contrib");
    }

    #[test]
    fn a_disabled_stanza_and_one_of_sources_only_are_skipped() {
        let text = "Enabled: no\nTypes: deb\nURIs: http://m\nSuites: s\nComponents: main\n\nTypes: deb-src\nURIs: http://m\nSuites: s\nComponents: main\n";
        assert_eq!(deb822_style(text), []);
    }

    #[test]
    fn a_bootstrapped_root_gains_the_security_suite_of_its_own_mirror() {
        let chosen =
            distribution_sources(&one_line_style("deb http://m/debian bookworm main contrib\n"), "bookworm");
        let lines: Vec<String> = chosen.iter().map(Source::line).collect();
        assert_eq!(
            lines,
            ["deb http://m/debian bookworm main", "deb http://m/debian-security bookworm-security main"]
        );
    }

    #[test]
    fn third_parties_are_left_out_and_a_named_security_suite_is_kept() {
        let all = one_line_style(
            "deb https://other/apt cloud main\ndeb http://m/debian bookworm main\ndeb http://s/sec bookworm-security main\n",
        );
        let uris: Vec<String> =
            distribution_sources(&all, "bookworm").into_iter().map(|source| source.uri).collect();
        assert_eq!(uris, ["http://m/debian", "http://s/sec"]);
    }
}
