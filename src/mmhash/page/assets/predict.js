// The form of `mmhash serve`. The page on disk has no server to ask: the form stays hidden.
// The server answers POST predict (fields picture, caption) with {predictions: [one for each
// picture]} or {error: one line}; mmhash/serve/answer.py says what a prediction holds.

const UPLOAD_BYTES = 20000000; // the bound of mmhash/serve/app.py
const LISTED = 20; // neighbours; the server sends no thumbnails beyond them

/** A tag as a row to press: name, bar with the threshold as a mark, score. */
function scoreRow(tag, press) {
  const at = (value) => `${(100 * Math.min(1, Math.max(0, value))).toFixed(1)}%`;
  const line = number(tag.threshold, 2);
  return el("button", { type: "button", class: tag.chosen ? "score-row chosen" : "score-row",
    "aria-pressed": "false", click: press },
    el("span", { class: "score-name" }, own(tag.name), tag.chosen ? " ✓" : ""),
    el("span", { class: "score-bar", "aria-hidden": "true" },
      el("span", { class: "fill", style: `width:${at(tag.score)}` }),
      el("span", { class: "mark", style: `left:${at(tag.threshold)}` })),
    el("span", { class: "score-value" }, number(tag.score, 2), " ",
      el("span", { class: "quiet" }, tag.chosen ? `≥ ${line}` : `< ${line}`)));
}

function scoreRows(tags, highlight) {
  const rows = tags.map((tag) => scoreRow(tag, (event) => {
    const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
    for (const row of rows) row.setAttribute("aria-pressed", "false");
    event.currentTarget.setAttribute("aria-pressed", String(on));
    highlight(on ? tag.name : null);
  }));
  return el("ul", { class: "score-rows" }, rows.map((row) => el("li", {}, row)));
}

/** How far predictions made like this one can be trusted, measured on the test pictures. */
function accuracyLine(prediction) {
  const found = prediction.accuracy;
  const figure = found ? `mAP ${number(found.mAP, 3)} on the test pictures (95 % interval ` +
    `${number(found.mAP_low, 3)} to ${number(found.mAP_high, 3)})` +
    (prediction.changed ? ", before mmhash index changed the database" : "")
    : "not measured in this run";
  if (!prediction.image_only) return el("p", { class: "note" }, `Accuracy: ${figure}.`);
  return el("p", { class: "note image-only" }, el("b", {}, "Image only"), ": accuracy ", figure,
    ". No caption was given; the captions of similar training pictures stood in for it.");
}

/** Show a prediction in ``place`` with the cards of the neighbours explorer. */
function renderPrediction(prediction, place) {
  const chosen = prediction.tags.filter((tag) => tag.chosen).map((tag) => tag.name);
  const near = prediction.neighbours.slice(0, LISTED).map((entry) => ({ id: entry.image_id,
    distance: entry.distance, share: entry.share, caption: entry.caption,
    classes: entry.categories, source: entry.thumbnail }));
  const beyond = prediction.neighbours.slice(LISTED);
  const rest = beyond.reduce((sum, entry) => sum + entry.share, 0);
  const words = distanceText(sections.explorer.missing ? {} : sections.explorer);
  const cards = neighbourCards(near, chosen, words);
  const heading = el("h3", { tabindex: "-1" }, "Tags");
  refill(place, heading, accuracyLine(prediction),
    scoreRows(prediction.tags, cards.highlight),
    el("p", { class: "note" }, "✓ reaches the mark, the threshold chosen on val. " +
      "Press a tag to see which neighbours have it."),
    el("h3", {}, "Neighbours that voted"), cards.element,
    beyond.length ? el("p", { class: "note" },
      `${plural(beyond.length, "more neighbour")} had ${percent(rest)} of the vote.`) : null);
  heading.focus();
}

/** Send the form; returns the prediction. What went wrong is thrown as a line to show. */
async function askServer(form) {
  let answer;
  try {
    answer = await fetch("predict", { method: "POST", body: new FormData(form) });
  } catch {
    throw new Error("no answer from the server; is mmhash serve still running?");
  }
  const found = await answer.json().catch(() => ({}));
  if (found.error || !found.predictions) {
    throw new Error(found.error || `the server answered ${answer.status}`);
  }
  return found.predictions[0];
}

function startPredict() {
  const served = document.querySelector('meta[name="mmhash-serve"]');
  if (!served || served.content !== "on") return;
  document.getElementById("predict").hidden = false;
  document.getElementById("nav-predict").hidden = false;
  const form = document.getElementById("predict-form");
  const files = form.elements.picture;
  const preview = document.getElementById("predict-preview");
  const status = document.getElementById("predict-status");
  const place = document.getElementById("prediction");
  let asked = 0; // an answer that comes after another picture was chosen is not shown

  function say(text, wrong) {
    status.classList.toggle("wrong", Boolean(wrong));
    refill(status, text);
  }

  function show() {
    asked += 1;
    form.removeAttribute("aria-busy");
    place.replaceChildren();
    say("");
    const shown = preview.querySelector("img");
    if (shown) URL.revokeObjectURL(shown.src);
    const file = files.files[0];
    if (!file) {
      refill(preview, "no picture yet");
      return;
    }
    const image = el("img", { alt: "the picture you chose",
      error: () => refill(preview, "this browser cannot show it") });
    image.src = URL.createObjectURL(file);
    refill(preview, image);
  }

  files.addEventListener("change", show);
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // a file dropped beside the form would replace the page
    if (!event.dataTransfer.files.length) return;
    const first = new DataTransfer();
    first.items.add(event.dataTransfer.files[0]);
    files.files = first.files;
    show();
    form.scrollIntoView({ block: "nearest" });
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy")) return;
    place.replaceChildren();
    const file = files.files[0];
    if (file.size > UPLOAD_BYTES) {
      say(`The picture has ${number(file.size / 1e6, 1)} MB; at most ` +
        `${UPLOAD_BYTES / 1e6} MB can be sent.`, true);
      return;
    }
    asked += 1;
    const question = asked;
    form.setAttribute("aria-busy", "true");
    say("Predicting …");
    try {
      const prediction = await askServer(form);
      if (question !== asked) return;
      say("");
      renderPrediction(prediction, place);
    } catch (error) {
      if (question === asked) say(error.message, true);
    } finally {
      if (question === asked) form.removeAttribute("aria-busy");
    }
  });
  show();
}
