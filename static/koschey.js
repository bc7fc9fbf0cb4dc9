/* What a page does with a script: keys, focus, dialogs, copying. Each page works without it. */
(() => {
  "use strict";
  const page = document.documentElement;
  const $ = (selector, inside = document) => inside.querySelector(selector);
  const rows = () => [...document.querySelectorAll("[data-row]")];
  const link = (row) => $("[data-open]", row);
  const current = () => document.activeElement?.closest?.("[data-row]");
  const panel = $("#panel");

  for (const element of document.querySelectorAll("[data-scripted]")) element.hidden = false;

  /* ---- htmx ---- */
  let left = -1; // the place of the row that had the focus before its list changed
  let inside = false; // whether what had the focus is to be replaced
  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["X-Root"] = page.dataset.root;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    left = rows().indexOf(current());
    inside = event.detail.target.contains(document.activeElement);
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    for (const element of target.querySelectorAll("[data-scripted]")) element.hidden = false;
    count();
    if (target.id !== "panel-body" && left >= 0 && document.activeElement === document.body) {
      const now = rows();
      (link(now[Math.min(left, now.length - 1)] ?? document) ?? $("#main")).focus();
    }
  });
  // Once it has settled: before that, htmx does not know the form yet, and takes the focus once more.
  document.addEventListener("htmx:afterSettle", (event) => {
    const { id } = event.detail.target;
    if (id !== "panel-body") {
      if (inside && document.activeElement === document.body) land($("#opened") ?? document.getElementById(id));
      return;
    }
    if (!panel.open) panel.showModal();
    ($("[aria-invalid]", panel) ?? $("[autofocus]", panel) ?? $("textarea, input:not([type=hidden])", panel))?.focus();
  });
  document.addEventListener("htmx:responseError", (event) => announce(problem(event.detail.xhr)));
  document.addEventListener("htmx:sendError", () => announce("Koschey did not answer; try again."));
  document.addEventListener("decided", () => panel.open && panel.close());

  const land = (place) => {
    if (place && place.tabIndex < 0) place.tabIndex = -1;
    place?.focus();
  };
  const problem = (xhr) => {
    try {
      return JSON.parse(xhr.responseText).detail;
    } catch {
      return `Koschey answered ${xhr.status}; load the page again.`;
    }
  };
  const announce = (text, kind = "error") => {
    const notice = document.createElement("p");
    notice.className = `notice ${kind}`;
    notice.textContent = text;
    $("#status")?.replaceChildren(notice);
  };

  /* ---- selection ---- */
  const boxes = () => [...document.querySelectorAll("[data-row] input[type=checkbox]")];
  const count = () => {
    const chosen = boxes().filter((box) => box.checked).length;
    for (const place of document.querySelectorAll("[data-count]")) place.textContent = chosen ? `${chosen} selected` : "";
    const all = $("[data-all]");
    if (!all) return;
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.matches("[type=checkbox]")) count();
    if (event.target.id === "keys-on") localStorage.setItem("koschey-keys", event.target.checked ? "on" : "off");
  });

  /* ---- clicks ---- */
  document.addEventListener("click", async (event) => {
    if (event.target.closest("[data-close]") && panel.open) {
      event.preventDefault();
      panel.close();
    }
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    const text = $("pre", copy.parentElement).textContent;
    try {
      await navigator.clipboard.writeText(text);
      announce("Copied.", "done");
    } catch {
      getSelection().selectAllChildren($("pre", copy.parentElement));
      announce("Selected: copy it with your keyboard.", "done");
    }
  });

  /* ---- keys ---- */
  const on = $("#keys-on");
  if (on) on.checked = localStorage.getItem("koschey-keys") !== "off";
  const move = (by) => {
    const all = rows();
    const next = all[Math.max(0, Math.min(all.length - 1, all.indexOf(current()) + by))];
    link(next ?? document)?.focus();
    next?.scrollIntoView({ block: "nearest" });
  };
  const act = (key) => {
    const where = current() ?? $("#main");
    const box = current() && $("input[type=checkbox]", current());
    if (box && !boxes().some((other) => other.checked)) box.click();
    const control = $(`[data-key="${key}"]`, where) ?? $(`[data-key="${key}"]`);
    if (!control) return false;
    if (control.matches("summary")) control.parentElement.open = true;
    const focus = control.dataset.focus;
    if (focus) $(focus)?.focus();
    else control.click();
    return true;
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !on?.checked) return;
    if (event.key === "ArrowDown" && event.target.matches("[data-search]") && rows().length) {
      event.preventDefault();
      return move(1);
    }
    if (event.target.matches("input:not([type=checkbox]), textarea, select, [contenteditable]") || panel?.open) return;
    const done = {
      j: () => move(1),
      k: () => move(-1),
      x: () => $("input[type=checkbox]", current() ?? document.createElement("i"))?.click(),
      "/": () => $("[data-search]")?.focus(),
      "?": () => $("#keys").togglePopover(),
    }[event.key];
    if (done) {
      event.preventDefault();
      done();
    } else if (/^[are]$/.test(event.key) && act(event.key)) event.preventDefault();
  });
  count();
})();
