"use strict";
(() => {
  const run = JSON.parse(document.getElementById("data").textContent);
  const slider = document.getElementById("round");
  const byId = (id) => document.getElementById(id);
  const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;

  const drawn = (name, parent, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  };
  const written = (name, parent, kind, text) => {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    element.textContent = text;
    parent.append(element);
    return element;
  };

  // a square for each piece of each token
  const cells = [];
  for (let token = 0; token < run.tokens; token += 1) {
    for (let piece = 0; piece < run.pieces; piece += 1) {
      cells.push(drawn("path", byId("mask"), { d: `M${piece + 0.06} ${token + 0.06}h.88v.88h-.88z` }));
    }
  }

  // accuracy by round, with what is there without a prompt
  const [left, right, top, bottom] = [34, 310, 10, 132];
  const last = run.rounds.length - 1;
  const across = (number) => left + (number / last) * (right - left);
  const up = (value) => bottom - value * (bottom - top);
  const curve = byId("curve");
  for (const value of [0, 0.5, 1]) {
    drawn("line", curve, { class: "axis", x1: left, x2: right, y1: up(value), y2: up(value) });
    drawn("text", curve, { class: "end", x: left - 6, y: up(value) + 4 }, value.toFixed(1));
  }
  const base = run.baselines.reduce((best, line) => (line.test > best.test ? line : best));
  drawn("line", curve, { class: "base", x1: left, x2: right, y1: up(base.test), y2: up(base.test) });
  drawn("text", curve, { x: left + 4, y: up(base.test) - 4 }, `${base.label} ${base.test.toFixed(2)}`);
  const points = run.rounds.map((round, number) => `${across(number)},${up(round.test)}`);
  drawn("polyline", curve, { class: "line", points: points.join(" ") });
  const dots = run.rounds.map((round, number) => drawn("circle", curve, { cx: across(number), cy: up(round.test), r: 4 }));
  run.rounds.forEach((round, number) => {
    if (number % 2 === 0 || number === last) {
      drawn("text", curve, { class: "middle", x: across(number), y: bottom + 15 }, round.tokens);
    }
  });
  drawn("text", curve, { class: "middle", x: (left + right) / 2, y: bottom + 28 }, "tokens kept");

  const examples = run.examples.map((example) => {
    const item = written("li", byId("examples"), "", "");
    written("p", item, "", example.text);
    const answer = written("p", item, "answer", "");
    return { item, answer, example };
  });
  const rows = [...document.querySelectorAll("tbody tr")];

  const show = (number) => {
    const round = run.rounds[number];
    [...round.mask].forEach((kept, index) => cells[index].classList.toggle("kept", kept === "1"));
    const size = `${round.tokens} of ${run.tokens} tokens, ${round.cells} of ${run.tokens * run.pieces} pieces`;
    const where = number ? `After round ${number}` : "The dense prompt";
    byId("said").textContent = `${where}: ${size}, ${percent(round.density)} of the prompt`;
    slider.setAttribute("aria-valuetext", byId("said").textContent);
    byId("mask-title").textContent = `${size} are kept`;
    byId("score").textContent = percent(round.test);
    byId("against").textContent = number ? `dense ${percent(run.rounds[0].test)}` : "the dense prompt";
    dots.forEach((dot, index) => dot.classList.toggle("now", index === number));
    rows.forEach((row, index) => row.classList.toggle("now", index === number));
    for (const { item, answer, example } of examples) {
      const now = example.answers[number];
      const correct = now === example.right;
      item.classList.toggle("wrong", !correct);
      answer.textContent = `${correct ? "✓" : "✗"} ${now} `;
      const before = [now, example.right].includes(example.answers[0]) ? "" : `; the dense prompt said ${example.answers[0]}`;
      written("span", answer, "note", `${correct ? "right" : `the right answer is ${example.right}`}${before}`);
    }
  };

  for (const id of ["control", "panels", "answered"]) byId(id).hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  byId("control").addEventListener("submit", (event) => event.preventDefault());
  show(0);
})();
