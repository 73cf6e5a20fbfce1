// Every class by itself, the worst mistakes, co-occurrence and confusion.

const FIGURES = ["AP", "precision", "recall", "F1"];

function curveRows(curves) {
  return curves.recall.map((recall, i) => ({ recall, precision: curves.precision[i],
    series: headNames[curves.head[i]], threshold: curves.threshold[i],
    operating: curves.operating[i] }));
}

function curveChart(title, text, rows, heads) {
  return {
    title, text,
    spec: (look) => ({
      height: 280,
      data: { values: rows },
      encoding: { x: axis("recall", "recall", { scale: { domain: [0, 1] } }),
        y: axis("precision", "precision", { scale: { domain: [0, 1] } }) },
      layer: [
        { transform: [{ filter: "datum.operating !== 1" }],
          mark: { type: "line", strokeWidth: 2 },
          encoding: { ...seriesEncoding(look, heads, null, ["dash"]),
            order: { field: "recall", type: "quantitative" } } },
        { transform: [{ filter: "datum.operating === 1" }],
          mark: { type: "point", filled: true, size: 90, opacity: 1 },
          encoding: { color: seriesEncoding(look, heads, null, []).color,
            tooltip: ["series", "threshold", "recall", "precision"].map((field) => ({ field })) } },
      ],
    }),
    columns: [{ key: "series", title: "head", text: true },
      { key: "recall", title: "recall", digits: 3 },
      { key: "precision", title: "precision", digits: 3 }],
    rows,
  };
}

function showClasses(place, section) {
  const heads = Object.keys(section.heads);
  let head = heads.includes(sections.explorer.head) ? sections.explorer.head : heads[0];
  let text = "";
  let group = "all";
  const hasRare = section.rare.some(Boolean);
  const rowsOf = (chosen) => names.map((name, c) => ({ id: c, name, images: section.images[c],
    support: section.support[c], rare: section.rare[c],
    ...Object.fromEntries([...FIGURES, "threshold"].map((f) => [f, section.heads[chosen][f][c]])) }));

  const status = el("p", { role: "status" });
  const holder = el("div", {});
  let shown = null;

  function draw() {
    shown = table([
      { key: "name", title: "class", text: true, show: (name, row) => el("button",
        { type: "button", click: () => pick(row.id) }, own(name)) },
      { key: "AP", title: "AP", digits: 3, bar: 1, about: "average precision" },
      { key: "precision", title: "precision", digits: 3, about: "at the threshold from val" },
      { key: "recall", title: "recall", digits: 3, about: "at the threshold from val" },
      { key: "F1", title: "F1", digits: 3, bar: 1, about: "at the threshold from val" },
      { key: "support", title: "support", about: "test images with the class" },
      { key: "images", title: "images", about: "images of the whole dataset with the class" },
      { key: "threshold", title: "threshold", digits: 3, about: "chosen on val" },
    ], rowsOf(head), { sort: "AP", tall: true,
      label: "Figures by class", caption: `${headNames[head]} head on test. Precision, recall and ` +
        "F1 at the decision threshold from val; a class without a test image has no figure." });
    refill(holder, shown.element);
    filter();
  }

  function filter() {
    const wanted = text.trim().toLowerCase();
    const kept = rowsOf(head).filter((row) => row.name.toLowerCase().includes(wanted)
      && (group === "all" || (group === "rare") === Boolean(row.rare)));
    shown.show(kept);
    refill(status, `${plural(kept.length, "class", "classes")} of ${number(names.length)}`);
  }

  const search = el("input", { type: "search", id: "class-filter", autocomplete: "off",
    input: () => { text = search.value; filter(); } });
  const headBox = select("Head", headOptions(section.heads), head, (value) => {
    head = value;
    draw();
  });
  const groupBox = select("Classes", [["all", "all"], ["rare", "rare third"],
    ["frequent", "the others"]], "all", (value) => { group = value; filter(); });

  const title = el("h3", { id: "class-title" });
  const links = el("div", { class: "buttons" });
  const whole = curveRows(section.curves);
  const headTitles = heads.map((h) => headNames[h]);
  let oneChart = null;
  const beside = el("div", {});

  function pick(c) {
    refill(title, "Class: ", own(names[c]));
    refill(links, el("button", { type: "button", click: () => goToClass("explorer", names[c]) },
      "Its pictures and their neighbours"),
    el("button", { type: "button", click: () => goToClass("mistakes", c) }, "Its worst mistakes"));
    if (!section.class_curves) {
      refill(beside, el("p", { class: "note" },
        "Curves of single classes are left out where there are more than 200 classes."));
      return;
    }
    const rows = heads.flatMap((h) => section.class_curves[h][c][0].map((recall, i) => ({ recall,
      precision: section.class_curves[h][c][1][i], series: headNames[h], operating: 0 })));
    const made = curveChart(`Precision and recall of “${names[c]}”`,
      `${plural(section.support[c], "test image has", "test images have")} it; average precision ` +
      heads.map((h) => `${headNames[h]} ${number(section.heads[h].AP[c], 3)}`).join(", ") + ".",
      rows, headTitles);
    if (oneChart) oneChart.update(made);
    else {
      oneChart = chart(made);
      refill(beside, oneChart.element);
    }
  }

  const best = [...rowsOf(head)].filter((row) => row.AP !== null).sort((a, b) => b.AP - a.AP);
  place.append(
    el("div", { class: "controls" },
      el("label", { for: "class-filter" }, "Filter by name", search), headBox.label,
      hasRare ? groupBox.label : null),
    status, holder, title, links,
    el("div", { class: "columns spaced" }, beside, chart(curveChart("Precision and recall, all classes",
      "All image-class pairs ranked together; a dot is the decision threshold from val.",
      whole, headTitles)).element),
    el("div", { class: "columns" }, frequencyChart(section, heads), reliabilityChart(section)),
  );
  draw();
  pick(best.length ? best[Math.floor(best.length / 2)].id : 0);
}

function frequencyChart(section, heads) {
  const rows = heads.flatMap((head) => names.map((name, c) => ({ series: headNames[head],
    class: name, images: section.images[c], AP: section.heads[head].AP[c] })))
    .filter((row) => row.AP !== null && row.images);
  return chart({
    title: "Average precision against class frequency",
    text: "A point a class and head: rare classes on the left. Classes without a test image are " +
      "left out.",
    spec: (look) => ({ height: 280, data: { values: rows },
      mark: { type: "point", size: 34, opacity: 0.75 },
      encoding: { x: axis("images", "images with the class (log scale)", { scale: { type: "log",
        nice: false, padding: 12 } }), y: axis("AP", "average precision", { scale: { domain: [0, 1] } }),
      ...seriesEncoding(look, heads.map((h) => headNames[h]), null, ["shape"]),
      tooltip: ["class", "series", "images", "AP"].map((field) => ({ field })) } }),
    columns: [{ key: "class", title: "class", text: true },
      { key: "series", title: "head", text: true }, { key: "images", title: "images" },
      { key: "AP", title: "AP", digits: 3 }],
    rows,
  }).element;
}

function reliabilityChart(section) {
  const found = section.reliability;
  const rows = found.head.map((head, i) => ({ series: headNames[head], kind: found.kind[i],
    score: found.score[i], frequency: found.frequency[i], count: found.count[i] }))
    .filter((row) => row.kind === "calibrated" && row.frequency !== null);
  const heads = [...new Set(rows.map((row) => row.series))];
  return chart({
    title: "Reliability after calibration",
    text: "Share of pairs that have the label against their mean score, calibrated on val; on the " +
      "dotted diagonal scores are probabilities. All image-class pairs.",
    spec: (look) => ({ height: 280, data: { values: rows },
      layer: [
        { data: { values: [{ a: 0 }, { a: 1 }] }, mark: { type: "line", strokeDash: [2, 3],
          color: look.grey }, encoding: { x: axis("a"), y: axis("a") } },
        { mark: { type: "line", point: { size: 34 } },
          encoding: { x: axis("score", "mean score of the bin"),
            y: axis("frequency", "share with the label"),
            ...seriesEncoding(look, heads, null, ["dash"]),
            tooltip: ["series", "score", "frequency", "count"].map((field) => ({ field })) } },
      ] }),
    columns: [{ key: "series", title: "head", text: true },
      { key: "score", title: "score", digits: 3 },
      { key: "frequency", title: "frequency", digits: 3 }, { key: "count", title: "pairs" }],
    rows,
  }).element;
}

let pickMistakes = () => {};

function showMistakes(place, section) {
  const heads = Object.keys(section.heads);
  let head = heads.includes(sections.explorer.head) ? sections.explorer.head : heads[0];
  const wrong = (c) => section.heads[head].positives_count[c] + section.heads[head].negatives_count[c];
  let chosen = names.map((_, c) => c).sort((a, b) => wrong(b) - wrong(a))[0];
  const holder = el("div", {});
  const classBox = select("Class", names.map((name, c) => [String(c), name]), String(chosen),
    (value) => { chosen = Number(value); draw(); });
  const headBox = select("Head", headOptions(section.heads), head, (value) => {
    head = value;
    draw();
  });

  function gallery(kind, title, none) {
    const pairs = section.heads[head][kind][chosen];
    const count = section.heads[head][`${kind}_count`][chosen];
    return [el("h3", {}, title),
      el("p", { class: "note" }, count > pairs.length
        ? `${number(pairs.length)} of ${number(count)}` : pairs.length ? `all ${number(count)}` : none),
      el("ol", { class: "gallery" }, pairs.map(([id, score]) => el("li", {},
        el("button", { type: "button", class: "card", click: () => showPicture(id) }, picture(id),
          el("span", { class: "line" }, el("b", {}, `score ${number(score, 3)}`),
            el("span", { class: "small" }, "id ", id)),
          tagList(labelsOf(id).map((c) => names[c]), (name) => name === names[chosen]),
          captionLine(captionsOf(id)[0])))))];
  }

  function draw() {
    const cut = sections.classes.missing ? null : sections.classes.heads[head].threshold[chosen];
    refill(holder,
      gallery("positives", ["False positives: given ", own(names[chosen]), " without having it"],
        "None."),
      gallery("negatives", ["False negatives: ", own(names[chosen]), " not found"], "None."),
      cut === null ? null : el("p", { class: "note" },
        `Threshold from val: ${number(cut, 3)}. Below each picture its true labels.`));
  }
  pickMistakes = (c) => {
    chosen = c;
    classBox.box.value = String(c);
    draw();
  };
  place.append(el("div", { class: "controls" }, classBox.label, headBox.label), holder);
  draw();
}

function showConfusion(place, section) {
  const sources = Object.keys(section.matrices);
  const title = (source) => source === "labels" ? "true labels" : headNames[source];
  let source = "labels";
  const pairsPlace = el("div", {});
  function made() {
    const matrix = section.matrices[source];
    const rows = matrix.flatMap((line, i) => line.map((share, j) => ({
      present: section.classes[i], other: section.classes[j], share, images: section.images[i] })));
    const apart = rows.filter((row) => row.present !== row.other)
      .sort((a, b) => b.share - a.share)[0];
    const verb = source === "labels" ? "have" : `are given by the ${title(source)} head`;
    return {
      title: source === "labels" ? "Co-occurrence of labels"
        : `Classes that the ${title(source)} head names where a class is present`,
      text: apart ? `Of the images with ${apart.present}, ${percent(apart.share)} ${verb} ` +
        `${apart.other}: the largest share beside the diagonal. The ${section.classes.length} ` +
        "classes of most test images." : "Too few classes for pairs.",
      wide: true,
      spec: (look) => ({
        data: { values: rows }, height: 19 * section.classes.length,
        mark: { type: "rect", stroke: look.card, strokeWidth: 1 },
        encoding: {
          x: { field: "other", type: "nominal", sort: section.classes, axis: { labelAngle: -60,
            labelLimit: 110 }, title: source === "labels" ? "also present" : "named" },
          y: { field: "present", type: "nominal", sort: section.classes, axis: { labelLimit: 110 },
            title: "present" },
          color: axis("share", "share of images", { scale: { domain: [0, 1], range: look.map },
            legend: { gradientLength: 160 } }),
          tooltip: ["present", "other", "share", "images"].map((field) => ({ field })),
        },
      }),
      columns: [{ key: "present", title: "present", text: true },
        { key: "other", title: "also", text: true },
        { key: "share", title: "share", digits: 3 }, { key: "images", title: "images" }],
      rows,
    };
  }
  const shown = chart(made());
  function pairs() {
    const head = source === "labels" ? Object.keys(section.pairs)[0] : source;
    const rows = section.pairs[head].map(([a, b, count, of]) => ({ a: names[a], b: names[b],
      count, of, share: of ? count / of : null }));
    refill(pairsPlace, el("h3", {}, `Named by mistake, ${headNames[head]} head`),
      table([{ key: "a", title: "present", text: true },
        { key: "b", title: "named though absent", text: true },
        { key: "count", title: "images" }, { key: "of", title: "of" },
        { key: "share", title: "share", show: percent }], rows, { tall: true,
        label: "Pairs of a class that is present and one that is named by mistake",
        caption: "Test images that have the first class, lack the second, and are given it at " +
          "the threshold from val; the commonest pairs of all classes." }).element);
  }
  const box = select("Shown", sources.map((s) => [s, title(s)]), source, (value) => {
    source = value;
    shown.update(made());
    pairs();
  });
  place.append(el("div", { class: "controls" }, box.label), shown.element, pairsPlace);
  pairs();
}
