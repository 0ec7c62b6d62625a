//! Attacks `deploy/elk`: Elasticsearch, Kibana and Filebeat cannot be had here, so what they would
//! be told and given is checked. The files parse and name each other rightly; `setup.sh` sends
//! them, to a stub; the lines of a real node, taken apart as Filebeat's `ndjson` parser does, fit
//! the index template's types.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::support::{Child, alone, built, is, repository, run, until};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// In `index-template.json`: `index.mapping.total_fields.limit`.
const FIELDS_LIMIT: &str = "index.mapping.total_fields.limit";

fn parsed(name: &str) -> Value {
    let text = std::fs::read_to_string(repository(&format!("deploy/elk/{name}"))).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// (What `filebeat.yml` says is looked at in `yaml`.)
#[test]
fn the_files_name_each_other_rightly() {
    let (template, view, pipeline) =
        (parsed("index-template.json"), parsed("data-view.json"), parsed("ingest-pipeline.json"));
    let pattern = template["index_patterns"][0].as_str().unwrap();
    assert_eq!(view["data_view"]["title"], pattern);
    assert!(pipeline["processors"].as_array().is_some_and(|all| !all.is_empty()));
    assert!(template["data_stream"].is_object());
}

/// One request as the stub got it.
#[derive(Debug)]
struct Got {
    line: String,
    head: String,
    body: String,
}

/// Answers every request with `status`, and hands it on.
fn stub(status: &'static str) -> (String, mpsc::Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (got, gets) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let request = receive(stream.unwrap(), status);
            // The test has ended.
            if got.send(request).is_err() {
                return;
            }
        }
    });
    (format!("http://{addr}"), gets)
}

fn receive(mut stream: TcpStream, status: &str) -> Got {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT)).unwrap();
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut more = [0; 4096];
        let count = stream.read(&mut more).unwrap();
        assert!(count > 0, "cut off: {}", String::from_utf8_lossy(&bytes));
        bytes.extend(&more[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head, body.to_owned());
        }
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}").unwrap();
    Got { line: head.lines().next().unwrap().to_owned(), head, body }
}

/// In the order in which one needs the other, each file whole, with what Kibana insists on.
#[test]
fn setup_sends_the_three_files() {
    let (addr, gets) = stub("200 OK");
    let mut setup = Command::new("bash");
    setup.arg(repository("deploy/elk/setup.sh")).env("ELASTICSEARCH", &addr).env("KIBANA", &addr);
    let ended = run(setup.env("NO_PROXY", "*"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (line, file) in [
        ("put /_ingest/pipeline/kvnode http/1.1", "ingest-pipeline.json"),
        ("put /_index_template/kvnode http/1.1", "index-template.json"),
        ("post /api/data_views/data_view http/1.1", "data-view.json"),
    ] {
        let got = gets.try_recv().unwrap_or_else(|_| panic!("{file} was not sent"));
        assert_eq!(got.line, line);
        assert!(
            got.head.contains("content-type: application/json") && got.head.contains("kbn-xsrf: "),
            "{got:?}"
        );
        assert_eq!(serde_json::from_str::<Value>(&got.body).unwrap(), parsed(file));
    }
    assert!(gets.try_recv().is_err(), "more than three requests");
}

#[test]
fn setup_fails_when_it_is_refused() {
    let (addr, gets) = stub("400 Bad Request");
    let mut setup = Command::new("bash");
    setup.arg(repository("deploy/elk/setup.sh")).env("ELASTICSEARCH", &addr).env("KIBANA", &addr);
    let ended = run(setup.env("NO_PROXY", "*"));
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert_eq!(gets.try_iter().count(), 1, "it went on");
}

/// Every line of a node at debug, dependencies included, through a write, a refusal and its end.
#[test]
fn the_lines_of_a_node_fit_the_index() {
    let _alone = alone();
    let log = lines_of_a_node();
    let template = parsed("index-template.json");
    let (index, mut found) = (Index::new(&template), BTreeMap::new());
    for line in log.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let expanded = expand_keys(&record);
        assert_eq!(expanded["service"]["name"], "kvnode", "filebeat.yml drops {line}");
        for (path, value) in leaves(&expanded) {
            let kind =
                index.kind(&path, &value).unwrap_or_else(|| panic!("no type for {path} = {value} in {line}"));
            assert!(fits(&kind, &value), "{path} = {value} is no {kind}: {line}");
            let first = found.entry(path.clone()).or_insert_with(|| kind.clone());
            assert_eq!(*first, kind, "{path} is mapped by what came first: {line}");
        }
    }
    println!("{} lines, {} fields: {found:#?}", log.lines().count(), found.len());
    for name in ["@timestamp", "message", "trace.id", "event.duration", "error.message", "kvnode.log_index"] {
        assert!(found.contains_key(name), "no line has {name}, so nothing is known about it");
    }
    let limit = template["template"]["settings"][FIELDS_LIMIT].as_u64().unwrap();
    assert!((found.len() as u64) < limit / 2, "{} fields", found.len());
}

fn lines_of_a_node() -> String {
    let dir = tempfile::tempdir().unwrap();
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [client, raft, http] = held.map(|listener| listener.local_addr().unwrap().to_string());
    let mut serve = built("kvnode");
    serve.args(["serve", "--id", "1", "--client-addr", &client, "--raft-addr", &raft, "--http-addr", &http]);
    serve.args(["--peers", &format!("1={raft}/{client}"), "--log-format", "json", "--log", "debug"]);
    serve.arg("--data-dir").arg(dir.path().join("data"));
    let path = dir.path().join("log");
    let mut node = Child::start(&mut serve, &path);
    let kvcli = |line: &str| run(built("kvcli").args(["--endpoints", &client]).args(line.split_whitespace()));
    until("the node can be initialised", START_TIMEOUT, || {
        node.printed()?;
        let ended = kvcli("cluster init");
        is(ended.code == Some(0), || format!("{ended:?}"))
    });
    assert_eq!(kvcli("put key value").code, Some(0));
    assert_eq!(kvcli("get key").code, Some(0));
    // A node that is no member: refused, and a line with an error.
    assert_ne!(kvcli("cluster transfer-leader 9").code, Some(0));
    run(Command::new("kill").arg(node.id().to_string()));
    until("it has ended", START_TIMEOUT, || is(node.has_ended(), || "it runs".to_owned()));
    std::fs::read_to_string(path).unwrap()
}

/// What `expand_keys: true` does: `{"a.b": 1}` becomes `{"a": {"b": 1}}`. Where a name is both a
/// value and an object, Filebeat gives the line up.
fn expand_keys(record: &Value) -> Value {
    let mut expanded = Map::new();
    for (name, value) in record.as_object().unwrap() {
        let value = if value.is_object() { expand_keys(value) } else { value.clone() };
        insert(&mut expanded, name, value);
    }
    Value::Object(expanded)
}

fn insert(object: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((first, rest)) = name.split_once('.') else {
        match (object.get_mut(name), value) {
            (Some(Value::Object(there)), Value::Object(more)) => {
                more.into_iter().for_each(|(name, value)| insert(there, &name, value));
            }
            (Some(there), value) => panic!("{name} is both {there} and {value}"),
            (None, value) => drop(object.insert(name.to_owned(), value)),
        }
        return;
    };
    let inside = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
    let inside = inside.as_object_mut().unwrap_or_else(|| panic!("{first} is a value, and {name} is in it"));
    insert(inside, rest, value);
}

fn leaves(value: &Value) -> Vec<(String, Value)> {
    let Value::Object(object) = value else { return vec![(String::new(), value.clone())] };
    let below = |(name, value): (&String, &Value)| {
        let name = name.clone();
        leaves(value).into_iter().map(move |(path, leaf)| {
            (if path.is_empty() { name.clone() } else { format!("{name}.{path}") }, leaf)
        })
    };
    object.iter().flat_map(below).collect()
}

/// How the index stores what.
struct Index<'a> {
    mappings: &'a Value,
    /// Of `ecs@mappings`, which the template is composed of: the schema's own types.
    schema: BTreeMap<&'static str, &'static str>,
}

impl<'a> Index<'a> {
    fn new(template: &'a Value) -> Self {
        assert_eq!(template["composed_of"], serde_json::json!(["ecs@mappings"]));
        let rows = include_str!("../../raftnode/tests/ecs-9.4.0.csv").lines();
        let schema = rows.filter(|row| !row.starts_with('#')).filter_map(|row| row.split_once(','));
        Self { mappings: &template["template"]["mappings"], schema: schema.collect() }
    }

    /// An explicit property, else the first dynamic template that matches, else the schema;
    /// `labels` are keywords there.
    fn kind(&self, path: &str, value: &Value) -> Option<String> {
        let property = path.split('.').try_fold(self.mappings, |at, name| at["properties"].get(name));
        if let Some(kind) = property {
            return kind["type"].as_str().map(str::to_owned);
        }
        let detected = match value {
            Value::String(_) => "string",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "double",
            Value::Number(_) => "long",
            _ => return None,
        };
        let templates = self.mappings["dynamic_templates"].as_array()?;
        let matching =
            templates.iter().flat_map(|named| named.as_object().unwrap().values()).find(|template| {
                let pattern = template["path_match"].as_str().unwrap();
                path.starts_with(pattern.strip_suffix('*').unwrap())
                    && template["match_mapping_type"] == detected
            });
        if let Some(template) = matching {
            return template["mapping"]["type"].as_str().map(str::to_owned);
        }
        if path.starts_with("kvnode.") && detected == "boolean" {
            return Some(detected.to_owned());
        }
        if path.starts_with("labels.") {
            return Some("keyword".to_owned());
        }
        self.schema.get(path).map(|kind| (*kind).to_owned())
    }
}

fn fits(kind: &str, value: &Value) -> bool {
    match kind {
        "keyword" | "match_only_text" | "wildcard" => value.is_string(),
        "date" => value
            .as_str()
            .is_some_and(|text| text.len() == 24 && text.ends_with('Z') && text[..4].parse::<u16>().is_ok()),
        "long" => value.is_i64(),
        "double" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("no such type here: {other}"),
    }
}

/// The test's own tools: what Filebeat refuses is refused, what does not fit does not.
#[test]
fn keys_are_expanded_as_filebeat_does() {
    let record = serde_json::json!({"a.b": 1, "a.c": {"d.e": "x"}, "f": true});
    assert_eq!(expand_keys(&record), serde_json::json!({"a": {"b": 1, "c": {"d": {"e": "x"}}}, "f": true}));
    let both = serde_json::json!({"a": 1, "a.b": 2});
    assert!(std::panic::catch_unwind(|| expand_keys(&both)).is_err());
    let template = parsed("index-template.json");
    let index = Index::new(&template);
    assert_eq!(index.kind("event.duration", &"x".into()).as_deref(), Some("long"));
    assert!(!fits("long", &"x".into()) && !fits("date", &"yesterday".into()));
    assert_eq!(index.kind("made.up", &"x".into()), None);
    assert_eq!(index.kind("kvnode.log_index", &1.into()).as_deref(), Some("long"));
}
