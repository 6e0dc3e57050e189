// The calendar's script: the widget, the dialog that changes a command, drag and undo. Times are
// converted by the server: the widget shows wall-clock times as they are.
"use strict";

const UNDO_SECONDS = 10;
const LOOK_MS = 3000; // between two questions whether something has changed
const WIDGET_VIEWS = { month: "dayGridMonth", week: "timeGridWeek", day: "timeGridDay" };
const place = document.getElementById("calendar");
const dialog = document.getElementById("dialog");
let widget = null;
let isDragging = false;
let isPressed = false;
let focused = null; // the command whose entry had the focus before it is drawn again
let known = null; // what the server answered last, and its ETag

// Without a zone in the address, the browser's is chosen; the address then has it.
function chooseZone() {
  const select = document.getElementById("zone-select");
  if (!select || !("choose" in select.dataset)) return;
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (![...select.options].some((option) => option.value === own)) return;
  const url = new URL(location.href);
  url.searchParams.set("zone", own);
  location.replace(url);
}

// An entry has no duration; in the grid of hours it is drawn half an hour high, within its day.
function toEntry(command) {
  const latest = `${command.local.slice(0, 10)}T23:29:59`;
  const start = new Date(`${command.local}Z`);
  const end = command.local > latest ? `${command.local.slice(0, 10)}T23:59:59` : new Date(start.valueOf() + 1_800_000).toISOString().slice(0, 19);
  return {
    id: command.id,
    start: command.local,
    end: place.dataset.view === "month" ? toNoon(command.local) : end,
    title: command.title,
    editable: command.is_open && "editable" in place.dataset,
    startEditable: command.is_open && "editable" in place.dataset,
    durationEditable: false,
    classNames: [command.action, command.style, command.state, command.is_open ? "open" : "ended"],
    extendedProps: command,
  };
}

// In a month, the end of an entry within its day: what ends at midnight is not drawn.
function toNoon(local) {
  return local.slice(11) < "12" ? `${local.slice(0, 10)}T12:00:00` : local;
}

// Where there are too many commands, their number in a day or an hour, which leads to them.
function toCount(count) {
  const isMonth = place.dataset.view === "month";
  return {
    id: count.local,
    start: count.local,
    end: isMonth ? toNoon(count.local) : `${count.local.slice(0, 13)}:59:59`,
    title: count.text,
    editable: false,
    startEditable: false,
    durationEditable: false,
    classNames: ["count"],
    extendedProps: count,
  };
}

function part(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function toContent({ event }) {
  const command = event.extendedProps;
  if (command.url) {
    const [number, word] = command.text.split(" ");
    const link = part("a", `${number} `);
    link.append(part("span", word));
    link.href = command.url;
    return { domNodes: [link] };
  }
  const arrow = command.action === "publish" ? "↑" : "↓";
  const state = command.state === "scheduled" ? "" : `, ${command.state}`;
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.command = command.id;
  button.addEventListener("click", () => { if (!isDragging) openCommand(command.id); });
  const what = part("span", `${command.local.slice(11, 16)} ${arrow} `, "what");
  what.append(part("span", `${command.action}${state} `, "action"));
  button.append(what);
  if (command.workspace_id !== null) button.append(part("span", `workspace ${command.workspace_id} `, "where"));
  if (command.conflict) button.append(part("span", "! conflict ", "conflict"));
  button.append(part("bdi", command.title));
  return { domNodes: [button] };
}

// Ask the server what there is to draw. False: nothing has changed since `known`.
async function look() {
  const headers = { Accept: "application/json", ...(known && { "If-None-Match": known.etag }) };
  const response = await fetch(document.getElementById("agenda").dataset.commands, { headers, cache: "no-store" });
  if (response.status === 304) return false;
  if (response.redirected || !response.ok) throw new Error(response.statusText);
  known = { etag: response.headers.get("ETag"), drawn: await response.json() };
  return true;
}

// What the widget draws: the last answer, which is fetched if there is none.
async function getEntries() {
  try {
    const list = document.getElementById("agenda");
    if (!known && await look() && known.etag !== list.dataset.tag) htmx.trigger(list, "list-changed");
    return [...known.drawn.commands.map(toEntry), ...known.drawn.counts.map(toCount)];
  } catch {
    say("The server does not answer. What is shown may be old.");
    return widget?.getEvents() ?? [];
  } finally {
    focused = document.activeElement?.dataset?.command ?? null; // the widget draws next
  }
}

// Something has happened somewhere. Draw again only what is shown here, and not while an entry is
// held: it would be taken out of the hand.
async function followChanges() {
  try {
    if (!await look()) return;
  } catch {
    say("The server does not answer. What is shown may be old.");
    return;
  }
  while (isDragging || isPressed) await new Promise((done) => { setTimeout(done, 200); });
  widget?.refetchEvents();
  htmx.trigger(document.getElementById("agenda"), "list-changed");
}

// The button of a command's entry, which is another one after each drawing.
function findEntry(id) {
  return id && place?.querySelector(`[data-command="${CSS.escape(id)}"]`);
}

// The entry that has the focus when it is drawn again keeps it.
function restoreFocus() {
  if (document.activeElement === document.body) findEntry(focused)?.focus();
  focused = null;
}

// Wall-clock times are added up as they are shown: a day is a day, whatever the clocks do on it.
function move(local, { days, seconds }) {
  const moved = new Date(`${local}Z`).valueOf() + (days * 86_400 + seconds) * 1000;
  return new Date(moved).toISOString().slice(0, 19);
}

// The widget says that it is a table, without the rows of one. The list below it is a real table.
function dropRoles() {
  for (const element of place.querySelectorAll("[role=table],[role=rowgroup],[role=row],[role=cell],[role=columnheader],[role=rowheader]")) element.removeAttribute("role");
  for (const element of place.querySelectorAll("[aria-colindex]")) element.removeAttribute("aria-colindex");
}

function createWidget() {
  if (!place) return;
  place.hidden = false;
  new MutationObserver(dropRoles).observe(place, { childList: true, subtree: true });
  const isEditable = "editable" in place.dataset;
  widget = EventCalendar.create(place, {
    view: WIDGET_VIEWS[place.dataset.view],
    date: place.dataset.date,
    timeZone: place.dataset.offset,
    firstDay: 1,
    locale: "en-GB",
    headerToolbar: { start: "", center: "", end: "" },
    height: place.dataset.view === "month" ? "44rem" : "auto",
    dayMaxEvents: true,
    slotHeight: 32,
    nowIndicator: true,
    allDaySlot: false,
    scrollTime: place.dataset.scroll,
    slotLabelFormat: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    snapDuration: "00:05:00",
    editable: isEditable,
    eventStartEditable: isEditable,
    eventDurationEditable: false,
    eventSources: [{ events: getEntries }],
    eventAllUpdated: restoreFocus,
    eventContent: toContent,
    eventDragStart: () => { isDragging = true; },
    eventDragStop: () => { setTimeout(() => { isDragging = false; }); }, // after the click
    eventDrop: drop,
    ...(isEditable && { dateClick: ({ dateStr }) => openNew(toSlot(dateStr)) }),
  });
}

// The keyboard's way to an empty slot: a button that the arrow keys move from slot to slot.
function createSlot() {
  if (!place || !("editable" in place.dataset)) return;
  const isMonth = place.dataset.view === "month";
  const heads = place.querySelectorAll(isMonth ? ".ec-body .ec-day-head time" : ".ec-header .ec-col-head time");
  const days = [...heads].map((head) => head.dateTime);
  let day = Math.max(days.indexOf(place.dataset.date), 0);
  let minutes = 9 * 60;
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: isMonth ? [-7, 0] : [0, -30], ArrowDown: isMonth ? [7, 0] : [0, 30] };
  const slot = document.createElement("button");
  slot.type = "button";
  slot.className = "slot";
  const toTime = () => new Date(minutes * 60_000).toISOString().slice(11, 16);
  const show = () => {
    const name = new Date(days[day]).toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
    slot.textContent = isMonth ? "+" : `+ ${toTime()}`;
    slot.setAttribute("aria-label", `Schedule on ${name}${isMonth ? "" : `, ${toTime()}`}`);
    const cell = place.querySelectorAll(".ec-body .ec-day")[day].getBoundingClientRect();
    const around = slot.parentElement.getBoundingClientRect();
    const height = isMonth ? cell.height : cell.height / 48;
    const box = { left: cell.left - around.left, top: cell.top - around.top + (isMonth ? 0 : height * minutes / 30), width: cell.width, height };
    for (const [side, size] of Object.entries(box)) slot.style[side] = `${size}px`;
  };
  slot.addEventListener("click", () => openNew(`${days[day]}T${toTime()}`));
  slot.addEventListener("focus", show);
  slot.addEventListener("keydown", (event) => {
    const [byDays, byMinutes] = steps[event.key] ?? [0, 0];
    if (!(day + byDays in days) || !byDays && !byMinutes) return;
    event.preventDefault();
    day += byDays;
    minutes = Math.min(Math.max(minutes + byMinutes, 0), 1410);
    show();
    slot.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  place.querySelector(".ec-body").append(slot);
  show();
}

// A drop moves the day, and in the grid of hours the time.
async function drop({ event, delta, revert }) {
  const fields = { csrf: place.dataset.csrf, after: place.dataset.page, local: move(event.extendedProps.local, delta), zone: place.dataset.zone };
  const done = await send(`/console/calendar/commands/${event.id}/reschedule`, new URLSearchParams(fields), say);
  if (!done) revert();
}

// Send a form. The answer is the calendar's page, of which the message and the list are taken.
async function send(path, body, complain) {
  let response, page;
  try {
    response = await fetch(path, { method: "POST", body });
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    complain("The server does not answer. Whether the command was changed is not known: load the page again.");
    return false;
  }
  if (!response.ok || !page.getElementById("agenda")) {
    const problem = page.getElementById("problem");
    const details = [...(problem?.querySelectorAll("li") ?? [])].map((item) => item.lastChild.textContent.trim());
    complain([problem?.querySelector("p")?.textContent ?? "Sign in again: the session has ended.", ...details].join(" "));
    if (problem?.querySelector("[data-code=ambiguous_time]")) showFold();
    if (response.status === 409 || response.status === 404) refreshAll();
    return false;
  }
  for (const id of ["done", "agenda"]) document.getElementById(id).replaceChildren(...page.getElementById(id).childNodes);
  htmx.process(document.getElementById("agenda"));
  showTimes(document);
  refresh();
  offerUndo();
  return true;
}

// The person has done something: show what there is now.
function refresh() {
  known = null;
  widget?.refetchEvents();
}

function refreshAll() {
  refresh();
  htmx.trigger(document.getElementById("agenda"), "list-changed");
}

function showFold() {
  const fold = dialog.querySelector(".fold");
  if (fold) fold.hidden = false;
}

// The button to undo leaves after a while, but not while it is used.
function offerUndo() {
  const button = document.querySelector("#undo button");
  clearTimeout(offerUndo.timer);
  if (!button) return;
  const leave = () => {
    if (button.matches(":hover") || document.activeElement === button) offerUndo.timer = setTimeout(leave, 2000);
    else button.remove();
  };
  offerUndo.timer = setTimeout(leave, UNDO_SECONDS * 1000);
}

function openCommand(id) {
  const query = new URLSearchParams({ zone: document.getElementById("zone-select").value, after: document.getElementById("agenda").dataset.page });
  openDialog(`/console/calendar/commands/${id}?${query}`, "The command cannot be shown: it does not exist any more, or the server does not answer.");
}

// `slot` is a wall-clock time; a month has only days.
function openNew(slot = "") {
  const address = new URL(document.querySelector("a.new").href);
  const [date, time] = slot.split("T");
  if (date) address.searchParams.set("date", date);
  if (time && place.dataset.view !== "month") address.searchParams.set("time", time.slice(0, 5));
  openDialog(address, "The server does not answer. Try again.");
}

// The half hour that a wall-clock time is in: a click gives five minutes.
function toSlot(local) {
  return `${local.slice(0, 14)}${local.slice(14, 16) < "30" ? "00" : "30"}`;
}

async function openDialog(address, complaint) {
  const opener = document.activeElement;
  let part;
  try {
    const response = await fetch(address);
    part = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("command");
  } catch { /* said below */ }
  if (!part) {
    say(complaint);
    refreshAll();
    return;
  }
  const fold = part.querySelector(".fold");
  if (fold) fold.hidden = true;
  dialog.replaceChildren(part);
  htmx.process(dialog);
  dialog.returnValue = "";
  dialog.showModal();
  (dialog.querySelector("#find-video") ?? dialog.querySelector("#new-date") ?? dialog.querySelector(".close")).focus();
  dialog.addEventListener("close", () => {
    const undo = dialog.returnValue === "done" && document.querySelector("#undo button");
    const back = opener?.isConnected ? opener : findEntry(opener?.dataset.command);
    (undo || back || document.getElementById("main")).focus();
  }, { once: true });
}

async function submitHere(event) {
  const form = event.target;
  if (!form.matches("#undo, #dialog form[method=post]")) return;
  event.preventDefault();
  const alert = form.querySelector("[role=alert]");
  const complain = (text) => {
    if (!alert) return say(text);
    alert.hidden = false;
    alert.textContent = text;
  };
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  // Not form.action: a form may have a field of this name.
  const done = await send(form.getAttribute("action"), new URLSearchParams(new FormData(form)), complain);
  button.disabled = false;
  if (done && dialog.open) dialog.close("done");
  else if (done) document.querySelector("#undo button, #list")?.focus();
}

document.addEventListener("submit", submitHere);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.change, a.new, #dialog a.close");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.matches(".close")) dialog.close();
  else if (link.matches(".new")) openNew();
  else openCommand(link.closest("tr").id.slice("command-".length));
});
addEventListener("DOMContentLoaded", () => {
  chooseZone();
  createWidget();
  createSlot();
  offerUndo();
  place?.addEventListener("pointerdown", () => { isPressed = true; });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { isPressed = false; }, true);
  addEventListener("pointermove", (event) => { if (!event.buttons) isPressed = false; }); // it ended outside of the window
  let pending = null;
  document.body.addEventListener("changed", () => {
    pending ??= setTimeout(async () => {
      await followChanges();
      pending = null;
    }, LOOK_MS);
  });
});
