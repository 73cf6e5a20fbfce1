// A picture with what is known of it, the way every section shows one.

function captionsOf(id) {
  const known = values.images[id];
  return known ? known.c : [];
}

function labelsOf(id) {
  const known = values.images[id];
  return known ? known.l : [];
}

/** The thumbnail of an image, or its id where the page holds none. */
function picture(id, source) {
  const held = source || (thumbs[id] && `data:image/webp;base64,${thumbs[id]}`);
  const caption = captionsOf(id)[0];
  if (!held || !held.startsWith("data:image/")) {
    return el("span", { class: "picture" }, el("span", {}, "id ", id));
  }
  return el("span", { class: "picture" },
    el("img", { src: held, alt: caption ? `${id}: ${caption}` : `image ${id}`, loading: "lazy",
      decoding: "async" }));
}

function captionLine(text) {
  return text ? el("span", { class: "caption", dir: "auto" }, text) : null;
}

function tagList(classes, isGood) {
  if (!classes.length) return el("span", { class: "quiet" }, "no label");
  return el("ul", { class: "tags" }, classes.map((name) =>
    el("li", { class: isGood && isGood(name) ? "tag good" : "tag" }, own(name))));
}

/**
 * Cards of neighbours. ``near`` are {id, distance, share, caption, classes (names), source?},
 * nearest first; ``relevant`` the names whose sharing counts; ``distanceText`` words a distance.
 * Returns the list and highlight(name), which dims neighbours without that class.
 */
function neighbourCards(near, relevant, distanceText) {
  const most = Math.max(...near.map((entry) => entry.share), 1e-9);
  const cards = near.map((entry, place) => {
    const shared = entry.classes.filter((name) => relevant.includes(name));
    const card = el("div", { class: shared.length ? "card shares" : "card" },
      picture(entry.id, entry.source),
      el("span", { class: "line" }, el("b", {}, `${place + 1}.`),
        el("span", {}, distanceText(entry.distance))),
      el("span", { class: "line votes" }, el("span", { class: "share", "aria-hidden": "true" },
        el("span", { style: `width:${(100 * entry.share / most).toFixed(1)}%` })),
      el("span", { title: "share of the vote" }, percent(entry.share))),
      tagList(entry.classes, (name) => shared.includes(name)),
      captionLine(entry.caption),
      el("span", { class: "small" }, "id ", entry.id));
    return { card, entry };
  });
  return {
    element: el("ol", { class: "gallery" }, cards.map(({ card }) => el("li", {}, card))),
    highlight(name) {
      for (const { card, entry } of cards) {
        card.classList.toggle("dim", name !== null && !entry.classes.includes(name));
      }
    },
  };
}

/** Buttons of tags with scores; pressing one calls back with its name, or null when let go. */
function tagButtons(tags, press) {
  const buttons = tags.map((tag) => el("button", {
    type: "button", class: `tag ${tag.look || ""}`, "aria-pressed": "false", title: tag.about,
    click: (event) => {
      const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
      for (const other of buttons) other.setAttribute("aria-pressed", "false");
      event.currentTarget.setAttribute("aria-pressed", String(on));
      press(on ? tag.name : null);
    },
  }, own(tag.name), ` ${number(tag.score, 2)}`, tag.mark ? ` ${tag.mark}` : ""));
  return el("ul", { class: "tags" }, buttons.map((button) => el("li", {}, button)));
}
