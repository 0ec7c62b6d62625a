//! A Prometheus, asked over its API.

use serde_json::Value;

use super::http::{encoded, get};

/// Where one listens.
pub struct Prometheus {
    addr: String,
}

impl Prometheus {
    pub fn at(addr: &str) -> Self {
        Self { addr: addr.to_owned() }
    }

    /// The series that a query answers, now.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let mut data = self.ask(&format!("/api/v1/query?query={}", encoded(expression)))?;
        match data["result"].take() {
            Value::Array(series) => Ok(series),
            other => Err(format!("{expression}: {other}")),
        }
    }

    /// The one number that a query answers.
    pub fn number(&self, expression: &str) -> Result<f64, String> {
        let series = self.query(expression)?;
        let value = match &series[..] {
            [one] => one["value"][1].as_str().and_then(|text| text.parse().ok()),
            _ => None,
        };
        value.ok_or_else(|| format!("{expression}: {series:?}"))
    }

    /// All recording rules and alerts.
    pub fn rules(&self) -> Result<Vec<Value>, String> {
        let data = self.ask("/api/v1/rules")?;
        let groups = data["groups"].as_array().ok_or("no groups")?;
        Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
    }

    fn ask(&self, path: &str) -> Result<Value, String> {
        let text = get(&self.addr, path)?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|e| format!("{path}: {e}: {text}"))?;
        Ok(answer["data"].take())
    }
}
