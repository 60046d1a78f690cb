"use strict";
// Draws the figures in the reader's colour scheme, and again when the scheme changes.
(() => {
  const holder = document.getElementById("figures");
  const figures = JSON.parse(holder.textContent);
  if (!figures.length) return;

  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };

  // Puts the style sheet's value in the place of every "var(--name)".
  const coloured = (node, style) => {
    if (typeof node === "string") {
      const match = /^var\((--[a-z0-9-]+)\)$/.exec(node);
      return match ? style.getPropertyValue(match[1]).trim() : node;
    }
    if (Array.isArray(node)) return node.map((each) => coloured(each, style));
    if (node && typeof node === "object") {
      const entries = Object.entries(node).map(([key, each]) => [key, coloured(each, style)]);
      return Object.fromEntries(entries);
    }
    return node;
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    figures.forEach((figure, number) => {
      const place = document.getElementById("figure-" + number);
      const { data, layout } = coloured(figure, style);
      Plotly.react(place, data, layout, config);
    });
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
