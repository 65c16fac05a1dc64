"use strict";
// What the admin's own pages do in the browser: ask before, copy, and watch jobs. No inline handlers anywhere.
(() => {
    const POLL_MS = 1000, SLOWEST_MS = 15000;

    document.addEventListener("submit", (event) => {
        const question = event.submitter?.dataset.confirm ?? event.target.dataset?.confirm;
        if (question && !window.confirm(question)) event.preventDefault();
    });

    document.addEventListener("click", async (event) => {
        const button = event.target.closest?.("[data-copy]");
        if (!button) return;
        const source = document.getElementById(button.dataset.copy);
        try {
            await navigator.clipboard.writeText(source.textContent);
            button.textContent = "Copied";
        } catch {  // no clipboard on plain HTTP: select it, so that Ctrl-C does it
            window.getSelection().selectAllChildren(source);
            button.textContent = "Press Ctrl-C";
        }
    });

    // A box with data-check-all=id ticks all boxes inside of the element with that id.
    document.addEventListener("change", (event) => {
        const table = document.getElementById(event.target.dataset?.checkAll);
        if (!table) return;
        for (const box of table.querySelectorAll("input[type=checkbox]")) box.checked = event.target.checked;
    });

    // What comes after a job that was watched is on the page anew.
    document.addEventListener("live:finished", (event) => {
        if ("liveReload" in event.target.dataset) window.location.reload();
    });

    // Elements with data-live=key are replaced by what their data-live-url answers, until that says "finished".
    // They are asked for every second, or as rarely (in seconds) as data-live-every of one of a URL's says.
    const asked = new Map(), shown = new WeakMap();

    function watched() {
        const byUrl = new Map();
        for (const element of document.querySelectorAll("[data-live]")) {
            const url = element.dataset.liveUrl;
            if (!byUrl.has(url)) byUrl.set(url, []);
            byUrl.get(url).push(element);
        }
        return byUrl;
    }

    async function poll(url, elements) {
        const keys = elements.map((element) => element.dataset.live).slice(0, 100);
        const mark = url.includes("?") ? "&" : "?";
        const response = await fetch(`${url}${mark}keys=${encodeURIComponent(keys.join(","))}`, {
            headers: { Accept: "application/json" }, credentials: "same-origin", redirect: "error",
        });
        if (!response.ok) throw new Error(String(response.status));
        const { items } = await response.json();
        for (const element of elements) {
            const item = items[element.dataset.live];
            if (item && item.html !== (shown.get(element) ?? element.innerHTML)) element.innerHTML = item.html;
            if (item) shown.set(element, item.html);
            if (!item || item.finished) {
                delete element.dataset.live;
                element.dispatchEvent(new CustomEvent("live:finished", { bubbles: true }));
            }
        }
    }

    async function watch(delay) {
        const targets = watched();
        if (!targets.size) return;
        let next = POLL_MS;
        if (!document.hidden) {
            try {
                for (const [url, elements] of targets) {
                    if (Date.now() < (asked.get(url) ?? 0)) continue;
                    await poll(url, elements);
                    asked.set(url, Date.now() + 1000 * Number(elements[0].dataset.liveEvery ?? 0) - POLL_MS / 2);
                }
            } catch {
                next = Math.min(delay * 2, SLOWEST_MS);
            }
        }
        window.setTimeout(() => watch(next), next);
    }

    document.addEventListener("DOMContentLoaded", () => watch(POLL_MS));
})();
