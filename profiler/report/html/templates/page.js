"use strict";
// Draws the charts of the page, and shows why a request lost tokens when its bar is picked. Loads nothing.
const page = JSON.parse(document.getElementById("data").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const shown = new Map();

// A specification names its colours: on the page they are variables of its style, in a picture they are put in.
function coloured(value, of) {
  if (Array.isArray(value)) return value.map((inner) => coloured(inner, of));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner, of)]));
  }
  return typeof value === "string" && value[0] === "@" && page.colours.light[value.slice(1)] ? of(value.slice(1)) : value;
}

function fitted(chart, width, of, seen = width) {
  const spec = coloured(chart.spec, of);
  const columns = Math.max(1, Math.floor(seen / (chart.name === "cache-map" ? 215 : 170)));
  spec.config.legend.columns = columns;
  if (spec.vconcat) {
    for (const panel of spec.vconcat) panel.width = width - 92;
  } else if (spec.hconcat) {
    // Panels that do not fit beside each other stand below each other.
    if (width < 40 + spec.hconcat.reduce((sum, panel) => sum + (panel.width || 0) + 45, 0)) {
      spec.vconcat = spec.hconcat;
      delete spec.hconcat;
    }
  } else {
    spec.width = width - 12;
    spec.autosize = { type: "fit-x", contains: "padding" };
  }
  return { ...spec, datasets: chart.choices[chart.chosen || 0] };
}

async function draw(chart) {
  const place = document.querySelector(`#${chart.name} .plot`);
  const width = Math.max(place.clientWidth, chart.least);
  const spec = fitted(chart, width, (name) => `var(--${name})`, place.clientWidth);
  spec.background = "transparent";
  // The page says it in its own words; a picture has to say it itself.
  delete spec.title;
  const options = { actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
  const old = shown.get(chart.name);
  const { view } = await vegaEmbed(place, spec, options);
  if (old) old.view.finalize();
  shown.set(chart.name, { chart, view, width: place.clientWidth });
  if (chart.picks) {
    view.addEventListener("click", (event, item) => {
      if (!item || !item.datum) return;
      if (chart.name !== "cache-map") return show(item.datum.id);
      move(chart, item.datum.n);
      show(barOf(chart, chart.at).id);
    });
  }
  if (chart.name === "cache-map" && chart.at) view.signal("at", chart.at).runAsync();
}

function barOf(chart, number) {
  return chart.choices[0].bars[number - 1];
}

function move(chart, number) {
  const bars = chart.choices[0].bars;
  chart.at = Math.min(Math.max(number, 1), bars.length);
  const bar = barOf(chart, chart.at);
  document.getElementById("cache-map-at").textContent = `${bar.said}; causes: ${bar.causes}`;
  shown.get(chart.name)?.view.signal("at", chart.at).runAsync();
  const place = document.querySelector("#cache-map .plot");
  if (place.scrollWidth > place.clientWidth) {
    place.scrollLeft = (place.scrollWidth * chart.at) / bars.length - place.clientWidth / 2;
  }
}

function show(id) {
  const panel = document.getElementById("difference");
  if (!panel || id === undefined) return;
  const found = document.getElementById(`loss-${id}`);
  panel.replaceChildren();
  if (!found) {
    const words = document.createElement("p");
    words.className = "hint";
    words.textContent = document.querySelector("template[data-place]")
      ? `Request ${id} lost nothing, or is not among the costliest, whose differences are on this page.`
      : `Request ${id} lost nothing.`;
    panel.append(words);
    return;
  }
  panel.append(found.content.cloneNode(true));
  const steps = document.createElement("nav");
  const place = Number(found.dataset.place);
  for (const [words, number] of [["Costlier loss", place - 1], ["Next loss", place + 1]]) {
    const other = document.querySelector(`template[data-place="${number}"]`);
    if (!other) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words;
    button.addEventListener("click", () => {
      show(Number(other.id.slice(5)));
      [...panel.querySelectorAll("button")].find((one) => one.textContent === words)?.focus();
    });
    steps.append(button);
  }
  panel.append(steps);
}

async function save(chart, form) {
  const scheme = page.colours[dark.matches ? "dark" : "light"];
  const spec = fitted(chart, Math.max(chart.least, 960), (name) => scheme[name]);
  spec.padding = 18;
  const options = { actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: false };
  const { view } = await vegaEmbed(document.createElement("div"), spec, options);
  const link = document.createElement("a");
  link.download = `${chart.name}.${form}`;
  link.href = await view.toImageURL(form, 2);
  link.click();
  view.finalize();
}

for (const chart of page.charts) {
  draw(chart);
  document.querySelector(`[data-choose="${chart.name}"]`)?.addEventListener("change", (event) => {
    chart.chosen = Number(event.target.value);
    draw(chart);
  });
  for (const button of document.querySelectorAll(`[data-of="${chart.name}"]`)) {
    button.addEventListener("click", () => save(chart, button.dataset.save));
  }
  if (chart.name !== "cache-map") continue;
  document.querySelector("#cache-map .plot").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
    const jump = { Home: 1, End: chart.choices[0].bars.length }[event.key];
    if (step || jump) move(chart, jump || (chart.at || 0) + step);
    else if (event.key === "Enter" && chart.at) show(barOf(chart, chart.at).id);
    else if (event.key === "Escape") document.getElementById("difference").replaceChildren();
    else return;
    event.preventDefault();
  });
}

let waiting;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    for (const { chart, width } of shown.values()) {
      if (document.querySelector(`#${chart.name} .plot`).clientWidth !== width) draw(chart);
    }
  }, 150);
});
