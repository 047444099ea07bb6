// Charts: what a mark stands for at once, one line among many lit up, one variant alone.
(function () {
  "use strict";
  var plots = document.querySelectorAll(".plot");
  if (!plots.length) return;

  plots.forEach(function (plot) {
    // A title inside a mark is the browser's own, slower tooltip: the words move to where only this script shows them.
    plot.querySelectorAll("g > title").forEach(function (title) {
      title.parentNode.dataset.told = title.textContent;
      title.remove();
    });
    plot.addEventListener("pointermove", function (event) {
      var spot = event.target.closest(".spot");
      loco.tip(spot && spot.dataset.told, event.clientX, event.clientY);
    });
    plot.addEventListener("pointerleave", function () { loco.tip(); });
  });

  document.querySelectorAll(".chart").forEach(function (chart) {
    var box = chart.querySelector(".plot-box");
    if (!box) return;
    function light(number) {
      box.classList.toggle("lit", number !== undefined);
      box.querySelectorAll(".series").forEach(function (series) {
        series.classList.toggle("on", series.dataset.series === number);
      });
    }
    ["pointerover", "focusin"].forEach(function (kind) {
      chart.addEventListener(kind, function (event) {
        var part = event.target.closest("li[data-series], .series");
        light(part ? part.dataset.series : undefined);
      });
    });
    ["pointerleave", "focusout"].forEach(function (kind) { chart.addEventListener(kind, function () { light(); }); });
  });

  // Beside a figure that stands alone there is room for its table.
  if (matchMedia("(min-width: 75rem)").matches) {
    document.querySelectorAll(".chart:only-child > details").forEach(function (table) { table.open = true; });
  }

  var chips = document.querySelectorAll("#charts-show .chip");
  function show(variant) {
    chips.forEach(function (chip) { chip.setAttribute("aria-pressed", String(chip.dataset.variant === variant)); });
    document.querySelectorAll(".chart-section [data-variant]").forEach(function (part) {
      part.hidden = variant !== "" && part.dataset.variant !== "" && part.dataset.variant !== variant;
    });
  }
  chips.forEach(function (chip) {
    chip.addEventListener("click", function () {
      show(chip.dataset.variant);
      loco.remember(new URLSearchParams(chip.dataset.variant ? { variant: chip.dataset.variant } : {}));
    });
  });
  var asked = loco.query().get("variant");
  if (Array.prototype.some.call(chips, function (chip) { return chip.dataset.variant === asked; })) show(asked);
})();
