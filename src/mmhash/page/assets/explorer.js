// The neighbours explorer: find a picture by class, id or a word of its caption, see who voted.

const PAGE = window.innerWidth < 640 ? 12 : 24; // pictures of a result shown at a time
let searchFor = () => {};
let showPicture = () => {};

/** Go to a section with a class chosen there. */
function goToClass(id, what) {
  if (id === "explorer") searchFor(what);
  else pickMistakes(what);
  document.getElementById(id).scrollIntoView();
}

function distanceText(section) {
  return (distance) => section.bits ? `${number(Math.round(distance))} of ${section.bits} bits`
    : number(distance, 3);
}

function showExplorer(place, section) {
  const byId = new Map(section.queries.map((query) => [query.id, query]));
  const status = el("p", { role: "status" });
  const results = el("ul", { class: "gallery tiny", "aria-label": "Pictures found" });
  const more = el("button", { type: "button", hidden: true, click: () => list(found, true) },
    "Show more");
  const detail = el("div", { id: "query", tabindex: -1 });
  let found = [];
  let count = 0;
  let shownId = null;
  const rule = section.images <= section.limit
    ? `All ${number(section.images)} test pictures are here.`
    : `${number(section.queries.length)} of ${number(section.images)} test pictures are here: ` +
      "those of the worst mistakes and of the bits, and a sample drawn by a fixed seed.";

  function voted(id) {
    return section.queries.filter((query) => query.near.some(([near]) => near === id));
  }

  function matches(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return [section.queries, rule];
    if (/^\d+$/.test(wanted)) {
      const id = Number(wanted);
      if (byId.has(id)) return [[byId.get(id)], `Test picture ${id}.`, true];
      const asked = voted(id);
      if (asked.length) {
        return [asked, `${id} is a picture of the database; it is among the nearest of ` +
          `${plural(asked.length, "test picture")}.`];
      }
      if (!names.some((name) => name.toLowerCase().includes(wanted))) {
        return [[], `No picture with id ${id} on this page. ${rule}`];
      }
    }
    const exact = names.findIndex((name) => name.toLowerCase() === wanted);
    if (exact >= 0) {
      const kept = section.queries.filter((query) => labelsOf(query.id).includes(exact));
      return [kept, `${plural(kept.length, "test picture has", "test pictures have")} the class ` +
        `${names[exact]}.`];
    }
    const classes = new Set(names.map((name, c) => name.toLowerCase().includes(wanted) ? c : -1));
    const kept = section.queries.filter((query) => labelsOf(query.id).some((c) => classes.has(c))
      || captionsOf(query.id).some((caption) => caption.toLowerCase().includes(wanted)));
    return [kept, `${plural(kept.length, "test picture has", "test pictures have")} “${text.trim()}” ` +
      "in a class or a caption."];
  }

  function search(text) {
    const [kept, line] = matches(text);
    refill(status, line);
    list(kept, false);
    if (kept.length) show(kept[0].id, false);
  }

  function list(kept, further) {
    count = further ? count + PAGE : PAGE;
    found = kept;
    refill(results, kept.slice(0, count).map((query) => el("li", {}, el("button", {
      type: "button", class: "card", "data-id": query.id, "aria-pressed": String(query.id === shownId),
      click: () => show(query.id, true) }, picture(query.id),
    el("span", { class: "small" }, query.id)))));
    more.hidden = kept.length <= count;
  }

  function show(id, focus) {
    const query = byId.get(id);
    if (!query) return false;
    shownId = id;
    for (const button of results.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.id) === id));
    }
    refill(detail, queryCard(section, query));
    if (focus) {
      detail.focus({ preventScroll: true });
      detail.scrollIntoView({ block: "nearest" });
    }
    return true;
  }

  const input = el("input", { type: "search", id: "picture-search", list: "class-names",
    autocomplete: "off", placeholder: "a class, an image id, a word", input: () => search(input.value) });
  searchFor = (text) => {
    input.value = text;
    search(text);
  };
  showPicture = (id) => {
    if (!show(id, false)) searchFor(String(id));
    else refill(status, `Test picture ${id}.`);
    document.getElementById("explorer").scrollIntoView();
    detail.focus({ preventScroll: true });
  };
  place.append(
    el("div", { class: "controls" }, el("label", { for: "picture-search" },
      "Find test pictures by class, image id or a word of the caption", input),
    el("datalist", { id: "class-names" }, names.map((name) => el("option", { value: name })))),
    status, results, more, detail,
    values.note ? el("p", { class: "note" }, values.note) : "",
  );
  search("");
}

function queryCard(section, query) {
  const truth = labelsOf(query.id).map((c) => names[c]);
  const near = query.near.map(([id, distance, share]) => ({ id, distance, share,
    classes: labelsOf(id).map((c) => names[c]), caption: captionsOf(id)[0] }));
  const cards = neighbourCards(near, truth, distanceText(section));
  const heads = Object.keys(query.tags);
  const shared = near.filter((entry) => entry.classes.some((name) => truth.includes(name))).length;
  const listed = near.reduce((sum, entry) => sum + entry.share, 0);
  return [
    el("div", { class: "query" },
      el("div", {}, picture(query.id), el("p", { class: "note" }, "id ", query.id)),
      el("dl", {},
        el("dt", {}, "Captions"), el("dd", {}, captionsOf(query.id).length
          ? el("ul", { class: "captions" }, captionsOf(query.id).map((caption) =>
            el("li", { dir: "auto" }, caption)))
          : el("span", { class: "quiet" }, "none came with the data")),
        el("dt", {}, "True labels"), el("dd", {}, tagList(truth, () => false)),
        heads.map((head) => [el("dt", {}, headNames[head]),
          el("dd", {}, tagButtons(tagsOf(section, query, head, truth), cards.highlight))]))),
    el("p", { class: "note" }, "Tags as each head ranks them, with the score; ✓ reaches the ",
      "threshold from val, green is right, orange a mistake. Press a tag to see which neighbours ",
      "have it."),
    el("h3", {}, `The ${number(near.length)} nearest of the database`),
    el("p", { class: "note" }, `Distance: ${section.distance}. ${number(shared)} of `,
      `${number(near.length)} share a label with the picture (green edge). The listed ones hold `,
      `${percent(listed)} of the vote (${section.voting}, K = ${section.k})`,
      query.rest > 0.0005 ? `; the next ${section.k - near.length} hold ${percent(query.rest)}` : "",
      query.beyond > 0.0005 ? `; others as near as the last of them hold ${percent(query.beyond)}` : "",
      "."),
    cards.element,
  ];
}

function tagsOf(section, query, head, truth) {
  const cuts = sections.classes.missing ? null : sections.classes.heads[head].threshold;
  return query.tags[head].slice(0, Math.max(section.top, 5)).map(([c, score]) => {
    const passed = cuts !== null && score >= cuts[c];
    const right = truth.includes(names[c]);
    return { name: names[c], score, mark: passed ? "✓" : "",
      look: right ? "good" : passed ? "bad" : "",
      about: `${right ? "a true label" : "not a label"}${passed ? ", named" : ", below the threshold"}` };
  });
}
