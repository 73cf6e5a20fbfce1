// What each bit does, and how the bits stand to each other.

function showBits(place, section) {
  if (!section.bits) return;
  const holder = el("div", {});
  const buttons = section.ones.map((ones, bit) => el("button", { type: "button",
    "aria-pressed": "false", "--ones": ones, "aria-label": `bit ${bit}, on for ${percent(ones)}`,
    click: () => show(bit) }, el("span", {}, bit)));
  const far = section.ones.map((ones, bit) => [Math.abs(ones - 0.5), bit]).sort((a, b) => a[0] - b[0]);

  function gallery(title, pairs) {
    return el("div", {}, el("h4", {}, title), el("ol", { class: "gallery tiny" },
      pairs.map(([id, h]) => el("li", {}, el("button", { type: "button", class: "card",
        click: () => showPicture(id) }, picture(id),
      el("span", { class: "small" }, `h = ${number(h, 2)}`))))));
  }

  function show(bit) {
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(place === bit)));
    const others = section.correlation[bit].map((r, other) => ({ other, r }))
      .filter((row) => row.other !== bit).sort((a, b) => Math.abs(b.r) - Math.abs(a.r)).slice(0, 8);
    const classes = section.classes[bit].map(([c, on, off, phi]) => ({ name: names[c], on, off, phi }));
    refill(holder,
      el("h3", { id: "bit-title" }, `Bit ${bit}: on for ${percent(section.ones[bit])} of the test pictures`),
      el("div", { class: "columns" },
        gallery("Most strongly on (h near 1)", section.on[bit]),
        gallery("Most strongly off (h near −1)", section.off[bit])),
      el("div", { class: "columns" },
        table([{ key: "name", title: "class", text: true },
          { key: "phi", title: "φ", digits: 3, about: "correlation of bit and label" },
          { key: "on", title: "on with it", show: percent },
          { key: "off", title: "on without it", show: percent }], classes, {
          caption: `Classes that differ most, of those with ${section.least_images} test pictures ` +
            "or more; φ is the correlation of bit and label.", label: `Classes of bit ${bit}` }).element,
        table([{ key: "other", title: "bit", text: true, show: (other) => el("button",
          { type: "button", click: () => show(other) }, `bit ${other}`) },
        { key: "r", title: "correlation", digits: 3 }], others, {
          caption: "Bits most correlated with this one.", label: `Bits correlated with bit ${bit}`,
        }).element));
  }

  place.append(
    el("p", { class: "note" }, `${section.bits} bits of ${number(section.images)} test pictures. ` +
      "The filled part of a box is the share of pictures with the bit on; press one."),
    el("div", { class: "bit-map", role: "group", "aria-label": "Bits" }, buttons), holder,
    el("h3", {}, "All bits"),
    el("div", { class: "columns" }, balanceChart(section), correlationChart(section)),
    radiusChart(section));
  show(far.length ? far[0][1] : 0);
}

function balanceChart(section) {
  const rows = section.ones.map((ones, bit) => ({ bit, ones })).sort((a, b) => a.ones - b.ones)
    .map((row, place) => ({ rank: place + 1, ...row }));
  const [low, high] = [rows[0], rows[rows.length - 1]];
  return chart({
    title: "Balance of the bits",
    text: `Share of pictures with the bit on, bits in rising order: from ${percent(low.ones)} ` +
      `(bit ${low.bit}) to ${percent(high.ones)} (bit ${high.bit}); one half is balanced.`,
    spec: (look) => ({ height: 260, layer: [
      { data: { values: rows }, mark: { type: "bar", color: look.one },
        encoding: { x: { field: "rank", type: "ordinal", title: "bits, by share of ones",
          axis: { labels: false, ticks: false } },
        y: axis("ones", "share of ones", { scale: { domain: [0, 1] } }),
        tooltip: [{ field: "bit" }, { field: "ones" }] } },
      { data: { values: [{ half: 0.5 }] }, mark: { type: "rule", strokeDash: [2, 3],
        color: look.ink }, encoding: { y: axis("half") } },
    ] }),
    columns: [{ key: "bit", title: "bit" }, { key: "ones", title: "share of ones", digits: 3 }],
    rows,
  }).element;
}

function correlationChart(section) {
  const rows = section.correlation.flatMap((line, bit) => line.slice(0, bit)
    .map((r, other) => ({ bit, other, r })));
  const most = rows.reduce((a, b) => Math.abs(b.r) > Math.abs(a.r) ? b : a, { r: 0 });
  const reach = Math.max(0.1, Math.ceil(10 * Math.abs(most.r)) / 10);
  const mean = rows.reduce((sum, row) => sum + Math.abs(row.r), 0) / Math.max(rows.length, 1);
  return chart({
    title: "Correlation of each pair of bits",
    text: `Mean |r| ${number(mean, 3)}; the strongest pair is ${most.bit} and ${most.other} with ` +
      `${number(most.r, 2)}. Independent bits would be 0.`,
    canvas: true,
    spec: (look) => ({ height: 300, data: { values: rows }, mark: "rect",
      encoding: { x: { field: "other", type: "ordinal", title: "bit",
        axis: { values: section.ones.map((_, i) => i).filter((i) => i % 8 === 0), labelAngle: 0 } },
      y: { field: "bit", type: "ordinal", title: "bit",
        axis: { values: section.ones.map((_, i) => i).filter((i) => i % 8 === 0) } },
      color: axis("r", "r", { scale: { domain: [-reach, 0, reach], range: look.apart,
        interpolate: "rgb" },
        legend: { gradientLength: 140, format: ".1f" } }),
      tooltip: ["bit", "other", "r"].map((field) => ({ field })) } }),
    columns: [{ key: "bit", title: "bit" }, { key: "other", title: "other" },
      { key: "r", title: "r", digits: 3 }],
    rows,
  }).element;
}

function radiusChart(section) {
  const found = section.retrieval;
  const rows = found.distance.map((distance, i) => ({ distance, precision: found.precision[i],
    recall: found.recall[i], retrieved: found.retrieved[i] }));
  if (!rows.length) return null;
  const two = rows[Math.min(2, rows.length - 1)];
  return chart({
    title: "Retrieval within a Hamming distance",
    text: `A point a distance. Within 2 bits, the radius of a hash table (ringed), precision is ` +
      `${number(two.precision, 3)} and recall ${number(two.recall, 4)}; a query with nothing ` +
      "inside counts as 0.",
    spec: (look) => ({ height: 260, data: { values: rows }, encoding: {
      x: axis("recall", "recall"), y: axis("precision", "precision"),
      tooltip: ["distance", "precision", "recall", "retrieved"].map((field) => ({ field })) },
    layer: [{ mark: { type: "line", color: look.one, point: { size: 30, color: look.one } },
      encoding: { order: { field: "distance", type: "quantitative" } } },
    { transform: [{ filter: "datum.distance === 2" }],
      mark: { type: "point", size: 160, color: look.ink } }] }),
    columns: [{ key: "distance", title: "distance" },
      ...["precision", "recall"].map((key) => ({ key, title: key, digits: 4 })),
      { key: "retrieved", title: "retrieved", digits: 1 }],
    rows,
  }).element;
}
