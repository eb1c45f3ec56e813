"use strict";
// The tables of the page are HTML. The scripts sort and filter them, draw the charts from the data in the page, and open
// records. They insert text as text nodes only, so that nothing in a record is ever read as HTML. The page holds them as
// one, in the order of SCRIPTS in __init__.py.

const data = JSON.parse(document.getElementById("data").textContent);

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") for (const [name, set] of Object.entries(value)) element.style.setProperty(name, set);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const fixed = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));

/** A share of the published schedule, rounded down, so that nothing unfinished reads 100 %. */
function percent(share) {
  if (share === null) return "–";
  if (share >= 1) return "full";
  const exact = 100 * share + 1e-9;
  return exact >= 10 ? `${Math.floor(exact)} %` : `${(Math.floor(10 * exact) / 10).toFixed(1)} %`;
}

function short(value) {
  if (value === null || value === undefined) return "–";
  for (const [unit, factor] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
    if (Math.abs(value) >= factor) return `${+(value / factor).toPrecision(3)}${unit}`;
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(0).replace("-", "−");
  return `${+value.toPrecision(3)}`;
}

/** A power of ten, as axes with many decades show it. */
const power = (value) => "10" + [...`${Math.round(Math.log10(value))}`].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("");

function duration(seconds) {
  if (seconds < 100) return `${+seconds.toPrecision(3)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// What the reader chose survives a reload of the page, which a server makes whenever there are new records.
const state = { table: null, measure: "seconds", device: null, slots: null, filters: {}, sorted: {} };
try {
  Object.assign(state, JSON.parse(sessionStorage.getItem("ssm_bench") ?? "{}"));
} catch { /* A browser may keep nothing. */ }

function keep() {
  try {
    sessionStorage.setItem("ssm_bench", JSON.stringify(state));
  } catch { /* Likewise. */ }
}
