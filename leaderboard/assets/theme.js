// Before anything is drawn: the theme that was chosen on an earlier visit, and a sign that scripts run.
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("scripted");
  try {
    var theme = localStorage.getItem("loco-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch (error) { /* a page opened from disk may have no storage */ }
})();
