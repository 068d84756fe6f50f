// SPDX-License-Identifier: Apache-2.0
// Refresh the page's content every few seconds.
"use strict";

(() => {
  const seconds = Number(document.body.dataset.refresh);
  const pause = document.getElementById("pause");
  const seen = document.getElementById("seen");
  const trouble = document.getElementById("trouble");
  const main = () => document.querySelector("main");
  const scrolled = () => main().querySelectorAll(".scroll");
  let paused = false;

  // Do not refresh while the reader selects text or fills in a form.
  function busy() {
    const selection = document.getSelection();
    const reads = selection && !selection.isCollapsed && main().contains(selection.anchorNode);
    const writes = document.activeElement && document.activeElement.matches("main select, main input");
    return paused || document.hidden || reads || writes;
  }

  function replace(page) {
    const fresh = page.querySelector("main");
    for (const old of main().querySelectorAll("details[id]")) {
      const now = fresh.querySelector(`#${CSS.escape(old.id)}`);
      if (now) now.open = old.open;
    }
    const places = [...scrolled()].map((it) => it.scrollLeft);
    const focus = document.activeElement;
    const href = focus && main().contains(focus) && focus.getAttribute("href");
    const heading = focus && focus.matches("main summary") && focus.parentElement.id;
    main().replaceChildren(...fresh.childNodes);
    scrolled().forEach((it, n) => { it.scrollLeft = places[n] || 0; });
    const again = (href && main().querySelector(`a[href="${CSS.escape(href)}"]`)) ||
      (heading && main().querySelector(`#${CSS.escape(heading)} > summary`));
    if (again) again.focus({preventScroll: true});
    seen.replaceChildren(...page.getElementById("seen").childNodes);
    document.title = page.title;
  }

  async function refresh() {
    const answer = await fetch(location.href, {headers: {Accept: "text/html"}, redirect: "manual"});
    if (answer.type === "opaqueredirect") {
      location.reload(); // the session has ended: sign in, and return here
      return;
    }
    if (!answer.ok) throw new Error(`the server returned ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!busy()) replace(page);
    if (trouble.textContent) trouble.textContent = "";
  }

  async function keepRefreshing() {
    if (!busy()) {
      try {
        await refresh();
      } catch (error) {
        trouble.textContent = `Refresh failed: ${error.message}. This page is out of date.`;
      }
    }
    setTimeout(keepRefreshing, seconds * 1000);
  }

  function openTarget() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.matches("details")) target.open = true;
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
  });
  window.addEventListener("hashchange", openTarget);
  openTarget();
  setTimeout(keepRefreshing, seconds * 1000);
})();
