// Experiments side by side, the tables of the ablations, retrieval across modalities, cost.

function showExperiments(place, section) {
  if (section.rows) {
    const rows = section.rows.map((row) => ({ ...row, strong: row.this,
      params: row.params.join("  ") || (row.this ? "" : "none"),
      ...Object.fromEntries(section.columns.map((title, i) => [`f${i}`, row.figures[i]])) }));
    const status = el("p", { role: "status" });
    const made = table([
      { key: "name", title: "experiment", text: true },
      { key: "params", title: "parameters that differ", text: true, long: true,
        show: (text) => el("code", {}, text) },
      ...section.columns.map((title, i) => ({ key: `f${i}`, title, digits: 4 })),
      { key: "dataset", title: "dataset", text: true },
      { key: "commit", title: "commit", text: true, show: (text) => el("code", {}, text) },
    ], rows, { tall: true, label: "Experiments",
      caption: "Test figures of each experiment; parameters against this checkout’s params.yaml " +
        "(machine, paths and tracking left out). An older commit may have run other code." });
    const search = el("input", { type: "search", id: "experiment-filter", autocomplete: "off",
      input: filter });
    function filter() {
      const wanted = search.value.trim().toLowerCase();
      const kept = rows.filter((row) => row.this
        || `${row.name} ${row.params} ${row.dataset}`.toLowerCase().includes(wanted));
      made.show(kept);
      refill(status, `${plural(kept.length, "row")} of ${number(rows.length)}`,
        section.unread ? `; ${plural(section.unread, "experiment")} without figures left out` : "");
    }
    place.append(el("div", { class: "controls" }, el("label", { for: "experiment-filter" },
      "Filter by name or parameter", search)), status, made.element);
    filter();
  }
  const found = sections.ablations;
  place.append(el("h3", {}, "Ablations"));
  if (found.missing || found.absent) {
    place.append(el("div", { class: "absent" }, el("p", {}, found.missing || found.absent),
      el("p", {}, found.mend || "")));
    return;
  }
  const holder = el("div", {});
  const box = select("Study", found.studies.map((study, i) => [String(i), `${study.id}: ${study.title}`]),
    "0", (value) => showStudy(holder, found.studies[Number(value)]));
  place.append(el("div", { class: "controls" }, box.label), holder);
  showStudy(holder, found.studies[0]);
}

function showStudy(holder, study) {
  const head = [el("h4", {}, `${study.id}: ${study.title}`), study.origin
    ? el("p", { class: "note" }, study.origin) : null];
  if (study.columns) {
    refill(holder, head, table(study.columns.map((title, i) => ({ key: `c${i}`, title,
      text: i < 2, show: (value) => typeof value === "number" ? String(value) : own(value) })),
    study.cells.map((cells) => Object.fromEntries(cells.map((v, i) => [`c${i}`, v]))),
    { label: study.title, tall: true }).element);
    return;
  }
  const keys = ["row", "head", "metric", "n", "mean", "std", "difference", "low", "high", "overrides"];
  const rows = (study.rows || []).map((cells) => Object.fromEntries(keys.map((k, i) => [k, cells[i]])));
  const scored = rows.filter((row) => row.metric === "mAP");
  const series = [...new Set(scored.map((row) => row.head))];
  const order = [...new Set(scored.map((row) => row.row))];
  const differing = scored.filter((row) => row.difference !== null)
    .map((row) => ({ ...row, series: row.head || "mAP" }));
  const drawing = differing.length ? chart({
    title: "Difference of test mAP to the baseline, 95 % interval over images",
    text: `Baseline: ${study.baseline}. Rows whose interval leaves out 0 (up to six): ` + differing.filter((row) => row.low > 0 || row.high < 0)
      .map((row) => `${row.row}${row.head ? ` (${row.head})` : ""} ${row.difference > 0 ? "+" : "−"}` +
        number(Math.abs(row.difference), 4)).slice(0, 6).join(", ").replace(/^$/, "none") + ".",
    spec: (look) => ({ height: 16 * Math.max(series.length, 1.3) * order.length, data: { values: differing },
      encoding: { y: { field: "row", type: "nominal", sort: order, title: null,
        axis: { labelLimit: 150 } }, yOffset: { field: "series", sort: series },
      ...seriesEncoding(look, [...new Set(differing.map((row) => row.series))], null, ["shape"]) },
      layer: [
        { data: { values: [{ zero: 0 }] }, mark: { type: "rule", strokeDash: [2, 3] },
          encoding: { x: axis("zero"), y: null, yOffset: null, shape: null, color: { value: look.grey } } },
        { mark: { type: "rule", strokeWidth: 2 }, encoding: { shape: null,
          x: axis("low", "difference of mAP"), x2: { field: "high" } } },
        { mark: { type: "point", filled: true, size: 60, opacity: 1 }, encoding: {
          x: axis("difference"), tooltip: ["row", "series", "difference", "low", "high"]
            .map((field) => ({ field })) } },
      ] }),
    columns: [{ key: "row", title: "row", text: true }, { key: "series", title: "head", text: true },
      ...["difference", "low", "high"].map((key) => ({ key, title: key, digits: 4 }))],
    rows: differing,
  }).element : null;
  refill(holder, head, drawing, table([
    { key: "row", title: "row", text: true }, { key: "head", title: "head", text: true },
    { key: "metric", title: "figure", text: true }, { key: "mean", title: "mean", digits: 4 },
    { key: "std", title: "± std", digits: 4 }, { key: "difference", title: "difference", digits: 4 },
    { key: "low", title: "low", digits: 4 }, { key: "high", title: "high", digits: 4 },
    { key: "n", title: "n" }, { key: "overrides", title: "overrides", text: true, long: true,
      show: (text) => el("code", {}, text || "none") },
  ], rows, { tall: true, label: study.title, caption: "Mean over n seeds with its standard " +
    "deviation; difference to the baseline paired over the test images, 95 % interval." }).element);
}

function showAcross(place, section) {
  if (!section.rows) return;
  const rows = section.rows.map((row) => ({ ...row.figures, task: row.task, split: row.split }));
  place.append(table([
    { key: "task", title: "task", text: true }, { key: "split", title: "split", text: true },
    ...["mAP@50", "mAP@all", "P@1", "P@10", "P@50"].filter((key) => rows.some((r) => r[key] !== undefined))
      .map((key) => ({ key, title: key, digits: 4 })),
    { key: "mAP@50_chance", title: "chance, mAP@50", digits: 4 },
    { key: "P_chance", title: "chance, P", digits: 4 },
  ], rows, { label: "Retrieval across modalities", caption: "Relevant is what shares a label; " +
    "equally near items in expectation over their order." }).element);
  const parts = [];
  const curve = section.curve;
  const points = curve.task.map((series, i) => ({ series, distance: curve.distance[i],
    precision: curve.precision[i], recall: curve.recall[i], chance: curve.chance[i] }));
  const order = [...new Set(points.map((row) => row.series))];
  if (points.length) parts.push(lines("Precision and recall within each Hamming distance",
    "A point a distance.", points, order, "recall", "precision", points[0].chance));
  const first = section.first;
  const tops = first.task.map((series, i) => ({ series, n: first.n[i],
    precision: first.precision[i], chance: first.chance[i] }));
  if (tops.length) parts.push(lines("Precision of the first n items", "n on a log scale.", tops,
    [...new Set(tops.map((row) => row.series))], "n", "precision", tops[0].chance, "log"));
  place.append(el("div", { class: "columns" }, parts));
  for (const [task, queries] of Object.entries(section.sheets)) {
    if (!queries.length) continue;
    const [ask, answer] = section.asks[task];
    place.append(el("h3", {}, `${task.charAt(0).toUpperCase()}${task.slice(1)}: what a few queries find`));
    for (const query of queries) {
      place.append(el("ol", { class: "gallery" }, el("li", {}, sideCard(query.id, ask, "query", false)),
        query.items.map(([id, distance, shares], i) => el("li", {}, sideCard(id, answer,
          `${i + 1}. distance ${number(distance, Number.isInteger(distance) ? 0 : 3)}`, shares)))));
    }
  }
}

function sideCard(id, side, title, shares) {
  const caption = captionsOf(id)[0];
  return el("div", { class: shares ? "card shares" : "card" }, el("b", {}, title),
    side === "text" && caption ? captionLine(caption) : picture(id),
    tagList(labelsOf(id).map((c) => names[c])), el("span", { class: "small" }, `${side} of id ${id}`));
}

function lines(title, text, rows, order, x, y, chance, type) {
  return chart({
    title, text: `${text} Dotted: chance, ${number(chance, 3)}.`,
    spec: (look) => ({ height: 280, data: { values: rows }, layer: [
      { data: { values: [{ chance }] }, mark: { type: "rule", strokeDash: [2, 3], color: look.grey },
        encoding: { y: axis("chance") } },
      { mark: { type: "line", point: { size: 24 } }, encoding: {
        x: axis(x, x === "n" ? "first n items" : x, type ? { scale: { type } } : {}),
        y: axis(y, y, { scale: { domain: [0, 1] } }), ...seriesEncoding(look, order, null, ["dash"]),
        tooltip: ["series", x, y].map((field) => ({ field })) } }] }),
    columns: [{ key: "series", title: "task", text: true }, { key: x, title: x },
      { key: y, title: y, digits: 4 }], rows,
  }).element;
}

function showCost(place, section) {
  const stages = Object.entries(section.stages);
  if (stages.length) {
    place.append(table([{ key: "stage", title: "stage", text: true },
      { key: "seconds", title: "seconds", digits: 1 },
      { key: "peak_ram_mb", title: "peak RAM, MB", digits: 0 },
      { key: "peak_vram_mb", title: "peak VRAM, MB", digits: 0 }],
    stages.map(([stage, figures]) => ({ stage, ...figures })), { label: "Cost of every stage",
      narrow: true }).element);
  }
  const query = section.stages.evaluate || {};
  const texts = { query_ms_mean: "ms a single query, mean", query_ms_p50: "median",
    query_ms_p99: "99th percentile", queries_per_second_batched: "queries a second in batches",
    cosine_query_ms_mean: "ms a query by cosine on float32, mean",
    cosine_queries_per_second_batched: "queries a second by cosine in batches",
    speedup_single: "times faster than cosine, single", speedup_batched: "times faster, in batches" };
  const kept = Object.entries(texts).filter(([key]) => query[key] !== undefined);
  place.append(el("div", { class: "columns" },
    kept.length ? factTable(kept.map(([key, text]) => [text, query[key]]), "Search") : "",
    section.index ? factTable(Object.entries(section.index).map(([key, value]) =>
      [key.replaceAll("_", " "), value]), "Index") : ""));
}
