"use strict";
// Parses the Prometheus text format and computes rates and quantiles between two scrapes.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { n: "\n" };

function parseMetrics(text) {
  const families = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, name, value] of (found[2] || "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\(.)/g, (_, escaped) => ESCAPES[escaped] ?? escaped);
    }
    if (!families.has(found[1])) families.set(found[1], []);
    families.get(found[1]).push({ labels, value: found[3] === "+Inf" ? Infinity : Number(found[3]) });
  }
  return families;
}

function samplesOf(families, name, keep = () => true) {
  return (families.get(name) || []).filter((sample) => keep(sample.labels));
}

// The sum over all matching samples; null where the metric has none.
function totalOf(families, name, keep) {
  const samples = samplesOf(families, name, keep);
  return samples.length ? samples.reduce((sum, sample) => sum + sample.value, 0) : null;
}

function sumBy(families, name, label) {
  const sums = new Map();
  for (const sample of samplesOf(families, name)) {
    const key = sample.labels[label] ?? "";
    sums.set(key, (sums.get(key) || 0) + sample.value);
  }
  return sums;
}

// A counter's growth between two scrapes. A restarted server counts from zero again.
function growth(now, before) {
  if (now === null) return null;
  return before === null || now < before ? now : now - before;
}

function rateOf(scrape, earlier, name, keep) {
  const seconds = (scrape.at - earlier.at) / 1000;
  const grown = growth(totalOf(scrape.families, name, keep), totalOf(earlier.families, name, keep));
  return grown === null || seconds <= 0 ? null : grown / seconds;
}

function growthBy(scrape, earlier, name, label) {
  const before = sumBy(earlier.families, name, label);
  const grown = new Map();
  for (const [key, value] of sumBy(scrape.families, name, label)) grown.set(key, growth(value, before.get(key) ?? null));
  return grown;
}

// The q-quantile of what a histogram observed between two scrapes, linear within a bucket, as Prometheus has it.
function quantileOf(scrape, earlier, name, q, keep = () => true) {
  const buckets = new Map();
  for (const [families, sign] of [[scrape.families, 1], [earlier.families, -1]]) {
    for (const { labels, value } of samplesOf(families, `${name}_bucket`, keep)) {
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      buckets.set(bound, (buckets.get(bound) || 0) + sign * value);
    }
  }
  const bounds = [...buckets.keys()].sort((a, b) => a - b);
  const count = bounds.length ? buckets.get(bounds.at(-1)) : 0;
  if (!(count > 0)) return null;
  let low = 0;
  let below = 0;
  for (const bound of bounds) {
    const upTo = buckets.get(bound);
    if (upTo >= q * count) {
      if (bound === Infinity) return low;
      return low + (bound - low) * (upTo > below ? (q * count - below) / (upTo - below) : 1);
    }
    low = bound;
    below = upTo;
  }
  return low;
}

function inUnits(value, units) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const [, scale, unit] = units.find(([least]) => Math.abs(value) >= least) || units.at(-1);
  if (value === 0) return "0";
  const scaled = value / scale;
  const digits = Math.abs(scaled) >= 100 || Number.isInteger(scaled) ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return scaled.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) + unit;
}

const asCount = (value) => inUnits(value, [[1e9, 1e9, " G"], [1e6, 1e6, " M"], [1e4, 1e3, " k"], [0, 1, ""]]);
const asSeconds = (value) => inUnits(value, [[86400, 86400, " d"], [3600, 3600, " h"], [120, 60, " min"], [1, 1, " s"], [1e-3, 1e-3, " ms"], [0, 1e-6, " µs"]]);
const asBytes = (value) => inUnits(value, [[2 ** 30, 2 ** 30, " GiB"], [2 ** 20, 2 ** 20, " MiB"], [1024, 1024, " KiB"], [0, 1, " B"]]);
const asScore = (value) => (value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(3));
const asWhole = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
