"use strict";
// Everything that comes from the cluster is put into the page as text. Nodes are made once and changed in place.
(() => {
  const POLL_MS = 1000, HISTORY_MS = 5000, TIMEOUT_MS = 4000;
  const SVG = "http://www.w3.org/2000/svg";
  const $ = (id) => document.getElementById(id);

  function text(node, value) { if (node.textContent !== value) node.textContent = value; }
  function attr(node, name, value) { if (node.getAttribute(name) !== value) node.setAttribute(name, value); }
  function make(tag, className, parent, content) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (content !== undefined) node.textContent = content;
    if (parent) parent.append(node);
    return node;
  }
  function draw(tag, attributes, parent) {
    const node = document.createElementNS(SVG, tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    parent.append(node);
    return node;
  }

  // Numbers, sizes and times for people. No line breaks between a number and its unit, nor before what separates two.
  const NONE = "–", PER = "\u00a0/ ";
  const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  function count(value) { return value == null ? NONE : grouped.format(value); }
  function short(value) {
    if (value == null) return NONE;
    if (value >= 1e6) return (value / 1e6).toPrecision(3) + "\u00a0M";
    if (value >= 100) return grouped.format(value);
    return value >= 10 ? value.toFixed(1) : value === 0 ? "0" : value.toPrecision(2).replace(/\.?0+$/, "");
  }
  function millis(value) {
    if (value == null) return NONE;
    return value >= 1000 ? short(value / 1000) + "\u00a0s" : short(value) + "\u00a0ms";
  }
  function bytes(value) {
    if (value == null) return NONE;
    let unit = 0;
    while (value >= 1024 && unit < 5) { value /= 1024; unit++; }
    return (unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)) + "\u00a0" + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
  }
  const two = (n) => String(n).padStart(2, "0");
  function clock(ms) { const d = new Date(ms); return two(d.getHours()) + ":" + two(d.getMinutes()) + ":" + two(d.getSeconds()); }
  function moment(ms) {
    const d = new Date(ms), today = new Date().toDateString() === d.toDateString();
    return today ? clock(ms) : d.getFullYear() + "-" + two(d.getMonth() + 1) + "-" + two(d.getDate()) + " " + clock(ms);
  }
  function span(ms) {
    const s = Math.max(0, Math.round(ms / 1000)), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    const parts = d > 0 ? [d, "d", h % 24, "h"] : h > 0 ? [h, "h", m % 60, "min"] : m > 0 ? [m, "min", s % 60, "s"] : [s, "s"];
    return parts.join("\u00a0");
  }
  function names(list) { return (list.length > 1 ? "nodes " : "node ") + list.join(", "); }

  // The theme: as the system has it, unless chosen here.
  const themes = ["automatic", "light", "dark"], dark = matchMedia("(prefers-color-scheme: dark)");
  let theme = "automatic";
  try { theme = themes.includes(localStorage.theme) ? localStorage.theme : theme; } catch (e) { /* no storage */ }
  function showTheme() {
    const wanted = theme === "automatic" ? (dark.matches ? "dark" : "light") : theme;
    attr(document.documentElement, "data-theme", wanted);
    text($("theme"), "Theme: " + theme);
  }
  $("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.theme = theme; } catch (e) { /* no storage */ }
    showTheme();
  });
  dark.addEventListener("change", showTheme);
  showTheme();

  // How a member is: a level, a sign, a word and what there is to say about it.
  function health(member) {
    const said = member.said;
    if (!member.reachable) {
      const last = member.answered_unix_ms ? "; last answer " + moment(member.answered_unix_ms) : "";
      if (member.stranger) return ["bad", "✕", "is not this member", member.unreachable_because + last];
      return ["bad", "✕", "cannot be reached", (member.unreachable_because || "not asked yet") + last];
    }
    if (said.fault) return ["bad", "✕", "failed", said.not_ready_because || said.fault];
    if (said.not_ready_because) return ["warn", "▲", "not ready", said.not_ready_because];
    if (member.problems.length) return ["warn", "▲", "not well", member.problems.join("; ")];
    return ["good", "●", "ready", "for\u00a0" + span(Date.now() - skew - said.started_unix_ms)];
  }

  // The first of these that holds is the headline; the clock of the cluster may differ from ours.
  let skew = 0;
  function summarize(view) {
    const total = view.members.length, leader = view.leader;
    const away = view.members.filter((m) => !m.reachable && !m.stranger).map((m) => m.id);
    const strange = view.members.filter((m) => m.stranger).map((m) => m.id);
    const failed = view.members.filter((m) => m.said && m.said.fault).map((m) => m.id);
    const waiting = view.members.filter((m) => m.said && !m.said.fault && m.said.not_ready_because).map((m) => m.id);
    const troubles = [];
    if (failed.length) troubles.push("the storage or consensus of " + names(failed) + " has failed");
    if (away.length) troubles.push(names(away) + " cannot be reached");
    if (strange.length) troubles.push(names(strange) + (strange.length > 1 ? " are not the members" : " is not the member") + " that the cluster knows");
    const odd = view.members.filter((m) => m.said && !m.said.fault && !m.said.not_ready_because && m.problems.length).map((m) => m.id);
    if (waiting.length && leader) troubles.push(names(waiting) + (waiting.length > 1 ? " are" : " is") + " not ready");
    if (odd.length) troubles.push(names(odd) + (odd.length > 1 ? " are" : " is") + " not well");
    if (leader) troubles.push(...view.problems);
    const also = troubles.length ? ": " + troubles.join("; ") : "";
    if (!view.initialized && !failed.length && !away.length && !strange.length) return ["warn", "▲ Not initialised: run kvcli cluster init against any node"];
    if (!leader || view.health === "unavailable") return ["bad", "✕ No leader: writes and linearizable reads are refused" + also.replace(": ", "; ")];
    if (troubles.length) return ["warn", "▲ Node " + leader.id + " leads, but " + troubles.join("; ")];
    return ["good", "● Healthy: node " + leader.id + " leads, " + (total === 1 ? "the only member is" : "all " + total + " members are") + " ready"];
  }

  function showSummary(view) {
    const [level, headline] = summarize(view), leader = view.leader;
    attr($("summary"), "class", "summary " + level);
    text($("headline"), headline);
    text($("cluster"), view.cluster_name);
    attr($("cluster"), "title", view.cluster_id ? "Cluster id " + view.cluster_id : "");
    const own = view.members.find((m) => m.id === view.node_id);
    const version = own && own.said ? ", version " + own.said.version : "";
    text($("seen"), "as node " + view.node_id + " sees it" + version + ", at " + clock(Date.now()));
    let since = "";
    if (leader) {
      since = "Term " + leader.term;
      if (leader.since_unix_ms) since += ", since " + moment(leader.since_unix_ms + skew) + " (" + span(view.asked_unix_ms - leader.since_unix_ms) + ")";
    } else {
      const last = view.events.find((event) => event.kind === "election");
      if (last) since = moment(last.at_unix_ms + skew) + ": " + last.text;
    }
    text($("since"), since);
    const title = (level === "good" ? "● " : level === "warn" ? "▲ " : "✕ ") + view.cluster_name + (leader ? ": node " + leader.id + " leads" : ": no leader");
    if (document.title !== title) document.title = title;
  }

  // One loud line for each member that has failed.
  const faults = new Map();
  function showFaults(view) {
    keep(faults, view.members.filter((m) => m.said && m.said.fault), (m) => m.id, () => {
      const line = make("p", "banner bad", $("faults"));
      return { root: line, who: make("strong", "", line), why: make("span", "", line) };
    }, (line, m) => {
      text(line.who, "✕ Node " + m.id + " serves nothing: ");
      text(line.why, m.said.not_ready_because || m.said.fault);
    });
  }

  // Makes what is new, changes what stays, removes what is gone; in the order of the list.
  function keep(known, list, key, create, update) {
    const wanted = new Set(list.map(key));
    for (const [id, item] of known) if (!wanted.has(id)) { item.root.remove(); if (item.path) item.path.remove(); known.delete(id); }
    let before = null;
    for (const value of list) {
      const id = key(value);
      if (!known.has(id)) known.set(id, create(value));
      const item = known.get(id);
      update(item, value);
      const parent = item.root.parentNode, place = before ? before.nextSibling : parent.firstChild;
      if (place !== item.root) parent.insertBefore(item.root, place);
      before = item.root;
    }
  }

  const rows = new Map();
  const labels = [...document.querySelectorAll("#members thead th")].map((th) => th.textContent);
  function showMembers(view) {
    keep(rows, view.members, (m) => m.id, (m) => {
      const root = make("tr", "", $("rows"));
      root.setAttribute("role", "row");
      const cells = labels.map((label, n) => {
        const cell = make(n === 0 ? "th" : "td", n > 2 ? "n" : "", root);
        cell.setAttribute("role", n === 0 ? "rowheader" : "cell");
        if (n === 0) cell.setAttribute("scope", "row"); else cell.setAttribute("data-label", label);
        return cell;
      });
      const name = make("span", "", cells[0], "Node " + m.id), addr = make("span", "sub", cells[0]);
      const badge = make("span", "badge", cells[1]), why = make("span", "sub", cells[1]);
      return { root, cells, name, addr, badge, why };
    }, (row, m) => {
      // A node without storage does not know what was in it.
      const knows = m.said && !(m.said.fault && m.said.term === 0);
      const said = m.said || {}, log = knows ? m.said : {}, recent = m.recent || {}, [level, sign, word, why] = health(m);
      showName(row, m, view);
      text(row.addr, m.client_addr);
      attr(row.badge, "class", "badge " + level);
      text(row.badge, sign + "\u00a0" + word);
      text(row.why, why);
      const leads = view.leader && view.leader.id === m.id;
      attr(row.cells[2], "class", leads ? "leads" : "");
      text(row.cells[2], leads ? "★\u00a0leader" : m.role === "leader" ? "was leader" : m.role || (m.voter ? "voter" : "learner"));
      const rate = recent.write_per_second == null ? null : recent.write_per_second + recent.read_per_second;
      const pair = (a, b) => a == null && b == null ? NONE : millis(a) + PER + millis(b);
      [count(m.lag_entries), count(log.last_log_index), count(log.committed_index), count(log.applied_index), short(rate),
        pair(recent.sync_p50_ms, recent.sync_p99_ms), pair(recent.apply_p50_ms, recent.apply_p99_ms),
        knows ? bytes(said.log_size_bytes) + PER + bytes(said.state_size_bytes) + PER + bytes(said.snapshot_size_bytes) : NONE,
        said.disk_size_bytes ? bytes(said.disk_free_bytes) + " (" + Math.round(100 * said.disk_free_bytes / said.disk_size_bytes) + "\u00a0%)" : NONE,
      ].forEach((value, n) => text(row.cells[n + 3], value));
    });
  }

  // The name is a link to the page of that node, where its address is one that can be followed.
  function showName(row, m, view) {
    const addr = m.said && m.id !== view.node_id ? m.said.http_addr : "";
    const href = /^[A-Za-z0-9.:[\]-]+$/.test(addr) && !/^(0\.0\.0\.0|\[::\])/.test(addr) ? "http://" + addr + "/" : "";
    if ((row.name.getAttribute("href") || "") === href) return;
    const name = make(href ? "a" : "span", "", null, "Node " + m.id);
    if (href) name.href = href;
    row.name.replaceWith(name);
    row.name = name;
  }

  const events = new Map();
  function showEvents(view) {
    $("no-events").hidden = view.events.length > 0;
    keep(events, view.events, (e) => e.at_unix_ms + e.kind + e.text, (e) => {
      const root = make("li", "", $("events"));
      const time = make("time", "", root);
      time.dateTime = new Date(e.at_unix_ms).toISOString();
      return { root, time, kind: make("span", e.kind === "fault" ? "fault" : "", root), what: make("span", "what", root), by: make("span", "by quiet", root) };
    }, (item, e) => {
      text(item.time, moment(e.at_unix_ms));
      text(item.kind, e.kind === "fault" ? "✕ fault" : e.kind);
      text(item.what, e.text);
      text(item.by, "seen by " + names(e.nodes));
    });
  }

  // Charts: lines over 15 minutes. Colour and dashes tell them apart, the legend has the numbers.
  const W = 300, H = 100;
  class Chart {
    constructor(title, unit) {
      this.title = title; this.unit = unit; this.lines = new Map();
      this.root = make("figure", "", $("charts"));
      const caption = make("figcaption", "", this.root);
      make("span", "", caption, title);
      this.top = make("span", "quiet", caption);
      this.svg = draw("svg", { viewBox: "0 0 " + W + " " + H, preserveAspectRatio: "none", role: "img" }, this.root);
      for (const y of [0, H / 2, H]) draw("line", { class: "grid", x1: 0, x2: W, y1: y, y2: y }, this.svg);
      const axis = make("div", "axis", this.root);
      axis.setAttribute("aria-hidden", "true");
      make("span", "", axis, "15 min ago"); make("span", "", axis, "now");
      this.legend = make("ul", "legend", this.root);
    }
    show(series) {
      const all = series.flatMap((line) => line.values).filter((value) => value != null);
      const top = nice(Math.max(0, ...all));
      text(this.top, "scale: 0 to " + this.unit(top));
      const told = series.map((line) => line.name + ": " + this.tell(line.values));
      attr(this.svg, "aria-label", this.title + ", last 15 minutes. " + told.join(". "));
      keep(this.lines, series, (line) => line.name, (line) => this.add(line), (item, line) => {
        attr(item.path, "d", path(line.values, top));
        text(item.value, this.tell(line.values));
      });
    }
    add(line) {
      const root = make("li", "", this.legend), sign = draw("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" }, root);
      draw("line", { class: "line s" + line.style, x1: 1, x2: 27, y1: 4, y2: 4 }, sign);
      make("span", "", root, line.name + " ");
      return { root: root, path: draw("path", { class: "line s" + line.style }, this.svg), value: make("strong", "", root) };
    }
    tell(values) {
      const known = values.filter((value) => value != null);
      if (!known.length) return "nothing measured";
      const last = values[values.length - 1];
      return (last == null ? NONE : this.unit(last)) + ", highest " + this.unit(Math.max(...known));
    }
  }
  function nice(value) {
    if (!(value > 0)) return 1;
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= value * 0.999);
  }
  function path(values, top) {
    const step = W / Math.max(1, values.length - 1);
    let d = "", gap = true;
    values.forEach((value, n) => {
      if (value == null) { gap = true; return; }
      const point = (n * step).toFixed(1) + " " + (H - value / top * H).toFixed(1);
      d += gap ? "M" + point + "h0.1" : "L" + point;
      gap = false;
    });
    return d;
  }

  const rate = (value) => short(value) + "/s";
  const charts = {
    rates: new Chart("Requests of clients", rate), write: new Chart("Write latency", millis), read: new Chart("Read latency", millis),
    sync: new Chart("Log sync, 99 % within", millis), apply: new Chart("Apply a batch, 99 % within", millis),
  };
  function showHistory(history) {
    const ops = ["write", "read"];
    charts.rates.show(ops.map((op, n) => ({ name: op, style: n, values: history[op].per_second })));
    for (const op of ops) {
      charts[op].show([{ name: "p50", style: 0, values: history[op].p50_ms }, { name: "p99", style: 1, values: history[op].p99_ms }]);
    }
    for (const kind of ["sync", "apply"]) {
      charts[kind].show(Object.keys(history[kind]).map((id, n) => ({ name: "node " + id, style: n % 6, values: history[kind][id].p99_ms })));
    }
    const away = Object.keys(history.sync).filter((id) => history.sync[id].p99_ms.every((v) => v == null) && !reachable.has(Number(id)));
    text($("coverage"), "All nodes added up, in steps of " + history.interval_ms / 1000 + " s."
      + (away.length ? " What " + names(away) + " did is not known here while it cannot be reached." : ""));
  }

  let reachable = new Set();
  function showCluster(view) {
    skew = Date.now() - view.asked_unix_ms;
    // Within the age of an answer it is no skew.
    if (Math.abs(skew) < 3000) skew = 0;
    reachable = new Set(view.members.filter((m) => m.reachable).map((m) => m.id));
    showSummary(view); showFaults(view); showMembers(view); showEvents(view);
  }

  // This node may be the one that is gone.
  let shown = null;
  function showLost(error) {
    attr($("summary"), "class", "summary bad");
    text($("headline"), "✕ This page has lost its node; open another node's page");
    text($("since"), shown ? "Everything below is as it was at " + clock(shown) + " (" + error + ")" : String(error));
    document.title = "✕ lost";
  }

  // A mistake in this page, or an answer of another version.
  function showBroken(error) {
    attr($("summary"), "class", "summary bad");
    text($("headline"), "✕ This page can't show all that its node says");
    text($("since"), "What is below may be old (" + error.message + "). The node's own status is at /api/status");
  }

  async function json(path) {
    const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(path + ": " + answer.status);
    return answer.json();
  }
  // Whatever happens, the next look comes: a page that stands still looks like a cluster at rest.
  async function repeat(pause, show, showBroken) {
    for (;;) {
      if (!document.hidden) {
        try { await show(); } catch (error) { console.error(error); showBroken(error); }
      }
      await new Promise((done) => setTimeout(done, pause));
    }
  }
  repeat(POLL_MS, async () => {
    let view;
    try { view = await json("/api/cluster"); } catch (error) { return showLost(error.message); }
    shown = Date.now();
    showCluster(view);
  }, showBroken);
  // Its failures show in the other.
  repeat(HISTORY_MS, async () => {
    let history;
    try { history = await json("/api/cluster/history"); } catch (error) { return; }
    showHistory(history);
  }, (error) => text($("coverage"), "The charts can't be drawn (" + error.message + ")."));
})();
