// Charts by Vega-Lite, drawn when they come into view and again when the theme changes. Each has
// its description in words and its numbers as a table.

const colours = {
  light: { ink: "#1c1f23", soft: "#5a626b", grid: "#e6e8ea", card: "#fbfbfa",
    series: ["#0072B2", "#D55E00", "#CC79A7", "#009E73", "#7a7f00", "#000000"],
    one: "#0072B2", two: "#D55E00", grey: "#8a929b", apart: ["#0b5fa5", "#f2f3f4", "#ad3f00"],
    map: ["#f0f3f6", "#9cc4e6", "#2f7fc1", "#0a2f55"] },
  dark: { ink: "#e6e8ea", soft: "#a3abb4", grid: "#2c3238", card: "#14171a",
    series: ["#56B4E9", "#F0883E", "#E6A3CB", "#2FBF94", "#d6c943", "#ffffff"],
    one: "#56B4E9", two: "#F0883E", grey: "#8a929b", apart: ["#6cbcff", "#1f2429", "#ff9a56"],
    map: ["#22272c", "#2f567a", "#79b8f0", "#f2f9ff"] },
};
const drawn = new Set(); // redraw functions of the charts that are on view
const dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 3], [3, 5]];
const shapes = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down"];

function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

function config(look) {
  const font = "system-ui, sans-serif";
  return {
    background: null, font,
    view: { stroke: null },
    axis: { labelColor: look.soft, titleColor: look.soft, gridColor: look.grid,
      domainColor: look.grid, tickColor: look.grid, labelFontSize: 12, titleFontSize: 12,
      titleFontWeight: "normal", labelFont: font, titleFont: font },
    axisXQuantitative: { tickCount: 7 },
    legend: { labelColor: look.ink, titleColor: look.soft, orient: "top", labelFontSize: 12,
      titleFontSize: 12, titleFontWeight: "normal", symbolStrokeWidth: 2, labelLimit: 220,
      columns: document.documentElement.clientWidth < 600 ? 2 : undefined },
    header: { labelColor: look.ink, titleColor: look.soft },
    title: { color: look.ink },
  };
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watcher.unobserve(entry.target);
    entry.target.start();
  }
}, { rootMargin: "400px" });

/**
 * Return a figure. ``chart`` is {title, text, spec(look), columns, rows, wide?}: ``text`` says in
 * words what is to be seen, ``columns`` and ``rows`` are those of table(). ``update`` takes another
 * such object.
 */
function chart(first) {
  let current = first;
  let view = null;
  let queue = Promise.resolve();
  const place = el("div", { class: first.wide ? "wide" : null });
  const plot = el("div", { class: "plot", role: "img" }, place);
  const title = el("b", {});
  const text = el("p", {});
  const holder = el("div", {});
  const details = el("details", { toggle: () => details.open && fillTable() },
    el("summary", {}, "The numbers as a table"), holder);
  const figure = el("figure", { "data-state": "waiting" },
    el("figcaption", {}, title, text), plot, details);

  function say() {
    refill(title, current.title);
    refill(text, current.text);
    plot.setAttribute("aria-label", `Chart. ${current.title}. ${current.text}`);
    holder.replaceChildren();
    if (details.open) fillTable();
  }

  function fillTable() {
    refill(holder, table(current.columns, current.rows,
      { label: current.title, tall: current.rows.length > 14 }).element);
  }

  function draw() {
    queue = queue.then(async () => {
      const look = isDark() ? colours.dark : colours.light;
      const spec = { $schema: "https://vega.github.io/schema/vega-lite/v5.json",
        width: "container", autosize: { type: "fit-x", contains: "padding" },
        ...current.spec(look), config: config(look) };
      try {
        if (view) view.finalize();
        view = await vegaEmbed(place, spec, { actions: false, renderer: current.canvas ? "canvas"
          : "svg", mode: "vega-lite", tooltip: { theme: isDark() ? "dark" : "light" } });
        figure.dataset.state = "drawn";
      } catch (error) {
        figure.dataset.state = "failed";
        refill(place, "This chart could not be drawn; its numbers stand below.");
        console.error(error);
      }
    });
    return queue;
  }

  plot.start = () => {
    drawn.add(draw);
    draw();
  };
  say();
  watcher.observe(plot);
  return {
    element: figure,
    update(next) {
      current = next;
      say();
      if (drawn.has(draw)) draw();
    },
  };
}

function redrawAll() {
  for (const draw of drawn) draw();
}

/** Encoding of a series by colour, dash and shape, so that it can be told without colour. */
function seriesEncoding(look, order, title, extra) {
  const scale = (range) => ({ domain: order, range: order.map((_, i) => range[i % range.length]) });
  const base = { field: "series", type: "nominal", title: title || null };
  const legend = extra.includes("dash") ? { legend: { symbolType: "stroke", symbolSize: 300 } } : {};
  return {
    color: { ...base, ...legend, scale: scale(look.series) },
    ...(extra.includes("dash") ? { strokeDash: { ...base, ...legend, scale: scale(dashes) } } : {}),
    ...(extra.includes("shape") ? { shape: { ...base, scale: scale(shapes) } } : {}),
  };
}

function axis(field, title, more) {
  return { field, type: "quantitative", title, ...more };
}
