// The form of `mmhash serve`. The page on disk has no server to ask: the form stays hidden.
// The server answers POST predict (fields image, caption) with what Prediction.as_json() gives:
// {tags: [{name, score, chosen}], neighbours: [{image_id, distance, share, caption, categories,
// thumbnail}], image_only}, or {error} with one line.

/** Show a prediction in ``place`` with the cards of the neighbours explorer. */
function renderPrediction(prediction, place) {
  const chosen = prediction.tags.filter((tag) => tag.chosen).map((tag) => tag.name);
  const near = prediction.neighbours.map((entry) => ({ id: entry.image_id, distance: entry.distance,
    share: entry.share, caption: entry.caption, classes: entry.categories || [],
    source: entry.thumbnail }));
  const words = distanceText(sections.explorer.missing ? {} : sections.explorer);
  const cards = neighbourCards(near, chosen, words);
  refill(place,
    prediction.image_only ? el("p", { class: "note" }, "No caption was given: predicted from the " +
      "picture alone, which is less accurate.") : null,
    el("h3", {}, "Tags"),
    tagButtons(prediction.tags.map((tag) => ({ name: tag.name, score: tag.score,
      mark: tag.chosen ? "✓" : "", look: tag.chosen ? "good" : "" })), cards.highlight),
    el("p", { class: "note" }, "✓ reaches the threshold chosen on val. Press a tag to see which " +
      "neighbours have it."),
    el("h3", {}, "Neighbours that voted"), cards.element);
}

function startPredict() {
  const served = document.querySelector('meta[name="mmhash-serve"]');
  if (!window.MMHASH_SERVE && !(served && served.content === "on")) return;
  document.getElementById("predict").hidden = false;
  document.getElementById("nav-predict").hidden = false;
  const form = document.getElementById("predict-form");
  const status = document.getElementById("predict-status");
  const place = document.getElementById("prediction");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    refill(status, "Predicting …");
    place.replaceChildren();
    try {
      const answer = await fetch("predict", { method: "POST", body: new FormData(form) });
      const found = await answer.json();
      if (found.error) {
        refill(status, found.error);
        return;
      }
      refill(status, "");
      renderPrediction(found, place);
    } catch (error) {
      refill(status, `No answer from the server: ${error.message}`);
    }
  });
}
