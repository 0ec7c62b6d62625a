//! What is logged, as the operator writes it: levels, and targets with levels.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// What a directive may end in.
const LEVELS: [&str; 12] = ["off", "error", "warn", "info", "debug", "trace", "0", "1", "2", "3", "4", "5"];

/// A log filter: `LEVEL` or `TARGET=LEVEL`, several with commas between them.
///
/// Invariants: `EnvFilter` takes it; each directive has a level that was written out.
/// (`EnvFilter` by itself takes a misspelt level for a target and then logs nothing, and a
/// missing one for `trace`.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    pub(super) fn to_env_filter(&self) -> Option<EnvFilter> {
        EnvFilter::try_new(&self.0).ok()
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: String| format!("'{text}' is not a log filter, for example info,openraft=debug: {why}");
        let directives: Vec<_> = text.split(',').map(str::trim).collect();
        directives.iter().try_for_each(|directive| check(directive)).map_err(wrong)?;
        let filter = directives.join(",");
        EnvFilter::try_new(&filter).map_err(|e| wrong(e.to_string()))?;
        Ok(Self(filter))
    }
}

fn check(directive: &str) -> Result<(), String> {
    if directive.is_empty() {
        return Err("there is nothing before, between or behind commas".to_owned());
    }
    let (target, level) = match directive.rsplit_once('=') {
        Some((target, level)) => (Some(target), level),
        None => (None, directive),
    };
    if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
        return Err(match target {
            Some(_) => format!("'{level}' is no level: off, error, warn, info, debug or trace"),
            None => format!(
                "'{level}' is no level (off, error, warn, info, debug or trace); write {level}=trace if it \
                 is a target"
            ),
        });
    }
    match target {
        Some(target) if !is_target(target) => Err(format!("'{target}' is no target")),
        _ => Ok(()),
    }
}

/// A path of modules; what stands behind it in brackets is for `EnvFilter` to judge.
fn is_target(target: &str) -> bool {
    let path = target.split('[').next().unwrap_or_default();
    let is_good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    !target.is_empty() && path.chars().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_filters() {
        for good in [
            super::super::DEFAULT_FILTER,
            "info",
            "OFF",
            "Debug",
            "5",
            "raftnode=debug",
            "info, openraft=error , raftnode::api=trace",
            "error,[append{peer=2}]=debug",
            "h2[frame]=trace",
        ] {
            good.parse::<LogFilter>().unwrap_or_else(|e| panic!("{e}"));
        }
        assert_eq!("info, openraft=error".parse::<LogFilter>().unwrap().to_string(), "info,openraft=error");
    }

    /// Found: `inof` was taken for a module of that name, so that a node logged nothing at all.
    #[test]
    fn what_matches_nothing_is_an_error() {
        for bad in [
            "",
            ",",
            "inof",
            "raftnode",
            "nonsense=xyz",
            "foo,,bar=",
            "info,",
            "raftnode=",
            "=info",
            "a b=info",
            "info openraft=error",
            "raftnode==info",
            "openraft:error",
            "[append{peer=2}]",
            "6",
            "!=info",
        ] {
            let error = bad.parse::<LogFilter>().expect_err(bad);
            assert!(error.contains("info,openraft=debug"), "{error}");
        }
        assert!("raftnode".parse::<LogFilter>().unwrap_err().contains("write raftnode=trace"));
    }
}
