"use strict";

// What the page shows: see SampleOnPage in page.py. Keys and names are data: they only ever become text.
const page = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const cards = [];
let current = -1;
let isMuted = false;

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "style" || key === "attributes") continue;
    made[key] = value;
  }
  for (const [key, value] of Object.entries(properties.style ?? {})) made.style.setProperty(key, value);
  for (const [key, value] of Object.entries(properties.attributes ?? {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Pictures are named by short URLs: a long one would stand in the style of every frame.
function blobUrl(media) {
  const bytes = Uint8Array.from(atob(media.base64), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: media.type }));
}

const percent = (part) => `${(100 * part).toFixed(4)}%`;
const seconds = (value) => `${value.toFixed(3)} s`;

class Card {
  constructor(sample, number) {
    this.sample = sample;
    this.frame = 0;
    this.playing = null;
    const heading = element("h2", { id: `sample-${number}`, textContent: sample.key });
    const badges = [sample.label, sample.split].filter(Boolean);
    this.root = element(
      "article",
      { tabIndex: -1, attributes: { "aria-labelledby": heading.id } },
      element("div", { className: "head" }, heading,
        ...badges.map((text) => element("span", { className: "badge", textContent: text }))),
      element("p", { className: "facts", textContent: sample.facts.join(" · ") }),
    );
    this.root.addEventListener("pointerdown", () => choose(number, false));
    this.root.addEventListener("focusin", () => choose(number, false));
    if (sample.trouble) this.root.append(element("p", { className: "trouble", textContent: sample.trouble }));
    else this.fill();
  }

  fill() {
    const { sample } = this;
    this.urls = sample.views.map((view) => blobUrl(view.sprite));
    this.pictures = sample.views.map((view, place) => element("div", {
      className: "frame",
      style: {
        "background-image": `url(${this.urls[place]})`,
        "background-size": `${100 * view.columns}% ${100 * view.rows}%`,
        "image-rendering": view.is_exact ? "pixelated" : "auto",
      },
      attributes: { role: "img" },
    }));
    this.root.style.setProperty("--shape", `${sample.width} / ${sample.height}`);
    this.root.style.setProperty("--views", sample.views.length);
    this.root.append(
      element("div", { className: "views" }, ...sample.views.map((view, place) => element("figure", {},
        this.pictures[place],
        element("figcaption", { textContent: view.name },
          element("small", { textContent: view.note }))))),
      this.makeControls(),
    );
    if (sample.sound) this.root.append(this.makeTimeline());
    this.root.append(this.makeStrips());
    this.show(0);
  }

  makeControls() {
    const last = this.sample.times.length - 1;
    const button = (text, label, act, className = "") => element("button", {
      type: "button", textContent: text, className, onclick: act, attributes: { "aria-label": label },
    });
    this.playButton = button("▶ Play", "Play", () => this.toggle(), "play");
    this.slider = element("input", {
      type: "range", min: 0, max: last, value: 0, oninput: () => this.seek(Number(this.slider.value)),
      attributes: { "aria-label": `Frame of ${this.sample.key}` },
    });
    // Read on request: while playing it would never stop talking.
    this.readout = element("output", { attributes: { "aria-live": "off" } });
    return element("div", { className: "controls" }, this.playButton,
      button("◀", "One frame back", () => this.seek(this.frame - 1)),
      button("▶", "One frame on", () => this.seek(this.frame + 1)), this.slider, this.readout);
  }

  makeTimeline() {
    const { sound, mel } = this.sample;
    this.start = Math.min(sound.start, mel.start);
    this.end = Math.max(sound.start + sound.seconds, mel.start + mel.seconds);
    const placed = (lane) => ({
      left: percent(this.part(lane.start)),
      width: percent(lane.seconds / (this.end - this.start)),
    });
    const wave = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const count = sound.lows.length;
    wave.setAttribute("viewBox", `0 -100 ${count} 200`);
    wave.setAttribute("preserveAspectRatio", "none");
    wave.setAttribute("role", "img");
    wave.setAttribute("aria-label", "Waveform");
    Object.assign(wave.style, placed(sound));
    const outline = document.createElementNS("http://www.w3.org/2000/svg", "path");
    // Half a unit at least, so that silence is a line.
    const above = sound.highs.map((y, x) => `${x} ${-Math.max(y, 1)} ${x + 1} ${-Math.max(y, 1)}`);
    const below = sound.lows.map((y, x) => `${x + 1} ${-Math.min(y, -1)} ${x} ${-Math.min(y, -1)}`).reverse();
    outline.setAttribute("d", `M${above.join(" ")} ${below.join(" ")}Z`);
    wave.append(outline);
    this.cursor = element("div", { className: "cursor" });
    this.timeline = element("div", { className: "timeline" },
      element("div", { className: "lane" }, wave),
      element("div", { className: "lane mel" }, element("img", {
        src: blobUrl(mel.picture), alt: "Log-mel of the clip's sound", style: placed(mel),
      })),
      element("div", { className: "axis" }, ...this.ticks().map((tick) => element("span", {
        textContent: tick.text, style: { left: percent(this.part(tick.time)) },
      }))),
      this.cursor);
    this.timeline.addEventListener("click", (event) => {
      const box = this.timeline.getBoundingClientRect();
      const time = this.start + (event.clientX - box.left) / box.width * (this.end - this.start);
      this.seek(this.frameAt(time));
    });
    return element("div", {},
      element("p", { className: "lanes-label", textContent: `Sound, ${sound.note}, and clip mel, ${mel.note}. Sync: ${this.sample.sync}.` }),
      this.timeline);
  }

  ticks() {
    const span = this.end - this.start;
    const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 600].find((size) => span / size <= 8) ?? span;
    const found = [];
    for (let k = Math.ceil((this.start + 0.04 * span) / step); k * step < this.end - 0.04 * span; k += 1) {
      found.push({ time: k * step, text: `${Number((k * step).toFixed(2))} s` });
    }
    return found;
  }

  makeStrips() {
    const { sample } = this;
    const count = sample.times.length;
    const isWhole = sample.views.every((view) => view.rows === 1);
    const details = element("details", { open: isWhole }, element("summary", { textContent: `All ${count} frames` }));
    if (!isWhole) {
      details.append(element("p", { textContent: "Too many for a strip; step through them above." }));
      return details;
    }
    this.mark = element("div", { className: "mark", style: { width: percent(1 / count) } });
    const strip = element("div", { className: "strip", style: { width: `max(100%, ${46 * count}px)` } },
      ...sample.views.map((view, place) => element("img", {
        src: this.urls[place], alt: `${view.name}, all frames`,
        style: { "image-rendering": view.is_exact ? "pixelated" : "auto" },
      })), this.mark);
    if (sample.num_valid < count) {
      strip.append(element("div", { className: "repeated", style: { left: percent(sample.num_valid / count) } }));
    }
    strip.addEventListener("click", (event) => {
      const box = strip.getBoundingClientRect();
      this.seek(Math.floor((event.clientX - box.left) / box.width * count));
    });
    this.strips = element("div", { className: "strips" }, strip);
    details.append(this.strips);
    return details;
  }

  part(time) {
    return (time - this.start) / (this.end - this.start);
  }

  // Only frames that are content have times that rise.
  frameAt(time) {
    let found = 0;
    for (let k = 0; k < this.sample.num_valid; k += 1) if (this.sample.times[k] <= time + 1e-6) found = k;
    return found;
  }

  show(frame, time = this.sample.times[frame]) {
    const { sample } = this;
    this.frame = frame;
    sample.views.forEach((view, place) => {
      const column = frame % view.columns;
      const row = Math.floor(frame / view.columns);
      const x = view.columns > 1 ? column / (view.columns - 1) : 0;
      const y = view.rows > 1 ? row / (view.rows - 1) : 0;
      this.pictures[place].style.backgroundPosition = `${percent(x)} ${percent(y)}`;
      this.pictures[place].setAttribute("aria-label", `${view.name}, frame ${frame + 1} of ${sample.times.length}`);
    });
    this.slider.value = frame;
    const isContent = frame < sample.num_valid;
    const source = sample.frames[frame] < 0 ? "padding" : `source frame ${sample.frames[frame]}`;
    this.readout.textContent = `${frame + 1}/${sample.times.length} at ${seconds(sample.times[frame])}, ${source}`
      + (isContent || sample.frames[frame] < 0 ? "" : " again");
    this.slider.setAttribute("aria-valuetext", this.readout.textContent);
    if (this.cursor) this.cursor.style.left = percent(Math.min(Math.max(this.part(time), 0), 1));
    if (this.mark) this.mark.style.left = percent(frame / sample.times.length);
  }

  seek(frame) {
    this.pause();
    this.show(Math.min(Math.max(frame, 0), this.sample.times.length - 1));
  }

  toggle() {
    if (this.sample.trouble) return;
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    const { sample } = this;
    cards.forEach((card) => card.pause());
    const lastContent = sample.num_valid - 1;
    const from = this.frame >= lastContent ? sample.times[0] : sample.times[this.frame];
    this.playing = { from, since: performance.now() };
    this.playButton.textContent = "❚❚ Pause";
    this.playButton.setAttribute("aria-label", "Pause");
    if (sample.sound) {
      this.audio ??= new Audio(blobUrl(sample.sound.file));
      this.audio.muted = isMuted;
      this.audio.currentTime = from - sample.sound.start;
      this.playing.hears = false;
      this.audio.play().then(() => { if (this.playing) this.playing.hears = true; }, () => {});
    }
    requestAnimationFrame(() => this.tick());
  }

  // Without a device to play on, sound fails or rushes to its end; the page goes on without it.
  hears() {
    return this.playing.hears && !this.audio.error;
  }

  // The sound is the clock where it plays; pictures follow it.
  now() {
    if (this.hears() && !this.audio.ended) return this.sample.sound.start + this.audio.currentTime;
    return this.playing.from + (performance.now() - this.playing.since) / 1000;
  }

  tick() {
    if (!this.playing) return;
    const time = this.now();
    if (time >= this.sample.end - 0.004 || (this.hears() && this.audio.ended)) {
      this.pause();
      this.show(this.sample.num_valid - 1, this.sample.end);
      return;
    }
    this.show(this.frameAt(time), time);
    requestAnimationFrame(() => this.tick());
  }

  pause() {
    if (!this.playing) return;
    this.playing = null;
    this.audio?.pause();
    this.playButton.textContent = "▶ Play";
    this.playButton.setAttribute("aria-label", "Play");
  }
}

function choose(number, moves = true) {
  cards[current]?.root.classList.remove("current");
  if (number !== current) cards[current]?.pause();
  current = number;
  cards[number].root.classList.add("current");
  if (!moves) return;
  cards[number].root.focus({ preventScroll: true });
  cards[number].root.scrollIntoView({ block: "nearest" });
}

function step(direction) {
  let next = current + direction;
  while (cards[next]?.root.hidden) next += direction;
  if (cards[next]) choose(next);
}

function filter() {
  const wanted = { label: byId("class").value, split: byId("split").value };
  const part = byId("key").value.trim().toLowerCase();
  let count = 0;
  for (const card of cards) {
    const { sample } = card;
    const fits = (!wanted.label || sample.label === wanted.label)
      && (!wanted.split || sample.split === wanted.split)
      && sample.key.toLowerCase().includes(part);
    card.root.hidden = !fits;
    if (!fits && !sample.trouble) card.pause();
    count += fits;
  }
  byId("shown").textContent = `${count} of ${cards.length} shown`;
  byId("none").hidden = count > 0;
  if (current < 0 || cards[current]?.root.hidden) {
    cards[current]?.root.classList.remove("current");
    const first = cards.findIndex((card) => !card.root.hidden);
    current = -1;
    if (first >= 0) choose(first, false);
  }
}

function fillSelect(select, values) {
  const names = [...new Set(values.filter(Boolean))].sort();
  select.append(new Option(names.length ? `all (${names.length})` : "none", ""), ...names.map((name) => new Option(name, name)));
  select.disabled = names.length === 0;
  select.addEventListener("change", filter);
}

const actions = {
  j: () => step(1),
  k: () => step(-1),
  " ": () => cards[current]?.toggle(),
  ArrowLeft: () => cards[current]?.seek(cards[current].frame - 1),
  ArrowRight: () => cards[current]?.seek(cards[current].frame + 1),
  Home: () => cards[current]?.seek(0),
  End: () => cards[current]?.seek(Infinity),
  m: () => {
    isMuted = !isMuted;
    cards.forEach((card) => { if (card.audio) card.audio.muted = isMuted; });
  },
  "/": () => byId("key").focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inField = event.target.matches("input, select, textarea");
  if (event.key === "Escape" && inField) {
    event.target.blur();
    if (current >= 0) choose(current);
    return;
  }
  // Sliders, fields, buttons and summaries keep the keys they know.
  if (inField && !(event.target.type === "range" && ["j", "k", " ", "m", "/"].includes(event.key))) return;
  if (event.key === " " && event.target.matches("button, summary, a")) return;
  const isSilent = cards[current]?.sample.trouble && !["j", "k", "m", "/"].includes(event.key);
  if (!(event.key in actions) || isSilent) return;
  event.preventDefault();
  actions[event.key]();
});

byId("about").textContent = page.about;
byId("notes").textContent = page.notes.join(" ");
byId("notes").hidden = page.notes.length === 0;
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("key").addEventListener("input", filter);
page.samples.forEach((sample, number) => {
  const card = new Card(sample, number);
  cards.push(card);
  byId("samples").append(card.root);
});
fillSelect(byId("class"), page.samples.map((sample) => sample.label));
fillSelect(byId("split"), page.samples.map((sample) => sample.split));
filter();
