"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---------------------------------------------------------------- filters
  const form = $("filters"), tenant = $("filter-tenant"), severity = $("filter-severity"), text = $("filter-text");
  const texts = new WeakMap();
  const textOf = (element) => {
    if (!texts.has(element)) texts.set(element, element.textContent.toLowerCase());
    return texts.get(element);
  };
  const filter = () => {
    const wanted = text.value.trim().toLowerCase(), least = Number(severity.value);
    for (const element of all("[data-tenant]")) {
      if (element.hasAttribute("data-group")) continue;
      element.hidden = (tenant.value && element.dataset.tenant !== tenant.value)
        || (element.dataset.severity !== undefined && Number(element.dataset.severity) < least)
        || (wanted && element.hasAttribute("data-text") && !textOf(element).includes(wanted));
    }
    for (const mark of all(".marks a")) mark.toggleAttribute("hidden", Number(mark.dataset.severity) < least);
    for (const group of all("[data-group]")) group.hidden = all(".row[data-tenant]", group).every((row) => row.hidden);
    if (tenant.value || least || wanted) for (const more of all("details.more")) more.open = true;
    const episodes = all(".episodes > li"), shown = episodes.filter((item) => !item.hidden).length;
    $("filter-result").textContent = shown === episodes.length ? "" : `${shown} of ${episodes.length} episodes`;
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  filter(); // a reloaded page keeps what was typed

  // ------------------------------------------------- incidents and anomalies: open what is linked or printed
  const openLinked = () => {
    const linked = /^#[ei]\d+$/.test(location.hash) && $(location.hash.slice(1));
    if (linked) {
      for (let item = linked; item; item = item.parentElement.closest("details")) item.open = true;
      linked.scrollIntoView({ block: "center" });
    }
  };
  addEventListener("hashchange", openLinked);
  openLinked();
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const item of closed) item.open = true;
  });
  addEventListener("afterprint", () => { for (const item of closed) item.open = false; });

  // ------------------------------------------------------------ timeline: values under the pointer
  const data = JSON.parse($("chart-data").textContent), tip = $("tip");
  const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(5, 16).replace("T", " ");
  const number = (value) => value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 });
  const shown = {
    per_minute: number,
    share: (percent) => `${Number(percent.toPrecision(3))} %`,
    ms: (ms) => (ms < 1000 ? `${number(ms)} ms` : `${(ms / 1000).toPrecision(3)} s`),
    count: number,
  };
  const unpack = (packed) => { // see _packed in page.py
    let last;
    return packed.split(",").map((text) => (last = text === "" ? last : text === "-" ? null : Number(text)));
  };
  for (const strip of data.rows.flat()) for (const key of ["v", "b", "l", "h"]) strip[key] = unpack(strip[key]);

  const describe = (chart, place) => {
    const strips = data.rows[chart.dataset.row], buckets = strips[0].v.length, start = data.start + place * data.bucket;
    const said = [`${clock(start)}–${clock(start + data.bucket).slice(6)} UTC`];
    for (const { t, u, v, b, l, h } of strips) {
      if (v[place] === null) continue;
      const expected = h[place] === null ? "" : `, expected ${shown[u](b[place])} (${shown[u](l[place])} to ${shown[u](h[place])})`;
      said.push(`${t} ${shown[u](v[place])}${u === "per_minute" ? "/min" : ""}${expected}`);
    }
    const from = 100 * place / buckets, to = 100 * (place + 1) / buckets;
    for (const mark of all(".marks a", chart.parentElement)) {
      if (Number(mark.dataset.from) < to && Number(mark.dataset.to) > from && !mark.hasAttribute("hidden")) said.push(mark.dataset.say);
    }
    return said.join("\n");
  };
  const show = (chart, place) => {
    const box = chart.getBoundingClientRect(), buckets = data.rows[chart.dataset.row][0].v.length;
    const share = (place + 0.5) / buckets, cursor = chart.querySelector(".cursor line");
    chart.place = place;
    cursor.setAttribute("x1", `${100 * share}%`);
    cursor.setAttribute("x2", `${100 * share}%`);
    cursor.setAttribute("visibility", "visible");
    tip.textContent = describe(chart, place);
    tip.hidden = false;
    const width = tip.offsetWidth, height = tip.offsetHeight, x = box.left + share * box.width;
    const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14;
    tip.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
    const above = innerWidth < 600 ? box.top - height - 6 : box.top + 8; // beside the pointer, or clear of the finger
    tip.style.top = `${Math.max(4, Math.min(above, innerHeight - height - 4))}px`;
  };
  const hide = (chart) => {
    chart.querySelector(".cursor line").setAttribute("visibility", "hidden");
    tip.hidden = true;
  };
  for (const chart of all(".chart")) {
    const last = data.rows[chart.dataset.row][0].v.length - 1;
    const point = (event) => {
      const box = chart.getBoundingClientRect();
      show(chart, Math.max(0, Math.min(last, Math.floor((event.clientX - box.left) / box.width * (last + 1)))));
    };
    chart.addEventListener("pointermove", point);
    chart.addEventListener("pointerdown", point);
    chart.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(chart); });
    chart.addEventListener("blur", () => hide(chart));
    chart.addEventListener("keydown", (event) => {
      const place = chart.place ?? 0, page = Math.ceil(last / 10);
      const next = { ArrowRight: place + 1, ArrowLeft: place - 1, PageDown: place + page, PageUp: place - page, Home: 0, End: last }[event.key];
      if (event.key === "Escape") hide(chart);
      if (next === undefined) return;
      event.preventDefault();
      show(chart, Math.max(0, Math.min(last, next)));
    });
  }
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".chart")) for (const chart of all(".chart")) hide(chart);
  });
  addEventListener("scroll", () => { for (const chart of all(".chart")) hide(chart); }, { passive: true });
})();
