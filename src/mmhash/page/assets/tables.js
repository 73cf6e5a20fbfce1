// Tables that sort. A column is {key, title, text?, long?, digits?, show?(value, row), bar?};
// a row is an object with a value under each key. null sorts last whichever way.

function table(columns, rows, options) {
  const settings = { caption: "", sort: null, descending: true, sortable: true, tall: false,
    ...options };
  const body = el("tbody", {});
  const heads = columns.map((column) => {
    const cell = el("th", { scope: "col", class: column.text ? "text" : null,
      title: column.about });
    if (settings.sortable) {
      cell.append(el("button", { type: "button", click: () => press(column) }, column.title));
    } else {
      cell.append(column.title);
    }
    return cell;
  });
  let shown = rows;
  let by = settings.sort && columns.find((column) => column.key === settings.sort);
  let descending = settings.descending;

  function press(column) {
    descending = by === column ? !descending : !column.text;
    by = column;
    draw();
  }

  function compare(a, b) {
    const [left, right] = [a[by.key], b[by.key]];
    const [noLeft, noRight] = [left === null || left === undefined,
      right === null || right === undefined];
    if (noLeft || noRight) return noLeft - noRight;
    const order = typeof left === "number" && typeof right === "number"
      ? left - right : String(left).localeCompare(String(right), "en");
    return descending ? -order : order;
  }

  function draw() {
    columns.forEach((column, place) => {
      if (!settings.sortable) return;
      const state = column === by ? (descending ? "descending" : "ascending") : "none";
      heads[place].setAttribute("aria-sort", state);
    });
    const ordered = by ? [...shown].sort(compare) : shown;
    refill(body, ordered.map((row) => el("tr", { class: row.strong ? "strong" : null },
      columns.map((column, place) => cellOf(column, row, place)))));
  }

  function cellOf(column, row, place) {
    const value = row[column.key];
    const content = column.show ? column.show(value, row)
      : typeof value === "number" ? number(value, column.digits)
        : value === null || value === undefined ? "–" : own(value);
    const first = place === 0 && column.text;
    const cell = el(first ? "th" : "td", {
      scope: first ? "row" : null,
      class: [column.text && "text", column.long && "long", column.bar && "bar"]
        .filter(Boolean).join(" ") || null,
    }, content);
    if (column.bar && typeof value === "number") {
      cell.style.backgroundSize = `${(100 * value / column.bar).toFixed(1)}% 70%`;
    }
    return cell;
  }

  draw();
  // The remark stands above what scrolls: on a phone it would be cut off inside.
  const id = nextId("remark");
  const name = settings.label || settings.caption || "table";
  const made = el("table", { "aria-label": name, "aria-describedby": settings.caption ? id : null },
    el("thead", {}, el("tr", {}, heads)), body);
  const classes = ["scroll", settings.tall && "tall", settings.narrow && "narrow"];
  return {
    element: el("div", {}, settings.caption && el("p", { class: "remark", id }, settings.caption),
      el("div", { class: classes.filter(Boolean).join(" "), tabindex: 0, role: "region",
        "aria-label": name }, made)),
    show(kept) {
      shown = kept;
      draw();
    },
  };
}

/** A table of two columns from [name, value, remark] rows. */
function factTable(rows, caption, third) {
  const columns = [
    { key: "name", title: "figure", text: true },
    { key: "value", title: "value" },
  ];
  if (third) columns.push({ key: "about", title: third, text: true, long: true });
  const made = rows.map(([name, value, about]) => ({ name, value, about }));
  return table(columns, made, { caption, sortable: false, narrow: true }).element;
}
