// Live regions, and the schedule of "What if". No library, no foreign host.
"use strict";
(() => {
  const $ = (selector, root) => (root || document).querySelector(selector);
  const all = (selector, root) => [...(root || document).querySelectorAll(selector)];

  // Live regions: <div data-live="/race/events">; each event carries the region's new HTML.
  function live(region) {
    const state = $("[data-live-state]");
    let source = null, retry = null, waiting = null;
    const say = (text, on) => {
      if (!state) return;
      state.hidden = false;
      state.classList.toggle("live", on);
      const words = $("[data-words]", state);
      if (words.textContent !== text) words.textContent = text;
    };
    const open = () => {
      if (source || document.hidden) return;
      source = new EventSource(region.dataset.live);
      source.onopen = () => { if (waiting === null) say("live", true); };
      source.onmessage = (event) => {
        if (region.contains(document.activeElement)) {
          waiting = event.data;
          say("paused while you are in it", false);
          return;
        }
        waiting = null;
        show(event.data);
        say("live", true);
      };
      source.onerror = () => {
        const ended = !source || source.readyState === EventSource.CLOSED;
        say("the connection is lost, trying again", false);
        if (ended) { close(); retry = setTimeout(open, 5000); }
      };
    };
    const show = (html) => {
      const opened = all("details", region).map((one) => one.open);
      region.innerHTML = html;
      all("details", region).forEach((one, n) => { one.open = !!opened[n]; });
    };
    // A region that is updated would lose the focus: the newest version waits until it has gone.
    region.addEventListener("focusout", (event) => {
      if (waiting === null || region.contains(event.relatedTarget)) return;
      setTimeout(() => {
        if (waiting === null || region.contains(document.activeElement)) return;
        show(waiting);
        waiting = null;
        if (source && source.readyState === EventSource.OPEN) say("live", true);
      });
    });
    const close = () => { if (source) source.close(); source = null; clearTimeout(retry); };
    document.addEventListener("visibilitychange", () => (document.hidden ? (close(), say("paused", false)) : open()));
    window.addEventListener("pagehide", close);
    open();
  }
  all("[data-live]").forEach(live);

  // A form whose figures follow each change: one request at a time, the newest state wins.
  function follow(form) {
    const target = document.getElementById(form.dataset.follow);
    const said = document.getElementById(form.dataset.follow + "-said");
    let wanted = null, running = false, settle = null;
    const query = () => new URLSearchParams(new FormData(form)).toString();
    const load = async (full) => {
      if (running) { wanted = { full: full || !!(wanted && wanted.full) }; return; }
      running = true;
      const text = query();
      try {
        const answer = await fetch(form.getAttribute("action") + "/figures?" + text + (full ? "&full=1" : ""));
        const html = await answer.text();
        if (!wanted) {
          const opened = all("details", target).map((one) => one.open);
          target.innerHTML = html;
          all("details", target).forEach((one, n) => { one.open = !!opened[n]; });
          if (full && said) said.textContent = "The figures are up to date.";
          history.replaceState(null, "", form.getAttribute("action") + "?" + text);
        }
      } catch (error) {
        target.setAttribute("data-failed", String(error));
        if (said) said.textContent = "The figures could not be computed. Try again.";
      } finally {
        running = false;
        if (wanted) { const next = wanted; wanted = null; load(next.full); }
      }
    };
    const changed = () => {
      if (said) said.textContent = "";
      load(false);
      clearTimeout(settle);
      settle = setTimeout(() => load(true), 700);
    };
    form.addEventListener("input", (event) => { shown(form, event.target); changed(); });
    form.addEventListener("submit", (event) => {
      const by = event.submitter;
      if (by && by.hasAttribute("formaction")) return;
      event.preventDefault();
      if (by && by.name) move(form, by);
      changed();
    });
    form.addEventListener("rdv-changed", changed);
    all("[data-no-script]", form).forEach((one) => { one.hidden = true; });
  }

  // Show a slider's value, keep the ends of the steps in order, and move the handles of the drawing.
  function shown(form, input) {
    if (!input.matches || !input.matches("input[type=range]")) return;
    const sliders = all("input[type=range]", form), at = sliders.indexOf(input);
    let value = Number(input.value);
    sliders.forEach((one, n) => {
      if (n < at && Number(one.value) > value) one.value = value;
      if (n > at && Number(one.value) < value) one.value = value;
    });
    sliders.forEach((one) => {
      const output = $("output", one.closest(".step"));
      if (output) output.textContent = one.value + " ms";
      one.setAttribute("aria-valuetext", one.value + " milliseconds");
    });
    draw(form);
  }

  // The order of the accepted models: a button moves a name, hidden fields carry the order.
  function move(form, button) {
    const item = button.closest("li"), list = item.parentNode, what = button.value.split(":")[0];
    if (what === "up" && item.previousElementSibling) list.insertBefore(item, item.previousElementSibling);
    if (what === "down" && item.nextElementSibling) list.insertBefore(item.nextElementSibling, item);
    const again = $("button[value^=\"" + what + ":\"]", item);
    if (again) again.focus();
  }

  // The drawing of the schedule: each handle is dragged by the pointer and sets its slider.
  function draw(form) {
    all("[data-handle]").forEach((handle) => {
      const input = form.elements[handle.dataset.handle];
      if (!input) return;
      const svg = handle.ownerSVGElement, left = Number(svg.dataset.left), wide = Number(svg.dataset.wide);
      const x = left + wide * Number(input.value) / Number(svg.dataset.sla);
      handle.setAttribute("transform", "translate(" + x.toFixed(2) + " 0)");
    });
    all("[data-from]").forEach((bar) => {
      const svg = bar.ownerSVGElement, left = Number(svg.dataset.left), wide = Number(svg.dataset.wide);
      const end = (name, otherwise) => (form.elements[name] ? Number(form.elements[name].value) : otherwise);
      const a = end(bar.dataset.from, 0), b = end(bar.dataset.to, Number(svg.dataset.sla));
      bar.setAttribute("x", (left + wide * a / Number(svg.dataset.sla)).toFixed(2));
      bar.setAttribute("width", Math.max(0, wide * (b - a) / Number(svg.dataset.sla)).toFixed(2));
    });
  }

  function drag(svg, form) {
    let held = null;
    svg.addEventListener("pointerdown", (event) => {
      const handle = event.target.closest("[data-handle]");
      if (!handle) return;
      held = form.elements[handle.dataset.handle];
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    svg.addEventListener("pointermove", (event) => {
      if (!held) return;
      const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
      const x = (event.clientX - box.left) * view.width / box.width;
      const ms = (x - Number(svg.dataset.left)) / Number(svg.dataset.wide) * Number(svg.dataset.sla);
      const value = Math.min(Number(held.max), Math.max(Number(held.min), Math.round(ms / Number(held.step)) * Number(held.step)));
      if (Number(held.value) === value) return;
      held.value = value;
      held.dispatchEvent(new Event("input", { bubbles: true }));
    });
    const end = () => { held = null; };
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
  }

  all("form[data-follow]").forEach((form) => {
    follow(form);
    all("svg.schedule").forEach((svg) => drag(svg, form));
  });
})();
