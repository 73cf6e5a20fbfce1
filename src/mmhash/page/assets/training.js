// Curves by epoch, the histogram of h over training, and what the dataset holds.

function panelChart(panel) {
  const order = Object.keys(panel.series);
  const rows = order.flatMap((series) => panel.series[series]
    .map(([epoch, value]) => ({ epoch, value, series })));
  const said = order.map((series) => {
    const points = panel.series[series];
    return `${series} from ${short(points[0][1])} to ${short(points[points.length - 1][1])}`;
  });
  return chart({
    title: panel.panel,
    text: `${said.join("; ")} over ${plural(panel.series[order[0]].length, "epoch")}.`,
    spec: (look) => ({ height: 150, data: { values: rows },
      mark: { type: "line", point: { size: 18 } },
      encoding: { x: axis("epoch", "epoch", { axis: { tickMinStep: 1 } }),
        y: axis("value", null, { scale: { zero: false } }),
        ...(order.length > 1 ? seriesEncoding(look, order, null, ["dash"])
          : { color: { value: look.one } }),
        tooltip: ["series", "epoch", "value"].map((field) => ({ field })) } }),
    columns: [{ key: "series", title: "of", text: true }, { key: "epoch", title: "epoch" },
      { key: "value", title: "value", show: (value) => String(value) }],
    rows,
  }).element;
}

function showTraining(place, section) {
  if (!section.curves) return;
  const summary = section.summary;
  if (summary.best_epoch !== undefined) {
    place.append(el("p", {}, `Best epoch ${summary.best_epoch} of ${summary.epochs_run} by val mAP `,
      `(${number(summary.best_val_mAP)})`, summary.stopped_early ? ", stopped early" : "",
      summary.parameters ? `; ${number(summary.parameters)} parameters` : "", "."));
  }
  for (const note of summary.notes || []) place.append(el("p", { class: "note" }, note));
  place.append(el("div", { class: "columns small" }, section.curves.map(panelChart)));
  if (section.histogram.epochs) place.append(...histogramParts(section.histogram));
  if (section.health.length) {
    place.append(el("h3", {}, "Health of the codes by epoch"),
      el("div", { class: "columns small" }, section.health.map(panelChart)));
  }
  if (section.diagnostics.length) {
    place.append(el("h3", {}, "Diagnostics of AGCH"),
      el("div", { class: "columns small" }, section.diagnostics.map(panelChart)));
  }
}

function histogramParts(histogram) {
  const { epochs, edges, share } = histogram;
  const width = edges[1] - edges[0];
  const rows = epochs.flatMap((epoch, i) => share[i].map((value, j) => ({ epoch, left: edges[j],
    right: edges[j + 1], share: value })));
  const outer = (i) => share[i].reduce((sum, value, j) =>
    sum + (Math.abs(edges[j] + width / 2) > 0.9 ? value : 0), 0);
  const last = epochs.length - 1;
  const columns = [{ key: "epoch", title: "epoch" }, { key: "left", title: "from", digits: 2 },
    { key: "right", title: "to", digits: 2 }, { key: "share", title: "share", digits: 4 }];
  const over = chart({
    title: "Histogram of h over training (val)",
    text: `Each column an epoch. Values beyond ±0.9, where h is nearly binary: ` +
      `${percent(outer(0))} at the first epoch, ${percent(outer(last))} at the last.`,
    canvas: true,
    spec: (look) => ({ height: 260, data: { values: rows }, mark: "rect",
      encoding: { x: { field: "epoch", type: "ordinal", title: "epoch", axis: { labelAngle: 0,
        labelOverlap: true } },
      y: { field: "left", bin: { binned: true, step: width }, title: "soft code value h",
        scale: { domain: [-1, 1] }, axis: { values: [-1, -0.5, 0, 0.5, 1] } },
      y2: { field: "right" },
      color: axis("share", "share of values", { scale: { range: look.map, type: "sqrt" },
        legend: { gradientLength: 140 } }),
      tooltip: ["epoch", "left", "right", "share"].map((field) => ({ field })) } }),
    columns, rows,
  });
  const at = (i) => ({
    title: `Distribution of h at epoch ${epochs[i]}`,
    text: `${percent(outer(i))} of the values lie beyond ±0.9. Binary codes would have two bars, ` +
      "at −1 and 1.",
    spec: (look) => ({ height: 260, data: { values: rows.filter((row) => row.epoch === epochs[i]) },
      mark: { type: "bar", color: look.one },
      encoding: { x: { field: "left", bin: { binned: true, step: width }, title: "soft code value h",
        scale: { domain: [-1, 1] }, axis: { values: [-1, -0.5, 0, 0.5, 1] } },
      x2: { field: "right" }, y: axis("share", "share of values"),
      tooltip: ["left", "right", "share"].map((field) => ({ field })) } }),
    columns, rows: rows.filter((row) => row.epoch === epochs[i]),
  });
  const one = chart(at(last));
  const output = el("output", { for: "h-epoch" }, epochs[last]);
  const slider = el("input", { type: "range", id: "h-epoch", min: 0, max: last, value: last, step: 1,
    input: () => {
      refill(output, epochs[Number(slider.value)]);
      one.update(at(Number(slider.value)));
    } });
  return [el("h3", {}, "Soft codes"),
    el("div", { class: "controls" }, el("label", { for: "h-epoch" }, "Epoch of the bars: ", output, slider)),
    el("div", { class: "columns" }, over.element, one.element)];
}

function showData(place, section) {
  const split = section.split.images || {};
  const texts = { images: "images", classes: "classes", images_without_label: "images without label",
    captions: "captions", positives: "labels in all" };
  place.append(factTable([
    ...Object.entries(section.counts).map(([key, value]) => [texts[key], value]),
    ...Object.entries(split).map(([name, count]) => [`images in ${name}`, count]),
    ["pictures missing", section.missing_pictures],
  ], values.dataset.line));
  const found = section.histograms;
  const quantities = [...new Set(found.quantity)];
  place.append(el("div", { class: "columns small" }, quantities.map((quantity) => {
    const rows = found.value.map((value, i) => ({ value, count: found.count[i],
      share: found.share[i], quantity: found.quantity[i] })).filter((r) => r.quantity === quantity);
    const top = rows.reduce((a, b) => b.share > a.share ? b : a);
    return chart({
      title: quantity.charAt(0).toUpperCase() + quantity.slice(1),
      text: `Most often ${top.value} (${percent(top.share)}).`,
      spec: (look) => ({ height: 150, data: { values: rows }, mark: { type: "bar", color: look.one },
        encoding: { x: { field: "value", type: "ordinal", title: quantity,
          axis: { labelAngle: 0, labelOverlap: true } }, y: axis("share", "share"),
        tooltip: ["value", "count", "share"].map((field) => ({ field })) } }),
      columns: [{ key: "value", title: quantity }, { key: "count", title: "count" },
        { key: "share", title: "share", digits: 4 }], rows }).element;
  })));
  const rows = section.frequency.class.map((name, i) => ({ name, images: section.frequency.images[i] }));
  place.append(el("details", {}, el("summary", {}, "Images of every class"),
    table([{ key: "name", title: "class", text: true }, { key: "images", title: "images",
      bar: Math.max(...rows.map((row) => row.images), 1) }], rows, { tall: true, sort: "images",
      label: "Images of every class" }).element));
}
