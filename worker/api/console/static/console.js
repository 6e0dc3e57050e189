// The console's own script: live changes, times in the reader's zone, messages, sign-in links.
"use strict";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const styles = {
  full: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  axis: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  day: { weekday: "short", day: "numeric", month: "short" },
};

// Show each time in the reader's zone. The server writes UTC, which stays as the tooltip.
function showTimes(root) {
  for (const element of root.querySelectorAll("time[data-style]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    element.title = moment.toISOString();
    const text = new Intl.DateTimeFormat(undefined, styles[element.dataset.style] ?? styles.full).format(moment);
    if (element.textContent !== text) element.textContent = text;
  }
  for (const label of root.querySelectorAll("text[data-time]")) {
    label.textContent = new Intl.DateTimeFormat(undefined, styles.axis).format(new Date(label.dataset.time));
  }
}

function say(text) {
  const messages = document.getElementById("messages");
  messages.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { messages.textContent = ""; }, 8000);
}

// A stream that says when something has changed. The browser reconnects by itself.
function follow() {
  if (!document.querySelector("[hx-trigger*=changed]")) return;
  const shown = document.getElementById("stream") ?? document.createElement("span");
  const source = new EventSource("/console/changes");
  let wasOpen = false;
  source.addEventListener("open", (event) => {
    if (!(event instanceof MessageEvent)) return; // the connection itself: the stream says `open` too
    shown.textContent = isPaused() ? "paused" : "live";
    // Something may have happened meanwhile, or since the server read what the page shows.
    htmx.trigger(document.body, wasOpen ? "changed" : "followed");
    wasOpen = true;
  });
  source.addEventListener("changed", () => htmx.trigger(document.body, "changed"));
  source.onerror = () => {
    const isOver = source.readyState === EventSource.CLOSED;
    shown.textContent = isOver ? "not live: load the page again" : "reconnecting …";
  };
  addEventListener("pagehide", () => source.close());
}

const isPaused = () => document.getElementById("pause")?.getAttribute("aria-pressed") === "true";

function pause() {
  const button = document.getElementById("pause");
  button?.addEventListener("click", () => {
    const paused = !isPaused();
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Resume" : "Pause";
    document.getElementById("stream").textContent = paused ? "paused" : "live";
    if (!paused) htmx.trigger(document.body, "changed");
  });
  document.getElementById("events")?.addEventListener("htmx:before:request", (event) => {
    if (isPaused()) event.preventDefault();
  });
}

// A link to sign in has its code after `#`, which no server sees and no log contains.
function signIn() {
  const form = document.getElementById("sign-in");
  const code = location.hash.slice(1);
  if (!form || !code) return;
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.code.value = code;
  form.submit();
}

// Ask before a form does what cannot be undone. Without a script, the server asks.
function confirmForms() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const question = form.elements.question?.value;
    if (!question || form.elements.confirmed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    ask(question, () => {
      const field = { type: "hidden", name: "confirmed", value: "yes" };
      const confirmed = form.appendChild(Object.assign(document.createElement("input"), field));
      form.requestSubmit(event.submitter ?? undefined);
      confirmed.remove();
    });
  }, true);
}

function ask(text, act) {
  const dialog = document.createElement("dialog");
  const question = dialog.appendChild(document.createElement("p"));
  const buttons = dialog.appendChild(document.createElement("div"));
  question.textContent = text;
  question.id = "question";
  dialog.setAttribute("aria-labelledby", "question");
  buttons.className = "actions";
  for (const [label, style, then] of [["Yes", "primary", act], ["No", "", null]]) {
    const button = buttons.appendChild(document.createElement("button"));
    button.textContent = label;
    button.className = style;
    button.addEventListener("click", () => { dialog.close(); then?.(); });
  }
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// A button that copies a secret. Without a secure context, browsers copy only what is selected.
function offerCopies() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const field = document.getElementById(button.dataset.copy);
      field.select();
      try {
        await navigator.clipboard.writeText(field.value);
        say("Copied.");
      } catch {
        say(document.execCommand("copy") ? "Copied." : "Not copied: select the text and copy it.");
      }
    });
  }
}

// A page that answers a form has the address of a page that can be loaded again: a reload would
// send the form once more.
function nameAddress() {
  const shown = document.querySelector("[data-address]");
  if (shown) history.replaceState(null, "", shown.dataset.address);
}

// A second click sends nothing: it would do the same again, and a secret that the first answer shows
// would be lost. Forms that a script sends have prevented the event.
function sendOnce() {
  addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    const form = event.target;
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "yes";
    setTimeout(() => { delete form.dataset.sent; }, 10_000);
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
}

function presetZones() {
  for (const select of document.querySelectorAll("select[data-zone]")) {
    if ([...select.options].some((option) => option.value === zone)) select.value = zone;
  }
}

document.addEventListener("htmx:after:swap", () => showTimes(document));
document.addEventListener("htmx:error", () => say("The server does not answer. What is shown may be old."));
document.addEventListener("htmx:response:error", (event) => {
  const title = new DOMParser().parseFromString(event.detail.ctx?.text ?? "", "text/html").querySelector("#problem p");
  say(title?.textContent ?? "The server answered with an error. Nothing was changed on the page.");
});
addEventListener("DOMContentLoaded", () => {
  showTimes(document);
  const shown = document.getElementById("zone");
  if (shown) shown.textContent = `Times are in ${zone}.`;
  confirmForms();
  sendOnce();
  offerCopies();
  nameAddress();
  presetZones();
  pause();
  signIn();
  follow();
});
