"use strict";
(() => {
  const status = document.createElement("p");
  status.className = "unseen";
  status.setAttribute("role", "status");
  document.body.append(status);

  // missing cells come last in either direction; numbers by size, all else by the reader's alphabet
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
  };

  const keyOf = (row, place) => {
    const key = row.cells[place].dataset.key;
    if (key === undefined) return null;
    return key !== "" && Number.isFinite(Number(key)) ? Number(key) : key;
  };

  const sort = (table, heads, place) => {
    const head = heads[place];
    const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: keyOf(row, place) }));
    rows.sort((a, b) => compare(a.key, b.key, sign));
    body.append(...rows.map((one) => one.row));
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    status.textContent = `sorted by ${head.textContent.trim()}, ${direction}`;
  };

  // the buttons are made here: where no script runs, no button stands that does nothing
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, heads, place));
    });
  }

  // rows that hold every word of what is typed
  for (const table of document.querySelectorAll("table.filterable")) {
    const label = document.createElement("label");
    const words = document.createElement("input");
    words.type = "search";
    label.className = "filter";
    label.append("Show rows with ", words);
    table.parentElement.before(label);
    words.addEventListener("input", () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word));
      }
      status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
    });
  }

  // seeds of a drawing, each of which can be taken away
  for (const figure of document.querySelectorAll("figure")) {
    const lines = [...figure.querySelectorAll("[data-seed]")];
    const seeds = [...new Set(lines.map((line) => line.dataset.seed))].sort((a, b) => a - b);
    if (seeds.length < 2) continue;
    const bar = document.createElement("div");
    bar.className = "seeds";
    bar.append("Seeds:");
    for (const seed of seeds) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = seed;
      button.setAttribute("aria-label", `seed ${seed}`);
      button.setAttribute("aria-pressed", "true");
      const those = lines.filter((line) => line.dataset.seed === seed);
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        for (const line of those) line.classList.toggle("off", !on);
      });
      for (const [event, on] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]]) {
        button.addEventListener(event, () => those.forEach((line) => line.classList.toggle("near", on)));
      }
      bar.append(button);
    }
    figure.prepend(bar);
  }

  // what is known of a cell, for the pointer and for the arrow keys
  for (const figure of document.querySelectorAll("figure[data-hover]")) {
    const rows = JSON.parse(figure.dataset.hover);
    const drawing = figure.querySelector("svg");
    const ground = drawing.querySelector("[data-cells] path");
    const readout = document.createElement("p");
    const frame = document.createElementNS(drawing.namespaceURI, "rect");
    const columns = rows[0].length - 1;
    const paper = drawing.parentElement;
    readout.className = "readout";
    readout.setAttribute("aria-live", "polite");
    readout.textContent = "Point at a cell, or use the arrow keys, to read its numbers.";
    frame.setAttribute("class", "frame");
    paper.tabIndex = 0;
    paper.setAttribute("role", "group");
    paper.setAttribute("aria-label", "Cells of the drawing: the arrow keys go through them");
    paper.after(readout);
    let at = [0, 0];
    const show = (row, column) => {
      if (!(row >= 0 && row < rows.length && column >= 0 && column < columns)) return;
      at = [row, column];
      const box = ground.getBBox();
      const [width, height] = [box.width / columns, box.height / rows.length];
      const place = { x: box.x + column * width, y: box.y + row * height, width, height };
      for (const [name, value] of Object.entries(place)) frame.setAttribute(name, value);
      drawing.append(frame);
      readout.textContent = `${rows[row][0]} · piece ${column}: ${rows[row][column + 1]}`;
    };
    const point = (event) => {
      const box = ground.getBoundingClientRect();
      const part = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
      show(Math.floor(part[0] * rows.length), Math.floor(part[1] * columns));
    };
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    drawing.addEventListener("pointermove", point);
    drawing.addEventListener("pointerdown", point);
    paper.addEventListener("focus", () => show(...at));
    paper.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      show(at[0] + step[0], at[1] + step[1]);
    });
  }

  // the contents follow the scroll: the last heading that went by the top is where one is
  const links = new Map();
  for (const link of document.querySelectorAll("nav a")) {
    const head = document.getElementById(link.hash.slice(1));
    if (head) links.set(head, link);
  }
  const follow = () => {
    const passed = [...links.keys()].filter((head) => head.getBoundingClientRect().top < 120);
    const end = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    const here = end ? [...links.keys()].pop() : passed.pop() ?? [...links.keys()][0];
    for (const [head, link] of links) {
      if (head === here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      follow();
    });
  };
  addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon);
  if (links.size) follow();

  // who follows a link finds what it leads to unfolded, and paper has everything
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const fold = target && target.closest("details.fold");
    if (fold) fold.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details.fold")) fold.open = true;
  });
})();
