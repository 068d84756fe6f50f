// SPDX-License-Identifier: Apache-2.0
// Looks again every few seconds, and puts the new content of the page in place of the old.
"use strict";

(() => {
  const seconds = Number(document.body.dataset.refresh);
  const pause = document.getElementById("pause");
  const seen = document.getElementById("seen");
  const trouble = document.getElementById("trouble");
  const main = () => document.querySelector("main");
  const scrolled = () => main().querySelectorAll(".scroll");
  let paused = false;

  // What the reader is doing, which the new content must not undo.
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

  async function look() {
    const answer = await fetch(location.href, {headers: {Accept: "text/html"}, redirect: "manual"});
    if (answer.type === "opaqueredirect") {
      location.reload(); // the session is over: sign in, and come back
      return;
    }
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!busy()) replace(page);
    if (trouble.textContent) trouble.textContent = "";
  }

  async function keepLooking() {
    if (!busy()) {
      try {
        await look();
      } catch (error) {
        trouble.textContent = `Can't look again: ${error.message}. What you see is old.`;
      }
    }
    setTimeout(keepLooking, seconds * 1000);
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
  setTimeout(keepLooking, seconds * 1000);
})();
