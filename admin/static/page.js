// Updates the pages live and shows forms as dialogs. Every function of the
// pages works without this script.
"use strict";
(() => {
	const pollInterval = 5000; // milliseconds
	const dialog = document.getElementById("dialog");
	const announcement = document.getElementById("announcement");
	const find = (selector, within = document) => [...within.querySelectorAll(selector)];
	document.documentElement.classList.add("js");

	// --- Time. The page has the database's time at which it was rendered. The
	// browser's clock only measures the time since then.
	let pageTime = 0;
	let pageLoadedAt = 0;
	const now = () => pageTime + performance.now() - pageLoadedAt;
	function setClock(body) {
		if (!body.dataset.at) return;
		pageTime = Date.parse(body.dataset.at);
		pageLoadedAt = performance.now();
	}

	function formatDuration(ms) {
		const s = Math.floor(Math.abs(ms) / 1000);
		const twoUnits = (n, unit, m, smallUnit) => (m ? `${n} ${unit} ${m} ${smallUnit}` : `${n} ${unit}`);
		if (s < 60) return `${s} s`;
		if (s < 3600) return `${Math.floor(s / 60)} min`;
		if (s < 86400) return twoUnits(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
		if (s < 10 * 86400) return twoUnits(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
		return `${Math.floor(s / 86400)} d`;
	}

	function formatRelative(ms) {
		if (Math.abs(ms) < 1000) return "now";
		return ms > 0 ? `in ${formatDuration(ms)}` : `${formatDuration(ms)} ago`;
	}

	function updateTimes() {
		for (const time of find("time[data-rel]")) {
			const text = formatRelative(Date.parse(time.dateTime) - now());
			if (time.textContent !== text) time.textContent = text;
		}
	}

	// Adds times in the reader's zone, which only the browser knows.
	const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
	const slotFormat = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
	const hourFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
	function addReaderTimes() {
		for (const li of find(".slots li")) {
			if (zone === "UTC" || zone === li.parentElement.dataset.zone) continue; // already shown
			li.querySelector(".reader-zone").textContent = "yours: " + slotFormat.format(new Date(li.querySelector("time").dateTime));
		}
		for (const tick of find("[data-tick]")) tick.textContent = hourFormat.format(new Date(tick.dataset.tick));
		for (const name of find("#tick-zone")) name.textContent = zone;
	}

	// --- Updating the page. morph changes one element into another and leaves
	// equal parts in place, so the focus, open details and the pointer keep
	// their positions.
	function morph(from, to) {
		if (from.isEqualNode(to)) return;
		if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || (from.id || "") !== (to.id || "")) {
			from.replaceWith(to);
			return;
		}
		if (from.nodeType !== Node.ELEMENT_NODE) {
			from.data = to.data;
			return;
		}
		const isKept = (name) => (name === "open" && from.nodeName === "DETAILS") || name === "tabindex";
		for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !isKept(name)) from.removeAttribute(name);
		for (const { name, value } of [...to.attributes]) if (from.getAttribute(name) !== value && !isKept(name)) from.setAttribute(name, value);
		const newIDs = new Set([...to.children].map((child) => child.id).filter(Boolean));
		const isSame = (a, b) => a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
		let position = from.firstChild;
		for (const next of [...to.childNodes]) {
			let match = position;
			while (match && !isSame(match, next)) match = match.nextSibling;
			if (!match && next.id) match = [...from.children].find((child) => isSame(child, next));
			if (!match) {
				from.insertBefore(next, position);
				continue;
			}
			// Remove the nodes before the match, except those that follow
			// later. Move a node only if necessary: moving it would take the
			// focus from it.
			while (position && position !== match && !newIDs.has(position.id)) {
				const removed = position;
				position = position.nextSibling;
				removed.remove();
			}
			if (match === position) position = position.nextSibling;
			else from.insertBefore(match, position);
			morph(match, next);
		}
		while (position) {
			const removed = position;
			position = position.nextSibling;
			removed.remove();
		}
	}

	const rowOrder = (page) => find("tbody tr", page).map((row) => row.id).join("\n");

	function show(page) {
		setClock(page.body);
		document.body.dataset.poll = page.body.dataset.poll || "";
		for (const region of find("[data-live]")) {
			const updated = page.getElementById(region.id);
			if (updated) morph(region, updated);
		}
		enhance();
	}

	// Adds what only the script can add to a rendered page.
	function enhance() {
		updateTimes();
		addReaderTimes();
		updateSelection();
		const marks = find(".timeline [role=img]");
		if (marks.length && !marks.some((mark) => mark.getAttribute("tabindex") === "0")) {
			for (const mark of marks) mark.setAttribute("tabindex", "-1");
			marks[0].setAttribute("tabindex", "0");
		}
		for (const mark of marks) if (!mark.hasAttribute("tabindex")) mark.setAttribute("tabindex", "-1");
	}

	// --- Requests. A response that is not the handler's own usually comes from
	// the host's login page.
	const unexpectedResponse = "unexpected response; are you still logged in?";
	const errorText = (error) => (error instanceof TypeError ? "the server cannot be reached" : error.message);
	async function fetchPage(url, options = {}) {
		const response = await fetch(url, { ...options, headers: { Accept: "text/html" } });
		const page = new DOMParser().parseFromString(await response.text(), "text/html");
		if (!page.getElementById("dialog")) throw new Error(unexpectedResponse);
		return { response, page };
	}

	async function readJSON(response) {
		if (!response.headers.get("Content-Type")?.includes("json")) throw new Error(unexpectedResponse);
		return response.json();
	}

	let lastRefresh = 0; // the newest request for the page; older responses are dropped
	let pendingPage = null; // a page with another row order, shown when the pointer leaves the rows
	async function refresh({ moveRows = false } = {}) {
		const own = ++lastRefresh;
		const { response, page } = await fetchPage(location.href);
		if (!response.ok) throw new Error(page.querySelector("main .error").textContent);
		if (own !== lastRefresh) return;
		const hoveredRows = document.querySelector("tbody:hover");
		if (hoveredRows && !moveRows && rowOrder(page) !== rowOrder(document)) {
			pendingPage = page;
			return;
		}
		pendingPage = null;
		show(page);
	}
	document.addEventListener("pointerout", (event) => {
		if (pendingPage && event.target.closest?.("tbody") && !event.relatedTarget?.closest?.("tbody")) {
			const page = pendingPage;
			pendingPage = null;
			show(page);
		}
	});

	const etags = new Map(); // the entity tag of the last response, by URL
	async function hasChanged(url) {
		const response = await fetch(url, { cache: "no-store", headers: etags.has(url) ? { "If-None-Match": etags.get(url) } : {} });
		if (response.status === 304) return false;
		if (!response.ok) throw new Error((await readJSON(response)).detail);
		await readJSON(response);
		etags.set(url, response.headers.get("ETag"));
		return true;
	}

	let health = "";
	async function hasHealthChanged() {
		const response = await fetch(document.body.dataset.health, { cache: "no-store" });
		const { fleet, problems, detail } = await readJSON(response);
		if (!fleet) throw new Error(detail || problems.at(-1).detail);
		const time = document.querySelector("#health time[data-rel]");
		if (time && fleet.newestTickAt) time.dateTime = fleet.newestTickAt;
		const before = health;
		health = JSON.stringify([fleet.workers, fleet.overdue, problems.map((problem) => problem.code), !fleet.newestTickAt]);
		return before !== "" && before !== health;
	}

	// Polling pauses while a row has the focus, so that it does not change
	// under the user.
	const isPaused = () => document.hidden || dialog.open || document.activeElement?.closest("tbody tr");
	let lastSuccess = performance.now();
	let loadError = "";
	let polling = false;
	async function poll() {
		if (polling || isPaused() || !document.body.dataset.at) return;
		polling = true;
		try {
			const urls = document.body.dataset.poll.split(" ").filter(Boolean);
			const changes = await Promise.all([...urls.map(hasChanged), hasHealthChanged()]);
			if (changes.some(Boolean) || loadError) await refresh();
			lastSuccess = performance.now();
			loadError = "";
		} catch (error) {
			loadError = errorText(error);
		}
		polling = false;
		showLoadError();
	}

	function showLoadError() {
		const stale = document.querySelector(".stale");
		if (!stale) return;
		stale.hidden = !loadError;
		const text = loadError && `Could not load: ${loadError}. This page is ${formatDuration(performance.now() - lastSuccess)} old.`;
		if (stale.textContent !== text) stale.textContent = text;
	}

	// --- Dialogs. A confirmation or result page is shown in a dialog on top of
	// the current page.
	function showDialog(page, base) {
		const section = page.querySelector("[data-prompt]");
		if (!section) return false; // the response redirected to a page
		for (const form of find("form", section)) form.action = new URL(form.getAttribute("action"), base);
		for (const link of find("a", section)) link.href = new URL(link.getAttribute("href"), base);
		dialog.replaceChildren(section);
		if (!dialog.open) dialog.showModal();
		(section.querySelector("textarea") || section.querySelector(".primary") || section.querySelector("a")).focus();
		return true;
	}

	function showFailure(form, error) {
		const text = `The request failed (${errorText(error)}). It may have taken effect. It is safe to send it again.`;
		let alert = form.querySelector("[role=alert]");
		if (!alert) {
			alert = document.createElement("p");
			alert.className = "error";
			alert.setAttribute("role", "alert");
			form.prepend(alert);
		}
		alert.textContent = text;
	}

	// Announces the new state of a switch to screen readers. A dialog announces
	// itself.
	function announceSwitch(button) {
		const name = button?.querySelector(".vh")?.textContent;
		if (name && !dialog.open) announcement.textContent = `${name} is ${button.getAttribute("aria-checked") === "true" ? "enabled" : "disabled"}.`;
	}

	let activeSubmit = null; // the request in progress; a second click does nothing until it ends
	async function submit(form, button) {
		if (activeSubmit) return;
		const own = {};
		activeSubmit = own;
		const action = new URL(button?.getAttribute("formaction") || form.getAttribute("action"), location.href);
		const fields = new URLSearchParams(new FormData(form));
		try {
			if (form.method !== "post") {
				action.search = fields;
				const { response, page } = await fetchPage(action);
				showDialog(page, response.url);
				return;
			}
			const { response, page } = await fetchPage(action, { method: "POST", body: fields });
			// The user can close the result and click again while the page is
			// still being refreshed.
			if (showDialog(page, response.url)) activeSubmit = null;
			else if (dialog.open) dialog.close();
			await refresh({ moveRows: true });
			etags.clear();
			announceSwitch(button);
		} catch (error) {
			if (form.closest("dialog")) showFailure(form, error);
			else {
				loadError = errorText(error);
				showLoadError();
			}
		} finally {
			if (activeSubmit === own) activeSubmit = null;
		}
	}

	document.addEventListener("submit", (event) => {
		const form = event.target;
		if (!form.hasAttribute("data-dialog") && form.method !== "post") return;
		event.preventDefault();
		submit(form, event.submitter);
	});
	document.addEventListener("click", (event) => {
		if (dialog.open && event.target.closest("dialog [data-close]")) {
			event.preventDefault();
			dialog.close();
		}
	});
	dialog.addEventListener("close", () => {
		dialog.replaceChildren();
		poll();
	});

	// --- Search while the user types.
	const search = document.getElementById("search");
	let searchTimer = 0;
	search?.addEventListener("input", () => {
		clearTimeout(searchTimer);
		searchTimer = setTimeout(async () => {
			const url = new URL(search.form.getAttribute("action"), location.href);
			for (const [name, value] of new FormData(search.form)) if (value) url.searchParams.set(name, value);
			const own = ++lastRefresh;
			try {
				const { response, page } = await fetchPage(url);
				if (!response.ok || own !== lastRefresh) return;
				history.replaceState(null, "", response.url); // links are relative to it
				show(page);
			} catch {
				search.form.submit();
			}
		}, 250);
	});

	// --- Enabling and disabling several schedules.
	function updateSelection() {
		const form = document.getElementById("bulk");
		if (!form) return;
		const count = find("input[form=bulk]:checked").length;
		form.classList.toggle("has-selection", count > 0);
		document.getElementById("selected").textContent = `${count} selected:`;
	}
	document.addEventListener("change", (event) => {
		if (event.target.matches("input[form=bulk]")) updateSelection();
	});

	// --- The timeline. It is one stop of the Tab key; the arrow keys move from
	// mark to mark.
	function showMark(mark) {
		const strip = mark.closest("li");
		document.getElementById("mark-text").textContent = `${strip.querySelector(".strip-name").textContent}: ${mark.querySelector("title").textContent}`;
	}
	const leftEdge = (mark) => mark.getBoundingClientRect().left;
	document.addEventListener("focusin", (event) => {
		const mark = event.target.closest?.(".timeline [role=img]");
		if (mark) showMark(mark);
	});
	document.addEventListener("pointerover", (event) => {
		const mark = event.target.closest?.(".timeline [role=img]");
		if (mark) showMark(mark);
	});
	document.addEventListener("keydown", (event) => {
		const mark = event.target.closest?.(".timeline [role=img]");
		if (!mark) return;
		const marksOf = (strip) => find("[role=img]", strip).sort((a, b) => leftEdge(a) - leftEdge(b));
		const own = marksOf(mark.closest("li"));
		const nearest = (direction) => {
			let strip = mark.closest("li");
			do strip = strip && strip[direction];
			while (strip && !marksOf(strip).length);
			return strip && marksOf(strip).reduce((best, other) => (Math.abs(leftEdge(other) - leftEdge(mark)) < Math.abs(leftEdge(best) - leftEdge(mark)) ? other : best));
		};
		const findNext = {
			ArrowRight: () => own[own.indexOf(mark) + 1],
			ArrowLeft: () => own[own.indexOf(mark) - 1],
			ArrowDown: () => nearest("nextElementSibling"),
			ArrowUp: () => nearest("previousElementSibling"),
			Home: () => own[0],
			End: () => own[own.length - 1],
		}[event.key];
		if (!findNext) return;
		event.preventDefault();
		const next = findNext();
		if (!next) return;
		mark.setAttribute("tabindex", "-1");
		next.setAttribute("tabindex", "0");
		next.focus();
	});

	setClock(document.body);
	enhance();
	setInterval(() => {
		if (document.hidden) return;
		updateTimes();
		if (loadError) showLoadError();
	}, 1000);
	setInterval(poll, pollInterval);
	document.addEventListener("visibilitychange", poll);
})();
