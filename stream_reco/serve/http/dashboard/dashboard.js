// The page: polls /metrics and /v1/status each second and shows what changed. Text from the server is only ever set as
// textContent, because item sources and reasons may hold text that clients sent.

const EVERY_MS = 1000;
const KEPT = 190;
const RATE_SECONDS = 5;
const QUANTILE_SECONDS = 30;
const SHARE_SECONDS = 60;
const FRACTIONS = ["hr@10", "ndcg@10", "mrr@10", "auc"];
const SHARES = [{ key: "share_of_oracle", name: "served" }, { key: "share_of_oracle_by_chance", name: "at random" }];
const AGES = ["minute", "ten_minutes", "hour", "day", "week"];
const page = (id) => document.getElementById(id);
const scrapes = [];
const rows = [];

function tile(name) {
  const big = html("dd", { className: "big", textContent: "–" });
  const more = html("dd", { className: "more" });
  page("tiles").append(html("div", { className: "tile" }, html("dt", { textContent: name }), big, more));
  return (text, note = "") => {
    const [, number, unit] = /^(\S+)(.*)$/.exec(text);
    big.replaceChildren(number, ...(unit.trim() ? [html("small", { textContent: unit.trim() })] : []));
    more.textContent = note;
  };
}

const tiles = {
  events: tile("Events per second"),
  examples: tile("Examples per second"),
  freshness: tile("Freshness"),
  staleness: tile("Staleness"),
  version: tile("Version served"),
  requests: tile("Requests per second"),
};
const chart = (title, series, format, empty, top) => new Chart(page("charts"), { title, series, format, empty, top });
const charts = {
  flow: chart("Throughput, per second", [{ key: "events", name: "events" }, { key: "examples", name: "trained examples" }], asCount, "No events yet: post some to /v1/events."),
  freshness: chart("Freshness, from event to changed answer", [{ key: "freshness50", name: "p50" }, { key: "freshness99", name: "p99" }], asSeconds, "No events have reached the scorer yet."),
  latency: chart("Request latency, /v1", [{ key: "latency50", name: "p50" }, { key: "latency99", name: "p99" }], asSeconds, "No requests yet."),
  calibration: chart("Predicted over observed, by age of label", [], asScore, "No impressions have labels yet."),
  quality: chart("Quality, predicted before learning", [], asScore, "No predictions were measured yet."),
  oracle: chart("Expected clicks, as a share of the best possible", [], asScore, "Known in the simulated world of the demo only."),
};
charts.oracle.figure.hidden = true;

// The oldest scrape that is at most this old.
function earlier(seconds) {
  const least = scrapes.at(-1).at - seconds * 1000 - EVERY_MS / 2;
  return scrapes.find((scrape) => scrape.at >= least);
}

const ofApi = (labels) => (labels.route || "").startsWith("/v1/") && labels.route !== "/v1/status";

function summarize(status) {
  const now = scrapes.at(-1);
  const [rate, quantile] = [earlier(RATE_SECONDS), earlier(QUANTILE_SECONDS)];
  const row = { at: now.at };
  row.events = rateOf(now, rate, "stream_reco_events_accepted_total");
  row.examples = rateOf(now, rate, "stream_reco_trained_examples_total");
  row.requests = rateOf(now, rate, "stream_reco_requests_total", ofApi);
  for (const q of [50, 99]) {
    row[`freshness${q}`] = quantileOf(now, quantile, "stream_reco_freshness_seconds", q / 100);
    row[`latency${q}`] = quantileOf(now, quantile, "stream_reco_request_seconds", q / 100, ofApi);
  }
  for (const [metric, value] of sumBy(now.families, "stream_reco_progressive_quality", "metric")) row[metric] = value;
  for (const [age, value] of sumBy(now.families, "stream_reco_calibration_by_age", "age")) row[`calibration ${age}`] = value;
  row.version = status.version ?? totalOf(now.families, "stream_reco_replica_version");
  row.staleness = status.staleness_seconds ?? totalOf(now.families, "stream_reco_replica_staleness_seconds");
  return row;
}

function showTiles(row, status) {
  tiles.events(asCount(row.events), `${asWhole(status.events)} in all`);
  tiles.examples(asCount(row.examples), `${asWhole(status.examples)} labelled in all`);
  tiles.freshness(asSeconds(row.freshness50), `p99 ${asSeconds(row.freshness99)}`);
  tiles.staleness(asSeconds(row.staleness), "age of the served publication");
  const behind = rows.find((old) => old.at >= row.at - 60_500);
  tiles.version(asWhole(row.version), `${asWhole(Math.max(0, row.version - behind.version))} in the last minute`);
  tiles.requests(asCount(row.requests), `p99 ${asSeconds(row.latency99)}`);
}

function showQuality(row) {
  const named = (keys) => keys.filter((key) => typeof row[key] === "number").map((key) => ({ key, name: key }));
  charts.quality.top = 1;
  charts.quality.show(rows, named(FRACTIONS));
  const shares = SHARES.filter(({ key }) => typeof row[key] === "number");
  charts.oracle.figure.hidden = shares.length === 0;
  page("charts").classList.toggle("odd", shares.length > 0);
  charts.oracle.top = 1;
  charts.oracle.show(rows, shares);
}

function showCalibration(row) {
  const known = AGES.filter((age) => typeof row[`calibration ${age}`] === "number");
  charts.calibration.show(rows, known.map((age) => ({ key: `calibration ${age}`, name: age.replace("_", " ") })));
}

function share(value, total, color) {
  const bar = html("div");
  bar.style.width = `${total > 0 ? (100 * value) / total : 0}%`;
  const text = total > 0 ? `${((100 * value) / total).toFixed(value ? 1 : 0)}%` : "–";
  const track = html("div", { className: `bar ${color}` }, ...(value > 0 ? [bar] : []));
  return html("td", {}, html("div", { className: "share" }, track, html("span", { textContent: text })));
}

function showSources() {
  const before = earlier(SHARE_SECONDS);
  const [slates, candidates] = ["slate_items", "candidates"].map((name) =>
    growthBy(scrapes.at(-1), before, `stream_reco_${name}_total`, "source"),
  );
  const sum = (counts) => [...counts.values()].reduce((total, value) => total + value, 0);
  const names = [...new Set([...candidates.keys(), ...slates.keys()])].sort();
  const totals = [sum(slates), sum(candidates)];
  page("no-sources").hidden = names.length > 0;
  page("sources").hidden = names.length === 0;
  page("sources").tBodies[0].replaceChildren(
    ...names.map((name) =>
      html("tr", {}, html("th", { scope: "row", textContent: name, title: name }), share(slates.get(name) || 0, totals[0], "c0"), share(candidates.get(name) || 0, totals[1], "c2")),
    ),
  );
}

function showKinds() {
  const [calibration, logloss, shares] = ["calibration", "logloss", "share"].map((name) =>
    sumBy(scrapes.at(-1).families, `stream_reco_head_${name}`, "kind"),
  );
  const names = [...new Set([...shares.keys(), ...calibration.keys(), ...logloss.keys()])];
  page("no-kinds").hidden = names.length > 0;
  page("kinds").hidden = names.length === 0;
  page("kinds").tBodies[0].replaceChildren(
    ...names.map((name) =>
      html(
        "tr",
        {},
        html("th", { scope: "row", textContent: name, title: name }),
        shares.has(name) ? share(shares.get(name), 1, "c0") : html("td", { textContent: "–" }),
        html("td", { textContent: asScore(calibration.get(name)) }),
        html("td", { textContent: asScore(logloss.get(name)) }),
      ),
    ),
  );
}

function facts(status) {
  const { families } = scrapes.at(-1);
  // Of null there is nothing to show; `tables` is an object.
  const list = Object.entries(status).filter(([, value]) => typeof value !== "object");
  const named = list.map(([key, value]) => {
    const text = typeof value !== "number" ? String(value) : key.endsWith("_seconds") ? asSeconds(value) : asWhole(value);
    return [key.replace(/_seconds$/, "").replaceAll("_", " "), text];
  });
  const add = (name, value, format) => value !== null && named.push([name, format(value)]);
  add("pending labels", totalOf(families, "stream_reco_pending_examples"), asWhole);
  add("repeated events", totalOf(families, "stream_reco_events_duplicate_total"), asWhole);
  for (const [reason, count] of sumBy(families, "stream_reco_events_rejected_total", "reason")) {
    add(`rejected: ${reason}`, count, asWhole);
  }
  for (const metric of ["logloss", "calibration"]) {
    add(metric, totalOf(families, "stream_reco_progressive_quality", (labels) => labels.metric === metric), asScore);
  }
  add("tables", totalOf(families, "stream_reco_table_bytes"), asBytes);
  add("log on disk", totalOf(families, "stream_reco_log_bytes"), asBytes);
  add("memory of the process", totalOf(families, "process_resident_memory_bytes"), asBytes);
  return named;
}

function show(status) {
  const row = summarize(status);
  rows.push(row);
  if (rows.length > KEPT) rows.shift();
  showTiles(row, status);
  for (const name of ["flow", "freshness", "latency"]) charts[name].show(rows);
  showCalibration(row);
  showQuality(row);
  showSources();
  showKinds();
  page("facts").replaceChildren(
    ...facts(status).map(([name, text]) => html("div", {}, html("dt", { textContent: name }), html("dd", { textContent: text }))),
  );
}

function say(state, text) {
  // Only a change is written, or a screen reader would repeat it every second.
  if (page("state").textContent !== text) page("state").textContent = text;
  page("state").dataset.state = state;
  page("tiles").classList.toggle("stale", state === "lost");
}

async function get(path) {
  const token = sessionStorage.getItem("token");
  const headers = { accept: "text/plain, application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
  return fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(5000) });
}

async function poll() {
  const [metrics, status] = await Promise.all([get("/metrics"), get("/v1/status")]);
  page("token-form").hidden = status.status !== 401 && metrics.status !== 401;
  if (!page("token-form").hidden) return say("wait", "token needed");
  if (!metrics.ok || !status.ok) return say("lost", `server answers ${metrics.ok ? status.status : metrics.status}`);
  scrapes.push({ at: performance.now(), families: parseMetrics(await metrics.text()) });
  if (scrapes.length > KEPT) scrapes.shift();
  show(await status.json());
  return say("live", "live");
}

const paused = () => page("pause").getAttribute("aria-pressed") === "true";

async function forever() {
  if (paused()) say("wait", "paused");
  else if (!document.hidden) await poll().catch(() => say("lost", "no connection"));
  setTimeout(forever, EVERY_MS);
}

const THEMES = ["system", "light", "dark"];
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function paint() {
  const chosen = localStorage.getItem("theme") || "system";
  page("theme").textContent = `Theme: ${chosen}`;
  document.documentElement.dataset.theme = chosen === "system" ? (systemDark.matches ? "dark" : "light") : chosen;
}

page("theme").addEventListener("click", () => {
  const chosen = localStorage.getItem("theme") || "system";
  localStorage.setItem("theme", THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length]);
  paint();
});
page("pause").addEventListener("click", () => {
  page("pause").setAttribute("aria-pressed", String(!paused()));
  page("pause").textContent = paused() ? "Resume" : "Pause";
});
page("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", page("token").value);
});
systemDark.addEventListener("change", paint);
paint();
forever();
