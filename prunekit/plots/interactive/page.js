// draws the chart in the colours that the reader prefers, as wide as the window allows
const { chart, light, dark } = JSON.parse(document.getElementById("facts").textContent);
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const draw = () => {
  const look = structuredClone(prefersDark.matches ? dark : light);
  const width = Math.max(220, Math.min(look.view.continuousWidth, document.body.clientWidth - 150));
  Object.assign(look.view, { continuousWidth: width, discreteWidth: width });
  look.legend.columns = Math.max(1, Math.floor(width / 150));
  vegaEmbed("#chart", chart, {
    actions: { export: true, source: false, compiled: false, editor: false },
    ast: true, // no text is evaluated as a program, which the page's policy forbids
    config: look,
    renderer: "svg",
    tooltip: { theme: prefersDark.matches ? "dark" : "light" },
  });
};
prefersDark.addEventListener("change", draw);
draw();
