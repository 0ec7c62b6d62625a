#!/usr/bin/env python3
"""Writes kvnode.json, the Grafana dashboard, beside this file. Needs nothing but Python.

Change a panel here, run it, and commit both. A panel is: title, kind, unit, what it means, its queries with their
legends, and what it has beyond that. $S stands for the selector of the chosen cluster and nodes, $C for the cluster alone.
"""

import json
import pathlib

C = 'job="kvnode", cluster=~"$cluster"'
S = C + ', instance=~"$instance"'
WIDTH = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
CLIENT_OPS = 'op=~"put|get|delete|scan"'


def quantile(q, metric, by, where="", selector="$S"):
    labels = selector + (", " + where if where else "")
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))"


def value_map(**texts):
    options = {value: {"text": text, "color": color} for value, (text, color) in texts.items()}
    return [{"type": "value", "options": {value.lstrip("_"): option for value, option in options.items()}}]


def thresholds(*steps):
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def stat(title, unit, description, query, width=4, **defaults):
    defaults.setdefault("thresholds", thresholds((None, "green")))
    options = {"colorMode": "value", "graphMode": "none", "textMode": "value", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return panel("stat", title, unit, description, [(query, "")], width, 4, options, defaults)


def lines(title, unit, description, *queries, width=8, **defaults):
    defaults.setdefault("min", 0)
    defaults["custom"] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False} | defaults.get("custom", {})
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, unit, description, queries, width, 8, options, defaults)


def timeline(title, unit, description, query, legend, mappings, width=8):
    options = {"showValue": "auto", "mergeValues": True, "rowHeight": 0.9,
               "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False}}
    return panel("state-timeline", title, unit, description, [(query, legend)], width, 8, options, {"mappings": mappings})


def heatmap(title, unit, description, query, width=8):
    options = {"calculate": False, "cellGap": 1, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
               "yAxis": {"unit": unit}, "legend": {"show": False}, "tooltip": {"mode": "single"}}
    made = panel("heatmap", title, unit, description, [(query, "{{le}}")], width, 8, options, {})
    made["targets"][0]["format"] = "heatmap"
    return made


def panel(kind, title, unit, description, queries, width, height, options, defaults):
    targets = []
    for ref, (query, legend) in zip("ABCDEF", queries):
        expr = query.replace("$S", S).replace("$C", C)
        targets.append({"refId": ref, "datasource": DATASOURCE, "expr": expr, "legendFormat": legend or "__auto", "range": True})
    return {
        "type": kind, "title": title, "description": description, "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height}, "targets": targets, "options": options,
        "fieldConfig": {"defaults": {"unit": unit} | defaults, "overrides": []},
    }


# Without the labels that the sum with another series loses: one line for each node.
UP = "sum by (cluster, instance) (up{$S})"
ROLES = value_map(_0=("down", "red"), _1=("follows", "blue"), _2=("leads", "green"))
STEPS = {"lineInterpolation": "stepAfter", "fillOpacity": 0}

ROWS = {
    "Overview": [
        stat("Leader", "prefix:node ", "The node that leads; none: writes and linearizable reads fail.",
             "max(raft_leader_id{$C})", mappings=value_map(_0=("none", "red"))),
        stat("Nodes up", "none", "Nodes that answer Prometheus.", "sum(up{$C})"),
        stat("Nodes down", "none", "Nodes that Prometheus knows and that do not answer. A cluster of three can lose one.",
             "sum(1 - up{$C})", thresholds=thresholds((None, "green"), (1, "orange"), (2, "red"))),
        stat("Leader changes, 1 h", "none", "Leaders that came to power within the last hour, as most nodes saw it.",
             "quantile(0.5, increase(raft_leader_changes_total{$C}[1h]))", decimals=0,
             thresholds=thresholds((None, "green"), (3, "orange"), (10, "red"))),
        stat("Failed requests", "percentunit",
             "Share of all answers that are failures of the cluster and not of the request; overload counts.",
             'sum(rate(kv_requests_total{$C, outcome!~"ok|invalid_argument|failed_precondition|cancelled"}[$__rate_interval])'
             " or 0 * rate(kv_requests_total{$C}[$__rate_interval]))"
             " / clamp_min(sum(rate(kv_requests_total{$C}[$__rate_interval])), 0.001)",
             thresholds=thresholds((None, "green"), (0.001, "orange"), (0.01, "red"))),
        stat("Behind by at most", "suffix: entries", "Log entries that the slowest peer has not acknowledged to the leader.",
             "max(raft_replication_lag_entries{$C})", thresholds=thresholds((None, "green"), (5000, "orange"), (10000, "red"))),
        timeline("Nodes", "none", "What each node is. A learner follows, too.",
                 f"{UP} + on (cluster, instance) raft_is_leader{{$S}} or {UP}", "{{instance}}", ROLES, width=12),
        lines("Requests", "reqps", "Answered per second by the cluster, by operation. Each counts once, on the node that the client asked.",
              (f"sum by (op) (rate(kv_requests_total{{$C, {CLIENT_OPS}}}[$__rate_interval]))", "{{op}}"), width=12),
        lines("Latency, p99", "s", "99 of 100 requests are answered within this time; for a scan, to its first response.",
              (quantile(0.99, "kv_request_duration_seconds", "op", CLIENT_OPS, "$C"), "{{op}}"), width=12),
        lines("Replication lag", "none", "Log entries that each peer has not acknowledged to the leader.",
              ("raft_replication_lag_entries{$C}", "node {{peer}}"), width=12),
    ],
    "Requests": [
        lines("Requests by node", "reqps", "Answered per second by each node, forwarded ones included; the leader does not count those.",
              ("sum by (instance) (rate(kv_requests_total{$S}[$__rate_interval]))", "{{instance}}")),
        lines("Requests by outcome", "reqps", "Answered per second: ok, or the gRPC status of the failure.",
              ("sum by (outcome) (rate(kv_requests_total{$S}[$__rate_interval]))", "{{outcome}}")),
        lines("Latency by node, p99", "s", "99 of 100 requests to this node are answered within this time, forwarding included.",
              (quantile(0.99, "kv_request_duration_seconds", "instance", CLIENT_OPS), "{{instance}}")),
        lines("Put latency", "s", "Half, 90 and 99 of 100 puts are answered within these times.",
              *[(quantile(q, "kv_request_duration_seconds", "op", 'op="put"'), f"p{round(q * 100)}") for q in (0.5, 0.9, 0.99)]),
        lines("Get latency", "s", "Half, 90 and 99 of 100 gets are answered within these times.",
              *[(quantile(q, "kv_request_duration_seconds", "op", 'op="get"'), f"p{round(q * 100)}") for q in (0.5, 0.9, 0.99)]),
        heatmap("Put latencies", "s", "How many puts took how long.",
                'sum by (le) (increase(kv_request_duration_seconds_bucket{$S, op="put"}[$__rate_interval]))'),
    ],
    "Raft": [
        lines("Leader, as each node knows it", "prefix:node ", "0: this node knows none. Nodes that differ for long do not reach each other.",
              ("raft_leader_id{$S}", "{{instance}}"), custom=STEPS),
        lines("Term", "none", "Rises with every election.", ("raft_term{$S}", "{{instance}}"), custom=STEPS),
        lines("Leader changes", "none", "Leaders that each node saw come to power within 5 min.",
              ("increase(raft_leader_changes_total{$S}[5m])", "{{instance}}")),
        lines("Entries committed", "suffix: entries/s", "How fast the log grows, as each node knows it.",
              ("deriv(raft_committed_index{$S}[$__rate_interval])", "{{instance}}")),
        lines("Not yet committed", "suffix: entries", "Entries in a node's log that it does not know to be committed.",
              ("raft_last_log_index{$S} - raft_committed_index{$S}", "{{instance}}")),
        lines("Not yet applied", "suffix: entries", "Committed entries that are not applied; above 10,000 the node is not ready.",
              ("raft_committed_index{$S} - raft_applied_index{$S}", "{{instance}}")),
    ],
    "Storage": [
        lines("Sync duration, p99", "s", "99 of 100 syncs of the Raft log end within this time. Writes wait for those of a majority.",
              (quantile(0.99, "storage_fsync_duration_seconds", "instance", 'db="log"'), "{{instance}}")),
        lines("Syncs", "suffix: syncs/s", "Syncs to disk, by what was synced.",
              ("sum by (db) (rate(storage_fsync_duration_seconds_count{$S}[$__rate_interval]))", "{{db}}")),
        lines("Entries per sync", "suffix: entries", "How many log entries share a sync, on average.",
              ("rate(storage_append_batch_entries_sum{$S}[$__rate_interval])"
               " / rate(storage_append_batch_entries_count{$S}[$__rate_interval])", "{{instance}}")),
        lines("Bytes written", "Bps", "Handed to the operating system, by database; the state's include compactions of its tables.",
              ("sum by (instance, db) (rate(storage_written_bytes_total{$S}[$__rate_interval]))", "{{instance}} {{db}}")),
        lines("Size", "bytes", "Bytes on disk; snapshot: tables of the state that are being written, received or sent and do not count.", ("storage_size_bytes{$S}", "{{instance}} {{db}}")),
        lines("Storage stalls", "percentunit",
              "Time that callers waited for storage to catch up, as a share of all time; above 100 % several waited at once. log: sync is the disk, engine is LevelDB or the processor, reader a page being read; state: flush and compaction.",
              ("sum by (instance, db, cause) (rate(storage_stall_seconds_sum{$S}[$__rate_interval]))", "{{instance}} {{db}}: {{cause}}")),
        lines("Snapshots built, 1 h", "none", "Snapshots that each node built within an hour.",
              ("increase(snapshot_build_seconds_count{$S}[1h])", "{{instance}}"), width=12),
        lines("Time spent on snapshots, 1 h", "s", "Time that each node spent building snapshots within an hour.",
              ("increase(snapshot_build_seconds_sum{$S}[1h])", "{{instance}}"), width=12),
    ],
    "Network": [
        lines("Calls to peers", "reqps", "Per second, by kind: append is a heartbeat, which also confirms reads; append_stream replicates.",
              ("sum by (rpc) (rate(network_rpc_duration_seconds_count{$S}[$__rate_interval]))", "{{rpc}}")),
        lines("Replication, p99", "s", "99 of 100 append requests on the stream to a peer are answered within this time: its sync and the way.",
              (quantile(0.99, "network_rpc_duration_seconds", "instance, peer", 'rpc="append_stream"'), "{{instance}} to node {{peer}}")),
        lines("Heartbeats, p99", "s", "99 of 100 heartbeats to a peer are answered within this time: the network and the peer's CPU.",
              (quantile(0.99, "network_rpc_duration_seconds", "instance, peer", 'rpc="append"'), "{{instance}} to node {{peer}}")),
        lines("Failed calls", "reqps", "Calls to peers that got no answer.",
              ("sum by (instance) (rate(network_rpc_failures_total{$S}[$__rate_interval])) or 0 * sum by (instance) (up{$S})",
               "{{instance}}"), width=12),
        lines("Snapshots sent", "Bps", "Snapshot bytes that go to peers which are too far behind for the log.",
              ("sum by (instance) (rate(snapshot_sent_bytes_total{$S}[$__rate_interval])) or 0 * sum by (instance) (up{$S})",
               "{{instance}}"), width=12),
    ],
    "Process": [
        lines("CPU", "percentunit", "100 % is one core.", ("rate(process_cpu_seconds_total{$S}[2m])", "{{instance}}")),
        lines("Memory", "bytes", "Resident memory.", ("process_resident_memory_bytes{$S}", "{{instance}}")),
        lines("Open files", "percentunit", "File descriptors in use, as a share of the limit.",
              ("process_open_fds{$S} / process_max_fds{$S}", "{{instance}}")),
        lines("Threads", "none", "Threads of the operating system.", ("process_threads{$S}", "{{instance}}"), width=12),
        lines("Up for", "s", "Time since the process started.", ("time() - process_start_time_seconds{$S}", "{{instance}}"), width=12),
    ],
}


def laid_out():
    """Panels from left to right, row under row; all panels of a line have one height."""
    panels, y = [], 0
    for row, members in ROWS.items():
        panels.append({"type": "row", "title": row, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        x, y = 0, y + 1
        for member in members:
            grid = member["gridPos"]
            if x + grid["w"] > WIDTH:
                x, y = 0, y + height
            grid |= {"x": x, "y": y}
            x, height = x + grid["w"], grid["h"]
        y += height
        panels += members
    return [{"id": number} | panel for number, panel in enumerate(panels, start=1)]


def variable(name, label, query, **more):
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "refresh": 2, "sort": 1,
            "query": {"query": query, "refId": "variable"}} | more


DASHBOARD = {
    "uid": "kvnode",
    "title": "kvnode",
    "description": "A replicated key-value store: who leads, what is asked of it, how up to date its logs are.",
    "tags": ["kvnode"],
    "schemaVersion": 39,
    "editable": True,
    "graphTooltip": 1,
    "refresh": "10s",
    "time": {"from": "now-30m", "to": "now"},
    "templating": {"list": [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        variable("cluster", "Cluster", 'label_values(up{job="kvnode"}, cluster)'),
        variable("instance", "Node", 'label_values(up{job="kvnode", cluster=~"$cluster"}, instance)', multi=True, includeAll=True,
                 current={"text": "All", "value": "$__all"}),
    ]},
    "panels": laid_out(),
}

if __name__ == "__main__":
    target = pathlib.Path(__file__).with_name("kvnode.json")
    target.write_text(json.dumps(DASHBOARD, indent=1) + "\n")
