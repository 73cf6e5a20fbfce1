// The headline: the figures that matter most, then all of them.

function interval(figures) {
  return `[${number(figures.mAP_low, 3)}, ${number(figures.mAP_high, 3)}]`;
}

const HEADLINE = [
  ["mAP_chance", "chance", "mAP of scores that know nothing: the mean share of positives"],
  ["mAP_voc", "mAP, VOC", "interpolated at all recalls; scores higher than mAP"],
  ["CF1", "CF1", "harmonic mean of precision and recall averaged over classes"],
  ["OF1", "OF1", "F1 over all image-class pairs, the same as F1 micro"],
  ["F1_macro", "F1 macro", "mean F1 over classes"],
  ["mAP_per_sample", "mAP per image", "average precision of the classes of an image, mean"],
  ["P@1", "P@1", "share of images whose best tag is right"],
  ["R@5", "R@5", "share of an image's labels among its best five tags"],
];

const CODE_TEXTS = {
  bit_imbalance: ["bit imbalance", "mean |mean of ±1| over bits; 0 is balanced"],
  bit_correlation: ["bit correlation", "mean |r| over pairs of bits; 0 is independent"],
  bit_entropy: ["bit entropy", "mean over bits; 1 is best"],
  constant_bits: ["constant bits", "bits that are the same for every image; 0 is best"],
  unique_codes: ["different codes", "codes that occur"],
  unique_share: ["different codes, share", "of the images; 1 where all codes differ"],
  code_entropy: ["code entropy, bits", "of the distribution of whole codes"],
  code_entropy_limit: ["its limit, bits", "the smaller of code length and log2 of images"],
  collisions: ["collisions", "images whose code another image has too"],
  collision_probability: ["collision probability", "chance that two images have one code"],
  largest_bucket: ["largest bucket", "images of the commonest code"],
  quantisation_error: ["quantisation error", "mean (|h| − 1)²; 0 is fully binary"],
};

function tile(name, value, more) {
  return el("li", {}, el("span", { class: "name" }, name), el("span", { class: "value" }, value),
    el("span", { class: "more" }, more));
}

function showOverview(place, section) {
  const test = section.heads.filter((row) => row.split === "test");
  const retrieval = section.retrieval.test || {};
  const tiles = test.map((row) => tile(`test mAP, ${row.head}`, number(row.figures.mAP, 3),
    `${interval(row.figures)}, chance ${number(row.figures.mAP_chance, 3)}`));
  if (retrieval["mAP@50"] !== undefined) {
    tiles.push(tile("retrieval, mAP@50", number(retrieval["mAP@50"], 3),
      `chance ${number(retrieval["mAP@50_chance"], 3)}`));
  }
  if (section.codes.unique_share !== undefined) {
    tiles.push(tile("different codes", percent(section.codes.unique_share),
      `of ${number(section.data.test)} test images`));
  }
  place.append(
    el("ul", { class: "facts" }, values.facts.map(([name, value]) =>
      el("li", {}, el("span", {}, name, ": "), el("b", {}, value)))),
    el("ul", { class: "tiles" }, tiles),
    el("h3", {}, "Tagging"),
    headTable(section),
    headChart(section),
    allFigures(section),
    ...retrievalParts(section),
    ...codeParts(section),
    el("h3", {}, "What was measured on"),
    dataLine(section.data),
  );
}

function headTable(section) {
  const rows = section.heads.map((row) => ({ ...row.figures, split: row.split, head: row.head,
    range: interval(row.figures) }));
  const columns = [
    { key: "head", title: "head", text: true },
    { key: "split", title: "split", text: true },
    { key: "mAP", title: "mAP", digits: 4, about: "macro mean of average precision over classes" },
    { key: "range", title: "95 % interval",
      about: "bootstrap over images; says nothing of the scatter over seeds" },
    ...HEADLINE.filter(([key]) => rows.some((row) => row[key] !== undefined))
      .map(([key, title, about]) => ({ key, title, about, digits: 3 })),
  ];
  return table(columns, rows, { label: "Figures of every head on test and val",
    caption: `mAP is the macro mean over classes, its interval from ${number(section.samples)} ` +
      "resamples of the images. Decision thresholds " +
      `(${section.thresholds === "global" ? "one for all classes" : "one a class"}) come from ` +
      "val, never from test." }).element;
}

function headChart(section) {
  const rows = section.heads.map((row) => ({ head: row.head, series: row.split,
    mAP: row.figures.mAP, low: row.figures.mAP_low, high: row.figures.mAP_high,
    chance: row.figures.mAP_chance }));
  const best = rows.filter((row) => row.series === "test").sort((a, b) => b.mAP - a.mAP)[0];
  const heads = [...new Set(rows.map((row) => row.head))];
  return chart({
    title: "mAP of every head with its 95 % interval",
    text: `On test the ${best.head} head is highest with ${number(best.mAP, 3)} ` +
      `[${number(best.low, 3)}, ${number(best.high, 3)}]; chance is ${number(best.chance, 3)} ` +
      "(dotted).",
    spec: (look) => ({
      data: { values: rows },
      height: 34 * heads.length,
      encoding: { y: { field: "head", type: "nominal", title: null, sort: heads },
        yOffset: { field: "series", sort: ["test", "val"] },
        ...seriesEncoding(look, ["test", "val"], null, ["shape"]) },
      layer: [
        { data: { values: [{ chance: best.chance }] }, mark: { type: "rule", strokeDash: [2, 3] },
          encoding: { x: axis("chance"), y: null, yOffset: null, shape: null,
            color: { value: look.grey } } },
        { mark: { type: "rule", strokeWidth: 2 }, encoding: { shape: null,
          x: axis("low", "mAP", { scale: { zero: true } }), x2: { field: "high" } } },
        { mark: { type: "point", filled: true, size: 70, opacity: 1 },
          encoding: { x: axis("mAP"), tooltip: ["head", "series", "mAP", "low", "high"]
            .map((field) => ({ field })) } },
      ],
    }),
    columns: [
      { key: "head", title: "head", text: true }, { key: "series", title: "split", text: true },
      ...["mAP", "low", "high", "chance"].map((key) => ({ key, title: key, digits: 4 })),
    ],
    rows,
  }).element;
}

function allFigures(section) {
  const keys = [...new Set(section.heads.flatMap((row) => Object.keys(row.figures)))];
  const columns = [{ key: "figure", title: "figure", text: true },
    ...section.heads.map((row, place) => ({ key: `c${place}`, title: `${row.head}, ${row.split}` }))];
  const rows = keys.map((key) => {
    const made = { figure: key };
    section.heads.forEach((row, place) => {
      const value = row.figures[key];
      made[`c${place}`] = value === undefined ? null : value;
    });
    return made;
  });
  return el("details", {}, el("summary", {}, `All ${keys.length} figures`),
    table(columns, rows, { label: "All figures of metrics/eval.json by head", tall: true }).element);
}

function retrievalParts(section) {
  const splits = Object.keys(section.retrieval);
  if (!splits.length) return [];
  const rows = splits.flatMap((split) => {
    const found = section.retrieval[split];
    return Object.keys(found)
      .filter((key) => /^(mAP@(\w+)(_relevant)?|P@\d+|radius2_(precision|recall))$/.test(key)
        && !/_(worst|best|chance)$/.test(key))
      .map((key) => ({ split, figure: key, value: found[key],
        worst: found[`${key}_worst`] ?? found[key.replace("@", "_worst@")] ?? null,
        best: found[`${key}_best`] ?? found[key.replace("@", "_best@")] ?? null,
        chance: found[`${key}_chance`] ?? (key.startsWith("P@") ? found.P_chance : null) }));
  });
  const about = section.retrieval.test || section.retrieval[splits[0]];
  return [
    el("h3", {}, "Retrieval"),
    table([
      { key: "figure", title: "figure", text: true }, { key: "split", title: "split", text: true },
      { key: "value", title: "value", digits: 4 }, { key: "chance", title: "chance", digits: 4 },
      { key: "worst", title: "ties at worst", digits: 4 },
      { key: "best", title: "ties at best", digits: 4 },
    ], rows, { label: "Retrieval figures", tall: true,
      caption: `${plural(about.queries, "query", "queries")} of ${splits[0]} search ` +
        `${number(about.database)} items; relevant is what shares a label. Figures are ` +
        "expectations over the order of equally near items, with the bounds beside. mAP@k " +
        "divides by the hits among the first k; _relevant takes the first k relevant at any rank." +
        (section.index_recall === null ? "" :
          ` Recall of the index against comparing all items: ${number(section.index_recall, 4)}.`),
    }).element,
  ];
}

function codeParts(section) {
  const keys = Object.keys(section.codes);
  if (!keys.length) return [];
  return [el("h3", {}, "Health of the codes"),
    factTable(keys.map((key) => [CODE_TEXTS[key] ? CODE_TEXTS[key][0] : key,
      section.codes[key], CODE_TEXTS[key] ? CODE_TEXTS[key][1] : ""]),
    `Codes of the ${number(section.data.test)} test images.`, "what it says")];
}

function dataLine(data) {
  const left = (data.test_classes_left_out || []).length;
  return el("p", {}, `${number(data.database)} images in the database, ${number(data.val)} in val, `,
    `${number(data.test)} in test; ${plural(data.classes, "class", "classes")}. `,
    `${plural(data.test_images_without_label, "test image has", "test images have")} no label and `,
    "stay out of figures per image. ",
    left ? [`${plural(left, "class", "classes")} without a test image left out: `,
      data.test_classes_left_out.map((name, place) => [place ? ", " : "", own(name)]), "."] : null);
}
