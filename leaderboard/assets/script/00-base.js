// What the scripts of all pages share: the button for the theme, words beside what is tapped, commands to copy.
window.loco = (function () {
  "use strict";
  var root = document.documentElement;

  function dark() {
    var chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  var button = document.querySelector(".theme");
  if (button) {
    var say = function () {
      var next = dark() ? "light" : "dark";
      button.setAttribute("aria-label", "Show in " + next + " colours");
      button.title = button.getAttribute("aria-label");
    };
    button.hidden = false;
    say();
    button.addEventListener("click", function () {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("loco-theme", root.dataset.theme); } catch (error) { /* not remembered, then */ }
      say();
    });
  }

  // An element with properties and children; children that are strings become text, never markup.
  function element(name, properties, children) {
    var made = document.createElement(name);
    Object.keys(properties || {}).forEach(function (key) {
      var value = properties[key];
      if (value === null || value === undefined || value === false) return;
      if (key === "class") made.className = value;
      else made.setAttribute(key, value === true ? "" : String(value));
    });
    (children || []).forEach(function (child) { made.append(child); });
    return made;
  }

  // Words beside a place of the window; without words they go. What has a title tells it to a finger as well.
  var box = element("div", { "class": "tip", hidden: true, role: "status" });
  document.body.append(box);
  function tip(words, x, y) {
    box.hidden = !words;
    if (!words) return;
    box.textContent = words;
    box.style.left = Math.max(Math.min(x + 14, root.clientWidth - box.offsetWidth - 8), 8) + "px";
    box.style.top = (y + 16 + box.offsetHeight < innerHeight ? y + 16 : y - box.offsetHeight - 10) + "px";
  }
  document.addEventListener("click", function (event) {
    var told = !event.target.closest("a, button, summary, label") && event.target.closest("td[title], th[title], span[title], p[title], [data-told]");
    tip(told && (told.dataset.told || told.title), event.clientX, event.clientY);
  });
  document.addEventListener("scroll", function () { tip(); }, true);
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") tip(); });

  function copyable(command) {
    var words = command.textContent, press = element("button", { type: "button", "class": "button quiet copy", "aria-live": "polite" }, ["Copy"]);
    press.addEventListener("click", function () {
      function done(said) { press.textContent = said; setTimeout(function () { press.textContent = "Copy"; }, 2000); }
      try { navigator.clipboard.writeText(words).then(function () { done("Copied"); }, select); } catch (error) { select(); }
      // Not every address may write to the clipboard: then it is marked, for the keyboard to copy.
      function select() { getSelection().selectAllChildren(command); done("Press Ctrl+C"); }
    });
    command.append(press);
    return command;
  }
  document.querySelectorAll("pre.command").forEach(copyable);

  return {
    element: element,
    tip: tip,
    copyable: copyable,

    // The query of the page's address, as URLSearchParams.
    query: function () { return new URLSearchParams(location.search); },

    // Put a query (URLSearchParams) into the address without loading anything.
    remember: function (query) {
      var text = query.toString();
      try { history.replaceState(null, "", location.pathname + (text ? "?" + text : "") + location.hash); }
      catch (error) { /* a browser that does not allow it keeps the old address */ }
    },

    // A share between 0 and 1 as percent with one decimal; a tie goes to the even digit, as on the pages made before.
    percent: function (value) {
      var shown = 100 * value;
      return (4 * shown % 4 === 1 ? shown - 0.05 : shown).toFixed(1);
    }
  };
})();
