"use strict";
(() => {
  const status = document.createElement("p");
  status.className = "unseen";
  status.setAttribute("role", "status");
  document.body.append(status);

  // missing cells come last in either direction; numbers by size, all else by the reader's alphabet
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
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
