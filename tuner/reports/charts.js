"use strict";
// Draws Plotly's figures in the elements that bear their names, in the page's colours.

const dark = matchMedia("(prefers-color-scheme: dark)");
const scheme = () => dark.matches ? "dark" : "light";

function template() {
  const style = getComputedStyle(document.documentElement);
  const [text, soft, line, box] = ["--text", "--soft", "--line", "--box"].map(
    (name) => style.getPropertyValue(name).trim());
  const axis = {
    gridcolor: line, zerolinecolor: line, linecolor: line, tickcolor: line,
    tickfont: {color: soft}, title: {font: {color: soft, size: 13}},
  };
  return {
    layout: {
      paper_bgcolor: box, plot_bgcolor: "rgba(0,0,0,0)",
      font: {family: getComputedStyle(document.body).fontFamily, color: text, size: 12},
      hoverlabel: {bgcolor: box, bordercolor: line, font: {color: text}, align: "left"},
      xaxis: axis, yaxis: axis,
    },
    data: {
      parcoords: [{
        labelfont: {color: text, size: 12}, tickfont: {color: soft, size: 11},
        rangefont: {color: soft, size: 1},
        unselected: {line: {color: soft, opacity: 0.08}},
      }],
    },
  };
}

// A figure that was drawn before is changed, and keeps what its reader has zoomed to.
async function draw(figures) {
  // Plotly's tool bar would cover points and legend; dragging zooms, a double click resets.
  const config = {responsive: true, displayModeBar: false};
  for (const [name, figure] of Object.entries(figures)) {
    const layout = {...figure.layout, template: template(), uirevision: "reader"};
    await Plotly.react(name, figure.data, layout, config);
  }
  document.documentElement.dataset.drawn = scheme();
}

async function recolour() {
  for (const chart of document.querySelectorAll(".js-plotly-plot")) {
    await Plotly.relayout(chart, {template: template()});
  }
  document.documentElement.dataset.drawn = scheme();
}

dark.addEventListener("change", recolour);
