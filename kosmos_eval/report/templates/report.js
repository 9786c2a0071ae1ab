"use strict";
const { settings, samples } = JSON.parse(document.getElementById("data").textContent);
const images = JSON.parse(document.getElementById("images").textContent);
const PAGE = 20;
const OUTCOMES = ["correct", "partial", "incorrect", "varies", "failed", "changed"];
const chosen = { outcome: "", task: "", shots: "", variant: "", kind: "", order: "", words: [], page: 0 };
const find = (selector) => document.querySelector(selector);

// Everything from the data goes through text nodes and attributes, never through markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (name !== "class" || value) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function part(value) {
  if (typeof value === "string") return value;
  if (value === -1) return element("span", { class: "gone" }, "image that cannot be read");
  if (value === -2) return element("span", { class: "gone" }, "image left out to keep this page small");
  return element("img", { src: images[value], alt: "image of the prompt", loading: "lazy" });
}

const isImage = (value) => typeof value !== "string";
const headline = (sample) => Object.values(sample.values)[0];
const has = (sample, outcome) => (["changed", "varies"].includes(outcome) ? sample[outcome] : sample.outcome === outcome);
const asking = (setting) => setting.variant || "default";

// A sample varies where one setting of its task has it correct and another incorrect.
const outcomes = new Map();
const identity = (sample) => JSON.stringify([settings[sample.setting].task, sample.id]);
for (const sample of samples) outcomes.set(identity(sample), [...(outcomes.get(identity(sample)) || []), sample.outcome]);
for (const sample of samples) sample.varies = ["correct", "incorrect"].every((one) => outcomes.get(identity(sample)).includes(one));

function searchable(sample) {
  const parts = [sample.opening, sample.ending, ...sample.requests.map((request) => request.parts)].flat();
  const said = sample.requests.map((request) => request.text || "");
  const own = [sample.id, sample.kind, sample.answer, sample.target, sample.error, ...sample.references, ...said];
  return [...own, ...parts.filter((value) => !isImage(value))].join("\n").toLowerCase();
}

function among(sample, except) {
  const setting = settings[sample.setting];
  return (
    (except === "task" || !chosen.task || setting.task === chosen.task) &&
    (except === "shots" || !chosen.shots || String(setting.shots) === chosen.shots) &&
    (except === "variant" || !chosen.variant || asking(setting) === chosen.variant) &&
    (except === "kind" || !chosen.kind || sample.kind === chosen.kind) &&
    (except === "outcome" || !chosen.outcome || has(sample, chosen.outcome)) &&
    chosen.words.every((word) => (sample.search ??= searchable(sample)).includes(word))
  );
}

function marked(sample) {
  const percent = settings[sample.setting].percent;
  return Object.entries(sample.values).map(([name, value]) =>
    `${name} ${percent && value >= 0 && value <= 1 ? `${+(100 * value).toFixed(1)} %` : value.toFixed(3)}`);
}

function expected(sample) {
  const counts = new Map();
  for (const text of sample.references.length ? sample.references : [sample.target]) counts.set(text, (counts.get(text) || 0) + 1);
  const list = [...counts].sort((one, other) => other[1] - one[1]);
  return list.length > 3 && list.every(([, count]) => count === 1)
    ? list.map(([text]) => text).join("\n")
    : list.map(([text, count]) => (count > 1 ? `${text} (${count} of ${sample.references.length})` : text)).join(", ");
}

function tie(sample) {
  const tied = sample.requests.some((request) => request.likelihoods) ? sample.answer.split("=") : [];
  return tied.length > 1 ? `${tied.join(", ")} (a tie of ${tied.length}, which share the credit)` : "";
}

function asked(sample) {
  const many = sample.requests.length > 1;
  const rows = [];
  const listed = sample.requests.some((request) => request.text !== undefined);
  const scores = sample.requests.flatMap((request) => (request.likelihoods || []).map(([, logprob]) => logprob));
  const best = Math.max(...scores), worst = Math.min(...scores);
  const answers = sample.answer.split("=");
  const gallery = many && sample.requests.every((request) => request.label && (request.likelihoods || []).length === 1);
  for (const request of sample.requests) {
    const lines = request.likelihoods || [[null]];
    lines.forEach(([word, logprob, tokens], place) => {
      const own = request.label || (word || "").trim();
      const right = request.label ? own === sample.target : word !== null && [sample.target, ...sample.references].includes(own);
      const parts = place || !many ? [] : [request.label ? `${request.label}  ` : "", ...request.parts.map(part)];
      const share = best > worst ? (100 * (logprob - worst)) / (best - worst) : 100;
      const standing = [right ? "expected" : "", answers.includes(own) ? "chosen" : ""].filter(Boolean).join(", ");
      const unknown = word === null && request.text === undefined;
      rows.push(element("tr", { class: `${right ? "expected " : ""}${answers.includes(own) ? "chosen" : ""}`.trim() },
        many ? element("td", {}, ...parts) : null,
        element("td", { class: "word" }, unknown ? standing : (word ?? request.text).trim() || word || "(nothing)"),
        ...(word === null
          ? [element("td", { colspan: 3 }, unknown ? "" : element("small", {}, request.how.replace("→ ", "")))]
          : [element("td", { class: "r" }, logprob.toFixed(3)),
             element("td", {}, element("span", { class: "meter" }, element("i", { style: `width:${share.toFixed(1)}%` }))),
             element("td", {}, standing)])));
    });
    if (request.more) rows.push(element("tr", {}, element("td", { colspan: 5 }, `and ${request.more} less likely`)));
  }
  const head = many && sample.requests.some((request) => request.parts.length || request.label) ? "candidate" : "";
  const titles = [...(many ? [head] : []), ...(scores.length ? ["continuation", "log-probability"] : listed ? ["answer", "how"] : ["", ""]), "", ""];
  const said = scores.length ? "Natural log-probability of each continuation; the expected one has a coloured ground." : "";
  return element("div", { class: "wide" }, element("table", { class: gallery ? "asked gallery" : "asked" },
    said ? element("caption", {}, said) : null,
    element("thead", {}, element("tr", {}, ...titles.map((title) => element("th", {}, title)))),
    element("tbody", {}, ...rows)));
}

function prompt(parts) {
  const many = parts.filter(isImage).length > 2;
  return element("div", { class: many ? "prompt many" : "prompt" }, ...parts.map(part));
}

function card(sample) {
  const setting = settings[sample.setting];
  const first = sample.requests[0];
  const single = sample.requests.length === 1;
  const listed = sample.requests.some((request) => request.text !== undefined || request.likelihoods || request.label);
  const question = [...sample.opening, ...(single ? first.parts : sample.ending.length ? [" … ", ...sample.ending] : [])];
  const shots = sample.shots.length
    ? element("details", { class: "shots" }, element("summary", {}, `${sample.shown} demonstration${sample.shown === 1 ? "" : "s"} before the question`), prompt(sample.shots))
    : null;
  const facts = [];
  const fact = (name, text, kind = "") => facts.push(element("dt", {}, name), element("dd", { class: kind }, text));
  if (sample.error) fact("failed", sample.error);
  else fact("answer", tie(sample) || sample.answer || "(nothing)", "said");
  fact("expected", expected(sample) || "(not public)");
  if (single && first.text !== undefined && first.text !== sample.answer) fact("as generated", JSON.stringify(first.text));
  if (single && first.text !== undefined) fact("asked", first.how.replace("→ ", "") + (first.cut ? "; cut there" : ""));
  if (single && first.logprob != null) fact("log-probability", first.logprob.toFixed(3));
  return element("article", { class: `sample ${sample.outcome}`.trim(), "data-id": sample.id },
    element("h3", {},
      element("span", { class: "badge" }, sample.outcome || "answered"),
      element("span", {}, `${setting.task}, ${setting.shots} shots${setting.variant ? `, ${setting.variant}` : ""}`),
      sample.varies ? element("span", {}, "changed between settings") : null,
      sample.kind ? element("span", {}, sample.kind) : null,
      element("span", {}, sample.id),
      ...marked(sample).slice(0, 3).map((text) => element("span", {}, text)),
      sample.changed ? element("span", { class: "gone" }, "data changed since the run: this is not what was asked") : null),
    shots, prompt(question), element("dl", {}, ...facts),
    single && first.text !== undefined || sample.error || !listed ? null : asked(sample));
}

function options(select, values, every) {
  const kept = chosen[select];
  const menu = find(`#${select}`);
  menu.replaceChildren(element("option", { value: "" }, every), ...values.map((value) => element("option", { value }, value)));
  menu.value = kept;
  menu.parentElement.hidden = values.length < 2 && !kept;
}

function menus() {
  const listed = (name, value) => [...new Set(samples.filter((sample) => among(sample, name)).map(value))].filter((v) => v !== "");
  options("task", [...new Set(settings.map((setting) => setting.task))], "all");
  options("shots", [...new Set(settings.map((setting) => String(setting.shots)))], "all");
  options("variant", [...new Set(settings.map(asking))], "all");
  options("kind", listed("kind", (sample) => sample.kind).sort(), "all");
  const there = samples.filter((sample) => among(sample, "outcome"));
  const pill = (value, label, count) => {
    const button = element("button", { type: "button", "aria-pressed": String(chosen.outcome === value), "data-outcome": value || "all" }, `${label} ${count.toLocaleString("en")}`);
    button.addEventListener("click", () => { change({ outcome: value }); find(`[data-outcome="${value || "all"}"]`).focus(); });
    return button;
  };
  const shown = OUTCOMES.filter((value) => value === chosen.outcome || samples.some((sample) => has(sample, value)));
  find(".outcomes").replaceChildren(pill("", "all", there.length), ...shown.map((value) =>
    pill(value, ({ changed: "data changed", varies: "changed between settings" })[value] || value, there.filter((sample) => has(sample, value)).length)));
}

function draw() {
  const found = samples.filter((sample) => among(sample));
  const rank = (sample) => headline(sample) ?? Infinity;
  if (chosen.order === "low") found.sort((one, other) => rank(one) - rank(other));
  if (chosen.order === "high") found.sort((one, other) => (headline(other) ?? -Infinity) - (headline(one) ?? -Infinity));
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  chosen.page = Math.min(chosen.page, pages - 1);
  const from = chosen.page * PAGE;
  find("#list").replaceChildren(...found.slice(from, from + PAGE).map(card));
  const until = Math.min(from + PAGE, found.length);
  const said = found.length ? `${(from + 1).toLocaleString("en")}–${until.toLocaleString("en")} of ${found.length.toLocaleString("en")}` : "no sample matches";
  document.querySelectorAll(".count").forEach((count) => { count.textContent = said; });
  document.querySelectorAll(".previous").forEach((button) => { button.disabled = chosen.page === 0; });
  document.querySelectorAll(".next").forEach((button) => { button.disabled = chosen.page >= pages - 1; });
}

function change(wanted) {
  Object.assign(chosen, { page: 0 }, wanted);
  menus();
  draw();
}

for (const name of ["task", "shots", "variant", "kind", "order"])
  find(`#${name}`).addEventListener("change", (event) => change(name === "task" ? { task: event.target.value, kind: "" } : { [name]: event.target.value }));
let typing = 0;
find("#search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => change({ words: event.target.value.toLowerCase().split(/\s+/).filter(Boolean) }), 120);
});
find(".filters").addEventListener("submit", (event) => event.preventDefault());
for (const [selector, step] of [[".previous", -1], [".next", 1]])
  document.querySelectorAll(selector).forEach((button) => button.addEventListener("click", () => {
    change({ page: chosen.page + step });
    find("#samples").scrollIntoView();
  }));
change({});
