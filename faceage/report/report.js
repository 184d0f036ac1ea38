"use strict";

const FACES_A_PAGE = 60;
const FAILURES_A_PAGE = 100;
const MILLISECONDS = 700; // of an age while playing

const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const strips = JSON.parse(element("strips").textContent);
const total = data.names.length;
const oldest = data.ages.length - 1;
const lowerNames = data.names.map((name) => name.toLowerCase());
const lowerFailures = data.failures.names.map((name) => name.toLowerCase());
const farthest = [...data.before, ...data.after].reduce((most, value) => Math.max(most, value ?? 0), 0.1);
const chosen = new Uint8Array(total).fill(oldest);

function number(count) {
  return count.toLocaleString("en");
}

// Pages of a list: what is drawn stays small, however long the list is.

class Pages {
  constructor(section, size, draw) {
    this.section = section;
    this.size = size;
    this.draw = draw;
    this.items = [];
    this.page = 0;
    this.controls = Array.from(section.querySelectorAll(".pages"), (nav) => this.fill(nav));
  }

  fill(nav) {
    const previous = nav.appendChild(document.createElement("button"));
    const field = nav.appendChild(document.createElement("input"));
    const last = nav.appendChild(document.createElement("span"));
    const next = nav.appendChild(document.createElement("button"));
    previous.type = next.type = "button";
    previous.textContent = "Previous";
    next.textContent = "Next";
    field.type = "number";
    field.min = 1;
    field.setAttribute("aria-label", "Page");
    previous.addEventListener("click", () => this.turn(this.page - 1, "previous"));
    next.addEventListener("click", () => this.turn(this.page + 1, "next"));
    field.addEventListener("change", () => this.turn(Math.round(field.value) - 1, "field"));
    return { nav, previous, field, last, next };
  }

  show(items) {
    this.items = items;
    this.page = 0;
    this.update();
  }

  // Goes on where the page begins, with the same control.
  turn(page, control) {
    this.page = page;
    this.update();
    const above = this.controls[0];
    const used = above[control].disabled ? above.field : above[control];
    used.focus({ preventScroll: true });
    above.nav.scrollIntoView({ block: "nearest" });
  }

  update() {
    const pages = Math.max(Math.ceil(this.items.length / this.size), 1);
    this.page = Math.min(Math.max(this.page || 0, 0), pages - 1);
    const start = this.page * this.size;
    this.draw(this.items.slice(start, start + this.size), start);
    for (const { nav, previous, field, last, next } of this.controls) {
      nav.hidden = pages < 2;
      field.value = this.page + 1;
      field.max = pages;
      last.textContent = `of ${number(pages)}`;
      previous.disabled = this.page === 0;
      next.disabled = this.page === pages - 1;
    }
  }
}

function range(start, count, all) {
  return count < all ? `${number(start + 1)}–${number(start + count)} of ${number(all)}` : number(all);
}

// Faces

const urls = [];

function stripUrl(face) {
  if (!strips[face].startsWith("data:")) return strips[face];
  // Once as a blob: a style with the picture's text in it would be copied for every picture.
  urls[face] ??= URL.createObjectURL(blob(strips[face].slice(strips[face].indexOf(",") + 1)));
  return urls[face];
}

function blob(base64) {
  return new Blob([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))], { type: "image/jpeg" });
}

const gallery = element("gallery");
const cards = new Map(); // of the page that is shown, by face

function title(face) {
  return data.names[face] + numbered(face);
}

function numbered(face) {
  return data.numbers[face] < 0 ? "" : ` · face ${data.numbers[face]}`;
}

function makeCard(face) {
  const card = element("card").content.cloneNode(true).firstElementChild;
  fillHeading(card.querySelector("h3"), face);
  for (const picture of card.querySelectorAll(".face")) setStrip(picture, face);
  const slider = card.querySelector("input");
  slider.max = oldest;
  slider.style.setProperty("--ticks", oldest);
  slider.disabled = !data.drawn[face] || oldest < 1;
  slider.setAttribute("aria-label", `Age of ${title(face)}`);
  slider.addEventListener("input", () => {
    chosen[face] = slider.value;
    update(face, card);
  });
  const enlarge = card.querySelector(".enlarge");
  enlarge.setAttribute("aria-label", `Compare ${title(face)}, larger`);
  enlarge.disabled = !data.drawn[face];
  card.querySelector(".pair").addEventListener("click", () => data.drawn[face] && compare(face));
  card.querySelector(".looks").textContent = `photo shows ${data.classes[data.looks[face]]}`;
  const warning = card.querySelector(".warning");
  warning.textContent = data.warnings[face];
  warning.hidden = !data.warnings[face];
  fillDistance(card, data.before[face], data.after[face]);
  update(face, card);
  return card;
}

function setStrip(picture, face) {
  picture.style.backgroundImage = strips[face] ? `url("${stripUrl(face)}")` : "none";
  // Of those that are not drawn, there are the photo and a grey square.
  picture.style.setProperty("--columns", data.drawn[face] ? data.ages.length + 2 : 2);
}

function fillHeading(heading, face) {
  const [name, grid] = [data.names[face], data.grids[face]];
  const whole = heading.appendChild(document.createElement(grid ? "a" : "span"));
  if (grid) whole.href = grid;
  whole.title = name;
  // Where there is no room, the folder is cut first, and not what tells faces apart.
  const split = name.lastIndexOf("/") + 1;
  for (const [kind, text] of [["folder", name.slice(0, split)], ["file", name.slice(split)], ["number", numbered(face)]]) {
    const part = whole.appendChild(document.createElement("span"));
    part.className = kind;
    part.textContent = text;
  }
}

function fillDistance(card, before, after) {
  const track = card.querySelector(".track");
  track.hidden = before === null || after === null;
  if (track.hidden) return;
  const bold = document.createElement("b");
  bold.textContent = after.toFixed(2);
  card.querySelector(".distance").append(`rebuilt: distance ${before.toFixed(2)} → `, bold);
  track.style.setProperty("--from", before / farthest);
  track.style.setProperty("--to", after / farthest);
}

// Moves the strip behind the two windows of a card.
function update(face, card) {
  movePair(face, card.querySelectorAll(".face"));
  setAge(card.querySelector("input"), chosen[face]);
}

function movePair(face, [photo, aged]) {
  const name = title(face);
  const beside = Number(element("beside").value);
  const kind = beside ? "rebuilt" : "photo";
  showColumn(photo, beside, kind, `${name}, ${kind}`);
  const age = data.ages[chosen[face]];
  if (data.drawn[face]) showColumn(aged, chosen[face] + 2, age, `${name} at ${age}`);
  else showColumn(aged, 1, "not drawn", `${name}: not drawn`);
}

function showColumn(picture, column, caption, label) {
  picture.style.setProperty("--column", column);
  picture.setAttribute("aria-label", label);
  picture.nextElementSibling.textContent = caption;
}

function setAge(slider, age) {
  slider.value = age;
  slider.setAttribute("aria-valuetext", data.ages[age]);
}

const facePages = new Pages(element("faces"), FACES_A_PAGE, (faces, start) => {
  cards.clear();
  for (const face of faces) cards.set(face, makeCard(face));
  gallery.replaceChildren(...cards.values());
  const all = facePages.items.length;
  const said = range(start, faces.length, all);
  element("count").textContent = all ? `${said} ${all === 1 ? "face" : "faces"}` : "No face fits.";
});

// One face, large: the aged one over the photo, with a line between them

const dialog = element("compare");
const windows = dialog.querySelectorAll(".face");
const wipe = element("wipe");
const compareAge = element("compare-age");
let compared = 0;

function compare(face) {
  compared = face;
  element("compare-title").textContent = title(face);
  for (const picture of windows) setStrip(picture, face);
  const place = facePages.items.indexOf(face);
  element("compare-previous").disabled = place <= 0;
  element("compare-next").disabled = place < 0 || place === facePages.items.length - 1;
  compareAge.disabled = oldest < 1 || !data.drawn[face];
  updateCompared();
  if (dialog.open) return;
  dialog.showModal();
  wipe.focus();
}

function updateCompared() {
  const age = data.ages[chosen[compared]];
  movePair(compared, windows);
  setAge(compareAge, chosen[compared]);
  compareAge.nextElementSibling.textContent = age;
  const whole = element("compare-whole");
  whole.hidden = !data.pasted[compared];
  whole.href = data.pasted[compared].replace("*", encodeURIComponent(age));
  whole.textContent = `Whole photo at ${age}`;
  wipe.setAttribute("aria-valuetext", `${wipe.value}% photo`);
  wipe.parentElement.style.setProperty("--wipe", wipe.value);
}

function step(by) {
  compare(facePages.items[facePages.items.indexOf(compared) + by]);
}

compareAge.max = oldest;
compareAge.style.setProperty("--ticks", oldest);
compareAge.addEventListener("input", () => {
  chosen[compared] = compareAge.value;
  updateCompared();
  if (cards.has(compared)) update(compared, cards.get(compared));
});
wipe.addEventListener("input", updateCompared);
element("compare-previous").addEventListener("click", () => step(-1));
element("compare-next").addEventListener("click", () => step(1));
element("compare-close").addEventListener("click", () => dialog.close());

// Photos without a face

const failurePages = new Pages(element("failures"), FAILURES_A_PAGE, (failures, start) => {
  const rows = failures.map((failure) => {
    const row = document.createElement("tr");
    const name = row.appendChild(document.createElement("th"));
    name.scope = "row";
    name.textContent = data.failures.names[failure];
    row.insertCell().textContent = data.failures.statuses[failure].replace("_", " ");
    row.insertCell().textContent = data.failures.reasons[failure];
    return row;
  });
  element("failure-rows").replaceChildren(...rows);
  element("failure-table").hidden = !rows.length;
  const all = failurePages.items.length;
  const said = range(start, rows.length, all);
  element("failure-count").textContent = all ? `${said} ${all === 1 ? "photo" : "photos"}` : "None.";
});

// Filters

const filters = ["name", "status", "looks", "which", "least", "most", "order"].map(element);

const ORDERS = {
  far: (values) => (a, b) => (values[b] ?? -1) - (values[a] ?? -1),
  near: (values) => (a, b) => (values[a] ?? 9) - (values[b] ?? 9),
  young: () => (a, b) => data.looks[a] - data.looks[b],
  old: () => (a, b) => data.looks[b] - data.looks[a],
};

function bound(id, otherwise) {
  const value = element(id).valueAsNumber;
  return Number.isNaN(value) ? otherwise : value;
}

function filter() {
  const name = element("name").value.trim().toLowerCase();
  const status = element("status").value;
  const looks = element("looks").value;
  const values = data[element("which").value];
  const least = bound("least", -Infinity);
  const most = bound("most", Infinity);
  const bounded = least > -Infinity || most < Infinity;
  const faces = [];
  for (let face = 0; face < total && (!status || status === "ok"); face++) {
    if (looks !== "" && data.looks[face] !== Number(looks)) continue;
    if (bounded && !(values[face] !== null && values[face] >= least && values[face] <= most)) continue;
    if (name && !lowerNames[face].includes(name)) continue;
    faces.push(face);
  }
  const order = ORDERS[element("order").value];
  if (order) faces.sort(order(values));
  facePages.show(faces);
  const failures = [];
  lowerFailures.forEach((lower, failure) => {
    if (status && data.failures.statuses[failure] !== status) return;
    if (lower.includes(name)) failures.push(failure);
  });
  failurePages.show(failures);
}

for (const control of filters) control.addEventListener("input", filter);

element("reset").addEventListener("click", () => {
  for (const control of filters) {
    if (control.options) control.selectedIndex = 0;
    else control.value = "";
  }
  filter();
});

// Everybody at one age

const everybody = element("everybody");

function setEverybody(age) {
  chosen.fill(age);
  everybody.value = age;
  everybody.setAttribute("aria-valuetext", data.ages[age]);
  element("everybody-age").textContent = data.ages[age];
  for (const [face, card] of cards) update(face, card);
}

everybody.max = oldest;
everybody.style.setProperty("--ticks", oldest);
everybody.disabled = oldest < 1;
everybody.addEventListener("input", () => setEverybody(Number(everybody.value)));

element("beside").addEventListener("input", () => {
  for (const [face, card] of cards) update(face, card);
});

let playing = 0;
element("play").disabled = oldest < 1;
element("play").addEventListener("click", () => {
  const starts = !playing;
  clearInterval(playing);
  playing = starts ? setInterval(() => setEverybody((Number(everybody.value) + 1) % data.ages.length), MILLISECONDS) : 0;
  element("play").textContent = starts ? "Stop" : "Play";
});

setEverybody(oldest);
filter();
