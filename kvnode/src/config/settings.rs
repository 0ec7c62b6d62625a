//! The merged settings: for each name the text that wins, and where it came from.

use std::collections::BTreeMap;

use super::args::{NAMES, ServeArgs};
use super::file;

/// What other programs in Rust take for `--log`, too.
const LOG_VARIABLE: &str = "RUST_LOG";

/// A setting's text and where it was found, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) text: String,
    pub(crate) origin: String,
}

/// What the three sources say together.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    found: BTreeMap<&'static str, Setting>,
    /// Not a setting: only the playground passes it.
    pub(crate) exit_on_stdin_eof: bool,
    /// Not a setting: it is for one start.
    pub(crate) accept_moved_data: bool,
}

impl Settings {
    /// Flags win over `KVNODE_*` variables, these over the file, and that over `RUST_LOG`. An empty
    /// variable counts as unset. Problems go to `errors`.
    pub(crate) fn merge(
        args: &ServeArgs,
        env: &dyn Fn(&str) -> Option<String>,
        errors: &mut Vec<String>,
    ) -> Self {
        let env = |name: &str| env(name).filter(|text| !text.is_empty());
        let file = args.config.clone().or_else(|| env("KVNODE_CONFIG").map(Into::into));
        let from_file = file.as_deref().map(|path| file::read(path, errors)).unwrap_or_default();
        let shown = file.map(|path| path.display().to_string()).unwrap_or_default();
        let mut settings = Self {
            exit_on_stdin_eof: args.exit_on_stdin_eof,
            accept_moved_data: args.accept_moved_data,
            ..Self::default()
        };
        for (name, flag) in NAMES.into_iter().zip(args.texts()) {
            let variable = variable(name);
            let setting = from(flag, format!("--{name}"))
                .or_else(|| from(env(&variable), variable.clone()))
                .or_else(|| from(from_file.get(name).cloned(), format!("{name} in {shown}")));
            settings.found.extend(setting.map(|setting| (name, setting)));
        }
        if let Some(setting) = from(env(LOG_VARIABLE), LOG_VARIABLE.to_owned()) {
            settings.found.entry("log").or_insert(setting);
        }
        settings
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        self.found.get(name)
    }
}

/// The environment variable of a setting.
fn variable(name: &str) -> String {
    format!("KVNODE_{}", name.replace('-', "_").to_ascii_uppercase())
}

fn from(text: Option<String>, origin: String) -> Option<Setting> {
    text.map(|text| Setting { text, origin })
}
